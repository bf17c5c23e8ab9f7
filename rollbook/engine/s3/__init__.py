"""What the engine does with S3."""
