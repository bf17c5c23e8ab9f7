"""What the infrastructure and the functions agree on. It imports nothing of ours."""
