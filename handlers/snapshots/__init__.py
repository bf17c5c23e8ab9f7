"""Database snapshots, copied to another Region."""
