"""What the program costs, beside the same work done otherwise: `python -m benchmarks`, from the repository's top."""
