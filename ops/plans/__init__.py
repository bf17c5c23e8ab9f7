"""What a Terraform plan would do, in words, and what it may not do."""
