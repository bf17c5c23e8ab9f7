"""Terraform plans: read, checked by the guard, reviewed and summarized."""
