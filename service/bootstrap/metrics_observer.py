"""The observer that counts events in metrics."""

from contextlib import AbstractContextManager

from service.domain import Analysis, Observer, Stage
from service.telemetry import Metrics


class MetricsObserver(Observer):
    """Counts events in the metrics of this process."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def analysis_finished(self, analysis: Analysis) -> None:
        """Count an analysis by its final state."""
        self._metrics.analyses.labels(analysis.state.name.lower()).inc()

    def stage(self, stage: Stage) -> AbstractContextManager[object]:
        """Measure the duration of a stage."""
        return self._metrics.stages.labels(stage.value).time()

    def cache_lookup(self, cache: str, is_hit: bool) -> None:
        """Count a lookup by its outcome."""
        self._metrics.cache_requests.labels(cache, "hit" if is_hit else "miss").inc()

    def batch_predicted(self, num_images: int) -> None:
        """Count the images of a batch."""
        self._metrics.images.inc(num_images)

    def shard_retried(self, reason: str) -> None:
        """Count a retry by its reason."""
        self._metrics.retries.labels(reason).inc()
