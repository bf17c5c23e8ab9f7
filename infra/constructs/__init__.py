"""AWS constructs with safe defaults. They are independent of the rest of Rollbook."""
