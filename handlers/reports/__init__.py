"""What is known of the backups, and what it says."""
