"""`rollbook smoke`: prove a deployed environment by use."""
