"""The backups: where they are kept, the functions, AWS Backup, copies."""
