"""The embedded AWS on this machine, and the stack on it."""
