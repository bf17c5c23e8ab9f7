"""The backups: buckets, functions, AWS Backup and copies."""
