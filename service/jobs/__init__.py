"""Model analyses as jobs of shards: the record and its legal moves, the store that keeps it, the engine."""
