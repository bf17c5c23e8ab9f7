"""The report on all backups: reads facts from AWS, assesses and formats them."""
