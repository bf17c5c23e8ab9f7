"""The formats of a stored backup."""
