"""Benchmarks. Each file measures one figure and its reference in the same run."""
