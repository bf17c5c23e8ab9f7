"""The backup engine, with one module per job."""
