"""The programs that are measured, each a process of its own that does one backup or one restore."""
