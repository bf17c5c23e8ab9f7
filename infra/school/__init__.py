"""The school's records, API, site and mail."""
