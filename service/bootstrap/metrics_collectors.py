"""Watches: threads that look again and again at what no call tells of, and set the metrics that come of it."""

from collections.abc import Callable, Mapping, Sequence
from threading import Event, Thread

import structlog
from errata.errors import ErrataError, Unavailable

from service.analyses.model_metrics import WatchedResult, find_watched_models
from service.analyses.ports import Ports
from service.archive.files import is_remote
from service.domain import ERROR_TYPES, SEVERITY, Analysis
from service.jobs.store import JobStore
from service.settings import Settings
from service.telemetry import Metrics

STORE_SECONDS = 1.0  # between two looks at the store
RESULTS_SECONDS = 5.0  # between two looks at the archive and the bundles
REMOTE_SECONDS = 60.0  # the same, where the archive is a store of objects
Memory = Callable[[], Mapping[str, tuple[int, int]]]  # of GPUs: used and total bytes, by device
_log = structlog.get_logger()


class Watch:
    """Makes a look again and again, in a thread; what it raises is logged and the next one comes."""

    def __init__(self, name: str, look: Callable[[], None], seconds: float) -> None:
        self._name = name
        self._look = look
        self._seconds = seconds
        self._stopped = Event()

    def start(self) -> None:
        """Start to look, at once, in a thread."""
        Thread(target=self._run, name=self._name, daemon=True).start()

    def stop(self) -> None:
        """Stop looking."""
        self._stopped.set()

    def _run(self) -> None:
        self.once()
        while not self._stopped.wait(self._seconds):
            self.once()

    def once(self) -> None:
        """Look once."""
        try:
            self._look()
        except ErrataError as error:
            _log.warning("a look failed; the next one comes", watch=self._name, error=str(error))
        except Exception:
            _log.exception("a look failed; the next one comes", watch=self._name)


class StoreCollector:
    """Looks whether the store is there, and sets the metrics that it alone knows: each time, or each `every`th time.

    What it knows is the same for all, and counting it takes the store longer than saying that it is there.
    """

    def __init__(self, store: JobStore, metrics: Metrics, gpu_memory: Memory = dict, every: int = 1) -> None:
        self._store = store
        self._metrics = metrics
        self._gpu_memory = gpu_memory
        self._every = every
        self._looks = 0
        self._there: bool | None = None  # None: nothing came of a look yet

    def is_there(self) -> bool:
        """Say whether the store answered lately."""
        return bool(self._there)

    def __call__(self) -> None:
        """Look once; raise Unavailable only where the store begins to be away."""
        self._show_gpus()
        skipped, self._looks = self._looks % self._every, self._looks + 1
        if skipped and self._store.ping():
            self._answered()
            return
        try:
            depth, memory = self._store.depth(), self._store.memory_usage()
        except Unavailable:
            was_there, self._there = self._there, False
            if was_there is not False:
                raise
            return
        except Exception:
            self._there = False
            raise
        self._answered()
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

    def _answered(self) -> None:
        if self._there is False:
            _log.info("the store is back")
        self._there = True

    def _show_gpus(self) -> None:
        result = self._gpu_memory()
        self._metrics.gpu_memory.replace(
            {
                (device, kind): size
                for device, sizes in result.items()
                for kind, size in zip(("used", "total"), sizes, strict=True)
            }
        )


class ResultsCollector:
    """Sets the metrics of the served bundles and of the newest results of watched models."""

    def __init__(self, ports: Ports, metrics: Metrics, patterns: Sequence[str], most: int) -> None:
        self._ports = ports
        self._metrics = metrics
        self._patterns = patterns
        self._most = most
        self._listed: Sequence[Analysis] | None = None  # at the last look

    def __call__(self) -> None:
        """Look once; raise Unavailable if the archive is away."""
        metrics = self._metrics
        metrics.evidence.replace(
            {
                (manifest.dataset, manifest.digest, str(manifest.rules_version)): 1.0
                for manifest in self._ports.evidence_repository.manifests()
            }
        )
        listed = self._ports.archive.list()
        if listed is self._listed:
            return
        value = find_watched_models(self._ports, self._patterns, self._most)
        self._listed = listed
        metrics.results_dropped.set(value.dropped)
        metrics.result_samples.replace(_by_group(value.results, lambda item: item.num_samples))
        metrics.result_top1.replace(_by_group(value.results, lambda item: item.top1_accuracy))
        metrics.result_multi_label.replace(_by_group(value.results, lambda item: item.multi_label_accuracy))
        metrics.result_errors.replace(
            {
                (*_names(result), group.value, kind.name, SEVERITY[kind].name.lower()): each.counts[kind]
                for result in value.results
                for group, each in result.summary.groups.items()
                for kind in ERROR_TYPES
            }
        )
        metrics.result_severe.replace(
            {_names(result): result.severe for result in value.results if result.severe is not None}
        )
        metrics.result_baseline.replace(
            {_names(result): result.baseline for result in value.results if result.baseline is not None}
        )
        metrics.result_time.replace({_names(result): result.ended.timestamp() for result in value.results})


def results_watch(ports: Ports, metrics: Metrics, settings: Settings) -> Watch:
    """Return the watch of the newest results; a store of objects, listed whole each time, is looked at less."""
    look = ResultsCollector(ports, metrics, settings.watched_models, settings.max_watched)
    return Watch("results", look, REMOTE_SECONDS if is_remote(settings.archive_place) else RESULTS_SECONDS)


def _names(result: WatchedResult) -> tuple[str, str, str]:
    return result.model, result.version, result.dataset


def _by_group(results: Sequence[WatchedResult], value: Callable[..., float | None]) -> dict[tuple[str, ...], float]:
    found: dict[tuple[str, ...], float] = {}
    for result in results:
        for group, summary in result.summary.groups.items():
            number = value(summary)
            if number is not None:
                found[(*_names(result), group.value)] = float(number)
    return found
