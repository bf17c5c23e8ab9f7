"""AWS shapes with safe defaults: they know AWS and nothing of students."""
