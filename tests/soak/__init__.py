"""A model of a school's years: random histories of backups, faults and restores, compared with what must be true."""
