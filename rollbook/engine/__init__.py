"""The backup engine: one module a job."""
