"""Alarms, the audit trail, the report, the bus."""
