"""The events of analyses and workers, which an observer can count in metrics."""

from contextlib import AbstractContextManager, nullcontext
from enum import StrEnum

from service.domain.analysis import Analysis


class Stage(StrEnum):
    """A stage of an analysis."""

    PARSE = "parse"  # an uploaded file
    LOAD = "load"  # a model that is not loaded yet
    INFERENCE = "inference"  # one shard
    JUDGE = "judge"
    ARCHIVE = "archive"
    RENDER = "render"  # a report


class Observer:
    """Receives events. By default, each method does nothing."""

    def analysis_finished(self, analysis: Analysis) -> None:
        """Note that an analysis has succeeded, failed, or been canceled."""

    def stage(self, stage: Stage) -> AbstractContextManager[object]:
        """Return a context that a stage of an analysis runs in."""
        return nullcontext()

    def cache_lookup(self, cache: str, is_hit: bool) -> None:
        """Note a lookup in a cache."""

    def batch_predicted(self, num_images: int) -> None:
        """Note that a worker has predicted a batch."""

    def shard_retried(self, reason: str) -> None:
        """Note a transient error of a shard."""
