"""Models that Errata runs: one file a source. torch and timm live here, and only a worker imports it."""
