"""What layered costs: `python -m benchmarks [name ...]`; see README.md."""
