"""Find existing resources by name, and import them instead of creating new ones."""
