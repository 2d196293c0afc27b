"""Statistics of verdicts. Pure functions: arrays in, records out."""
