"""Logs and metrics: how they are set up, and the metrics themselves. The registry is passed in.

Shared: read from the store, so that each process says the same of all (use max, not sum).

Metric                                     Kind       Labels                                    Meaning
errata_build_info                          gauge      version                                   1: which version runs
errata_ready                               gauge      –                                         1 while the process takes work
errata_rpc_started_total                   counter    method                                    calls that came
errata_rpc_handled_total                   counter    method, code                              calls that ended, by canonical code
errata_rpc_duration_seconds                histogram  method                                    time from a call's start to its end
errata_http_requests_total                 counter    path, status                              answers of the HTTP listener, by route
errata_http_request_duration_seconds       histogram  path                                      time from a request's head to the end of its answer
errata_refused_calls_total                 counter    edge, reason                              calls without a token, certificate or scope that they need
errata_hooks_total                         counter    registry, outcome                         calls of registries, by what came of them
errata_polls_total                         counter    registry, outcome                         looks at what registries hold
errata_write_backs_total                   counter    outcome                                   attempts to tell a registry a result
errata_analyses_total                      counter    state                                     analyses that ended, by state
errata_images_total                        counter    –                                         images that this process ran a model on
errata_stage_duration_seconds              histogram  stage                                     time of parse, inference (a shard), judge, archive, render
errata_shard_retries_total                 counter    reason                                    shards queued again by this worker after an error
errata_open_analyses                       gauge      state                                     model analyses that wait or run; shared
errata_open_shards                         gauge      state                                     shards that wait or run; shared
errata_oldest_open_seconds                 gauge      state                                     age of the oldest open analysis, 0 without one; shared
errata_live_workers                        gauge      –                                         workers heard of lately; shared
errata_delayed_messages                    gauge      –                                         messages that come again later; shared
errata_dead_letters                        gauge      –                                         messages that were given up; shared
errata_crashes_total                       counter    –                                         shards whose worker died; shared
errata_fenced_writes_total                 counter    –                                         reports and results that came too late; shared
errata_redis_memory_bytes                  gauge      –                                         what Redis uses; shared
errata_redis_max_memory_bytes              gauge      –                                         what Redis may use, 0: no limit; shared
errata_cache_requests_total                counter    cache, outcome                            looks into results, predictions, pages: hit or miss
errata_cache_bytes                         gauge      cache                                     what pages this process keeps
errata_gpu_memory_bytes                    gauge      device, kind                              memory of this worker's GPUs: used, total
errata_evidence_info                       gauge      dataset, digest, rules                    1 for each bundle that is served
errata_result_samples                      gauge      model, version, dataset, group            samples that count, in the newest result of a watched model
errata_result_errors                       gauge      model, version, dataset, group, error_type, severity  those samples, by verdict
errata_result_top1_accuracy_ratio          gauge      model, version, dataset, group            top-1 accuracy
errata_result_multi_label_accuracy_ratio   gauge      model, version, dataset, group            multi-label accuracy
errata_result_severe_error_ratio           gauge      model, version, dataset                   model failures among the samples
errata_result_baseline_severe_error_ratio  gauge      model, version, dataset                   the same of its baseline, or of the version before it
errata_result_timestamp_seconds            gauge      model, version, dataset                   Unix time at which it ended
errata_results_dropped                     gauge      –                                         results that are beyond the bound, or not watched
"""  # noqa: E501

import logging
import re
import sys
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from contextlib import AbstractContextManager
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from typing import Any, TextIO

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

CALL_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)  # seconds
QUIET_SECONDS = 10.0  # between two lines that say the same
STAGE_BUCKETS = (0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60, 300, 1200, 3600)  # a gather takes 1 ms, a shard minutes
FAILURES = ("INTERNAL", "UNAVAILABLE", "UNKNOWN")  # codes that are the service's own fault
REQUEST_ID = "x-request-id"  # the header of a call's id, in and out
_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
REQUEST_IDS = re.compile(r"[A-Za-z0-9_.:/-]{1,64}")


class Stage(StrEnum):
    """What an analysis goes through."""

    PARSE = "parse"  # an upload
    INFERENCE = "inference"  # of a shard
    JUDGE = "judge"
    ARCHIVE = "archive"
    RENDER = "render"  # a report


class SnapshotGauge(Collector):
    """A gauge whose series are replaced all at once, so that what is gone isn't shown, and no scrape sees a half.

    It has no series before it is first given some: nothing isn't 0.
    """

    def __init__(self, name: str, words: str, labels: tuple[str, ...], registry: CollectorRegistry) -> None:
        self.name, self.words, self.label_names = name, words, labels
        self._values: Mapping[tuple[str, ...], float] = {}
        registry.register(self)

    def replace(self, values: Mapping[tuple[str, ...], float]) -> None:
        """Show these values, by their labels, and no others."""
        self._values = dict(values)

    def set(self, value: float) -> None:
        """Show this value, of a gauge without labels."""
        self.replace({(): value})

    def collect(self) -> Iterator[Metric]:
        """Yield what Prometheus scrapes."""
        family = GaugeMetricFamily(self.name, self.words, labels=self.label_names)
        for labels, value in self._values.items():
            family.add_metric(labels, value)
        yield family


class SharedCounter(Collector):
    """A counter that is kept elsewhere, and read from there; unknown, and not 0, before it was."""

    def __init__(self, name: str, words: str, registry: CollectorRegistry) -> None:
        self.name, self.words, self.label_names = name, words, ()
        self._value: float | None = None
        registry.register(self)

    def set(self, value: float) -> None:
        """Show this value."""
        self._value = value

    def collect(self) -> Iterator[Metric]:
        """Yield what Prometheus scrapes."""
        yield CounterMetricFamily(self.name, self.words, value=self._value)


class Metrics:
    """The process' metrics."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self.build = Gauge("errata_build_info", "which version runs", ["version"], registry=registry)
        self.ready = Gauge("errata_ready", "1 while the process takes work", registry=registry)
        self.rpc_started = Counter("errata_rpc_started", "calls that came", ["method"], registry=registry)
        self.rpc_handled = Counter("errata_rpc_handled", "calls that ended", ["method", "code"], registry=registry)
        self.rpc_duration = Histogram(
            "errata_rpc_duration_seconds", "time of a call", ["method"], registry=registry, buckets=CALL_BUCKETS
        )
        self.http_requests = Counter("errata_http_requests", "answers over HTTP", ["path", "status"], registry=registry)
        self.http_duration = Histogram(
            "errata_http_request_duration_seconds",
            "time of a request",
            ["path"],
            registry=registry,
            buckets=CALL_BUCKETS,
        )
        self.refused_calls = Counter("errata_refused_calls", "calls not let in", ["edge", "reason"], registry=registry)
        self.hooks = Counter("errata_hooks", "calls of registries", ["registry", "outcome"], registry=registry)
        self.polls = Counter("errata_polls", "looks at registries", ["registry", "outcome"], registry=registry)
        self.write_backs = Counter("errata_write_backs", "attempts to tell results", ["outcome"], registry=registry)
        self.analyses = Counter("errata_analyses", "analyses that ended", ["state"], registry=registry)
        self.images = Counter("errata_images", "images that a model was run on", registry=registry)
        self.stages = Histogram(
            "errata_stage_duration_seconds", "time of a stage", ["stage"], registry=registry, buckets=STAGE_BUCKETS
        )
        self.retries = Counter("errata_shard_retries", "shards queued again", ["reason"], registry=registry)
        self.open_analyses = Gauge("errata_open_analyses", "analyses not ended", ["state"], registry=registry)
        self.open_shards = Gauge("errata_open_shards", "shards not done", ["state"], registry=registry)
        self.oldest = Gauge("errata_oldest_open_seconds", "age of the oldest analysis", ["state"], registry=registry)
        self.live_workers = SnapshotGauge("errata_live_workers", "workers heard of lately", (), registry)
        self.delayed = SnapshotGauge("errata_delayed_messages", "messages that come again later", (), registry)
        self.dead_letters = SnapshotGauge("errata_dead_letters", "messages that were given up", (), registry)
        self.crashes = SharedCounter("errata_crashes", "shards whose worker died", registry)
        self.fenced_writes = SharedCounter("errata_fenced_writes", "what workers wrote too late", registry)
        self.redis_memory = SnapshotGauge("errata_redis_memory_bytes", "what Redis uses", (), registry)
        self.redis_max_memory = SnapshotGauge("errata_redis_max_memory_bytes", "what Redis may use", (), registry)
        self.cache_requests = Counter(
            "errata_cache_requests", "looks into a cache", ["cache", "outcome"], registry=registry
        )
        self.cache_bytes = Gauge(
            "errata_cache_bytes", "what a cache of this process holds", ["cache"], registry=registry
        )
        self.gpu_memory = SnapshotGauge("errata_gpu_memory_bytes", "memory of GPUs", ("device", "kind"), registry)
        self.evidence = SnapshotGauge(
            "errata_evidence_info", "bundles that are served", ("dataset", "digest", "rules"), registry
        )
        result = ("model", "version", "dataset")
        grouped = (*result, "group")
        self.result_samples = SnapshotGauge("errata_result_samples", "samples that count", grouped, registry)
        self.result_errors = SnapshotGauge(
            "errata_result_errors", "samples by verdict", (*grouped, "error_type", "severity"), registry
        )
        self.result_top1 = SnapshotGauge("errata_result_top1_accuracy_ratio", "top-1 accuracy", grouped, registry)
        self.result_multi_label = SnapshotGauge(
            "errata_result_multi_label_accuracy_ratio", "multi-label accuracy", grouped, registry
        )
        self.result_severe = SnapshotGauge(
            "errata_result_severe_error_ratio", "model failures among the samples", result, registry
        )
        self.result_baseline = SnapshotGauge(
            "errata_result_baseline_severe_error_ratio", "the same of the baseline", result, registry
        )
        self.result_time = SnapshotGauge("errata_result_timestamp_seconds", "when it ended", result, registry)
        self.results_dropped = Gauge("errata_results_dropped", "results that are not shown", registry=registry)
        self.build.labels(_version()).set(1)
        at_zero(self.cache_requests, ("results", "predictions", "pages"), ("hit", "miss"))

    def stage_timer(self, stage: Stage) -> AbstractContextManager[object]:
        """Return a block whose time is that of a stage."""
        return self.stages.labels(stage.value).time()

    def on_cache_lookup(self, cache: str, hit: bool) -> None:
        """Count a look into a cache."""
        self.cache_requests.labels(cache, "hit" if hit else "miss").inc()


def at_zero(counter: Counter, *labels: Iterable[str]) -> None:
    """Show a 0 for each combination of labels: a series that begins with its first failure shows no increase."""
    for item in product(*labels):
        counter.labels(*item)


def new_request_id() -> str:
    """Return an id for a call that came without one."""
    return uuid.uuid4().hex[:16]


def current_request_id() -> str:
    """Return the id of the call in hand, empty outside of one."""
    return str(structlog.contextvars.get_contextvars().get("request", ""))


def _version() -> str:
    try:
        return version("errata-service")
    except PackageNotFoundError:  # run from sources that nobody installed
        return "unknown"


def configure_logging(level: str, form: str, stream: TextIO = sys.stderr) -> None:
    """Log to a stream: JSON, a line an event, where it isn't a terminal (`auto`) or where asked for."""
    as_json = form == "json" or (form == "auto" and not stream.isatty())
    renderer: Any = structlog.processors.JSONRenderer()
    if not as_json:  # plain tracebacks: those with local variables would show what users uploaded
        plain = structlog.dev.plain_traceback
        renderer = structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=plain)
    said: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    shown: list[Any] = [*([structlog.processors.format_exc_info] if as_json else [_visible]), renderer]
    structlog.configure(
        processors=[*said, *shown],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    libraries = logging.StreamHandler(stream)  # dramatiq and uvicorn log through the standard library
    without_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    libraries.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=said, processors=[without_meta, *shown])
    )
    libraries.addFilter(_Quiet())
    logging.basicConfig(handlers=[libraries], level=logging.WARNING, force=True)


def _visible(_: Any, __: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Write what would steer a terminal as its escape; JSON does so by itself."""
    return {key: _STEERING.sub(_escape, value) if isinstance(value, str) else value for key, value in event.items()}


def _escape(found: re.Match[str]) -> str:
    return repr(found[0])[1:-1]


class _Quiet(logging.Filter):
    """Leaves out what libraries say of what callers sent, and what they say again and again."""

    def __init__(self) -> None:
        super().__init__()
        self._next = 0.0  # when it may be said again that no connection can be taken

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether a record is written."""
        words = str(record.msg)
        if record.name.startswith("grpc") and words.startswith("Invalid encoding"):
            return False  # it would show the metadata, and a token in it
        if record.name == "asyncio" and "out of system resource" in record.getMessage():
            is_time = time.monotonic() >= self._next
            if is_time:
                self._next = time.monotonic() + QUIET_SECONDS
            return is_time
        return True
