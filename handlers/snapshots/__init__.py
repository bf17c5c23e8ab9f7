"""Copies database snapshots to another Region."""
