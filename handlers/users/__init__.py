"""Sends mail to users who sign up to the school's other applications."""
