"""The student records behind the API."""
