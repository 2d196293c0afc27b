"""Benchmarks. Each file measures a value and its reference in the same run."""
