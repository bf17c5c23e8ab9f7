"""Who touched the backups."""
