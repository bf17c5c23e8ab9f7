"""What happens to the users of the school's other applications."""
