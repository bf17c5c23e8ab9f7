"""Sends events, mails and metrics."""
