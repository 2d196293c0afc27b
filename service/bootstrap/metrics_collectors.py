"""Background threads that collect metrics of the job store, the archive, and the evidence bundles."""

from collections.abc import Callable, Mapping, Sequence

import structlog
from errata.errors import Unavailable

from service.analyses.model_metrics import WatchedResult, find_watched_models
from service.analyses.ports import Stores
from service.domain import ERROR_TYPES
from service.jobs.store import JobStore
from service.object_store import is_remote
from service.periodic_task import PeriodicTask
from service.settings import Settings
from service.telemetry import Metrics

STORE_SECONDS = 1.0  # interval between two reads of the store
RESULTS_SECONDS = 5.0  # interval between two reads of the archive and the bundles
REMOTE_SECONDS = 60.0  # the same for an archive in an object store
GpuMemory = Callable[[], Mapping[str, tuple[int, int]]]  # device -> used and total bytes
_log = structlog.get_logger()


class StoreCollector:
    """Checks whether the job store is available, and collects its metrics.

    The metrics are the same in all processes, and reading them costs more than a ping. If `every` is above 1, one
    of `every` calls reads the metrics, and the other calls only ping the store.
    """

    def __init__(self, store: JobStore, metrics: Metrics, gpu_memory: GpuMemory = dict, every: int = 1) -> None:
        self._store = store
        self._metrics = metrics
        self._gpu_memory = gpu_memory
        self._every = every
        self._num_calls = 0
        self._is_available: bool | None = None  # None: no call has ended yet

    def is_available(self) -> bool:
        """Return whether the store responded to the last call."""
        return bool(self._is_available)

    def __call__(self) -> None:
        """Collect once; raise Unavailable only when the store becomes unavailable."""
        self._collect_gpu_memory()
        is_ping_only, self._num_calls = self._num_calls % self._every, self._num_calls + 1
        if is_ping_only and self._store.ping():
            self._set_available()
            return
        try:
            depth, memory = self._store.depth(), self._store.memory_usage()
        except Unavailable:
            was_available, self._is_available = self._is_available, False
            if was_available is not False:
                raise
            return
        except Exception:
            self._is_available = False
            raise
        self._set_available()
        metrics = self._metrics
        for state, analyses, shards, oldest in (
            ("queued", depth.queued_analyses, depth.queued_shards, depth.oldest_queued),
            ("running", depth.running_analyses, depth.running_shards, depth.oldest_running),
        ):
            metrics.open_analyses.labels(state).set(analyses)
            metrics.open_shards.labels(state).set(shards)
            metrics.oldest.labels(state).set(max(0.0, oldest))
        metrics.live_workers.set(depth.workers)
        metrics.delayed.set(depth.delayed)
        metrics.dead_letters.set(depth.dead)
        metrics.crashes.set(depth.crashes)
        metrics.fenced_writes.set(depth.refused)
        metrics.redis_memory.set(memory.used)
        metrics.redis_max_memory.set(memory.limit)

    def _set_available(self) -> None:
        if self._is_available is False:
            _log.info("job store available again")
        self._is_available = True

    def _collect_gpu_memory(self) -> None:
        self._metrics.gpu_memory.replace(
            {
                (device, kind): size
                for device, sizes in self._gpu_memory().items()
                for kind, size in zip(("used", "total"), sizes, strict=True)
            }
        )


class ResultsCollector:
    """Collects the metrics of the served evidence bundles and of the newest results of watched models."""

    def __init__(self, stores: Stores, metrics: Metrics, patterns: Sequence[str], max_results: int) -> None:
        self._stores = stores
        self._metrics = metrics
        self._patterns = patterns
        self._max_results = max_results
        self._last_version: int | None = None  # version of the index

    def __call__(self) -> None:
        """Collect once; raise Unavailable if the index or the archive is unavailable."""
        metrics = self._metrics
        metrics.evidence.replace(
            {
                (manifest.dataset, manifest.digest, str(manifest.rules_version)): 1.0
                for manifest in self._stores.evidence.manifests()
            }
        )
        version = self._stores.index.version
        if version == self._last_version:
            return
        newest = find_watched_models(self._stores, self._patterns, self._max_results)
        self._last_version = version
        metrics.results_dropped.set(newest.dropped)
        metrics.result_samples.replace(_by_group(newest.results, lambda summary: summary.num_samples))
        metrics.result_top1.replace(_by_group(newest.results, lambda summary: summary.top1_accuracy))
        metrics.result_multi_label.replace(_by_group(newest.results, lambda summary: summary.multi_label_accuracy))
        metrics.result_errors.replace(
            {
                (*_labels(result), group, error_type.name, error_type.severity.name.lower()): summary.counts[error_type]
                for result in newest.results
                for group, summary in result.summary.groups.items()
                for error_type in ERROR_TYPES
            }
        )
        metrics.result_severe.replace(
            {_labels(result): result.severe for result in newest.results if result.severe is not None}
        )
        metrics.result_baseline.replace(
            {_labels(result): result.baseline for result in newest.results if result.baseline is not None}
        )
        metrics.result_time.replace({_labels(result): result.ended.timestamp() for result in newest.results})


def make_results_task(stores: Stores, metrics: Metrics, settings: Settings) -> PeriodicTask:
    """Return the task that collects results; it runs less often for an object store, whose reads are slow."""
    collector = ResultsCollector(stores, metrics, settings.watched_models, settings.max_watched)
    return PeriodicTask("results", collector, archive_interval(settings))


def archive_interval(settings: Settings) -> float:
    """Return the seconds between two reads of the archive."""
    return REMOTE_SECONDS if is_remote(settings.archive_location) else RESULTS_SECONDS


def _labels(result: WatchedResult) -> tuple[str, str, str]:
    return result.model, result.version, result.dataset


def _by_group(results: Sequence[WatchedResult], value: Callable[..., float | None]) -> dict[tuple[str, ...], float]:
    values: dict[tuple[str, ...], float] = {}
    for result in results:
        for group, summary in result.summary.groups.items():
            number = value(summary)
            if number is not None:
                values[(*_labels(result), group)] = float(number)
    return values
