"""`rollbook backups`: list, show, create, verify, compare and restore backups, and run a drill."""
