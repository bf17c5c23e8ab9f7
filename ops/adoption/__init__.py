"""Adoption: what is in the account already is found by its names, and imported instead of made again."""
