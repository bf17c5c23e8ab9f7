"""The Lambda functions of Rollbook. They are independent of Terraform."""
