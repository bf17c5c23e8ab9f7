"""The school's records, its API, its site and its mail."""
