"""What the engine does with DynamoDB."""
