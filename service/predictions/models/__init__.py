"""Models that Errata runs: one module for each source. Only a worker imports this package, because it needs torch."""
