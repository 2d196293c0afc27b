"""Analyses of models as jobs of shards: records, state transitions, job stores, workers, and the queue engine."""
