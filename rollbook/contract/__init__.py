"""The contract between the infrastructure and the functions. It imports no other package of this project."""
