"""Alarms, audit trail, weekly report and event bus."""
