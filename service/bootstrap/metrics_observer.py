"""The observer that counts events in metrics, and records the stages of an analysis as spans of its trace."""

from collections.abc import Iterator
from contextlib import contextmanager

from service import tracing
from service.domain import Analysis, Observer, Stage
from service.telemetry import Metrics

SPAN_NAMES = {Stage.LOAD: "model load", Stage.ARCHIVE: "archive write"}  # if they differ from the name of the stage


class MetricsObserver(Observer):
    """Counts events in the metrics of this process."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def analysis_finished(self, analysis: Analysis) -> None:
        """Count an analysis by its final state."""
        self._metrics.analyses.labels(analysis.state.name.lower()).inc()

    @contextmanager
    def stage(self, stage: Stage) -> Iterator[None]:
        """Measure the duration of a stage."""
        with tracing.child_span(SPAN_NAMES.get(stage, stage.value)), self._metrics.stages.labels(stage.value).time():
            yield

    def cache_lookup(self, cache: str, is_hit: bool) -> None:
        """Count a lookup by its outcome."""
        self._metrics.cache_requests.labels(cache, "hit" if is_hit else "miss").inc()

    def batch_predicted(self, num_images: int) -> None:
        """Count the images of a batch."""
        self._metrics.images.inc(num_images)

    def shard_retried(self, reason: str) -> None:
        """Count a retry by its reason."""
        self._metrics.retries.labels(reason).inc()
