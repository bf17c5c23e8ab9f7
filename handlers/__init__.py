"""The Lambda side of Rollbook: no module here knows of Terraform."""
