"""The report on all backups: facts asked of AWS, their assessment, the page."""
