"""Checks by the programs of others, in an environment of their own."""
