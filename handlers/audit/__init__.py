"""Alerts on unexpected access to the backups."""
