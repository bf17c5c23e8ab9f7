"""Rollbook itself: what it agrees with its infrastructure, the backup engine, the reports."""
