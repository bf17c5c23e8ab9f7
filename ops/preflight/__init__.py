"""`rollbook preflight`: read an account and check whether the stack can be applied to it."""
