"""What is fast, by how much, and against what: `make bench` writes docs/benchmarks.md."""
