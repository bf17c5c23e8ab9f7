"""The backup engine: scan, document, upload, history."""
