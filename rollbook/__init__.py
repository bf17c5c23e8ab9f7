"""The core of Rollbook: the contract with its infrastructure, the backup engine, messages and reports."""
