"""`rollbook backups`: list, show, create, verify, compare, restore and prune backups, and run a drill."""
