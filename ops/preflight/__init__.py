"""`rollbook preflight`: reads an account and says of each point whether the stack can be applied and will work."""
