"""The API's functions for student records."""
