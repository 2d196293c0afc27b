"""Logs and metrics: the configuration of logging, and all metrics. Each process passes a registry.

"Shared" metrics are read from the job store, so each process reports the same value.
Aggregate them with max, not sum.

Metric                                     Kind       Labels                                    Meaning
errata_build_info                          gauge      version                                   1, with the version of the process
errata_ready                               gauge      –                                         1 while the process is ready for work
errata_rpc_started_total                   counter    method                                    RPCs started
errata_rpc_handled_total                   counter    method, code                              RPCs completed, by gRPC status code
errata_rpc_duration_seconds                histogram  method                                    duration of an RPC
errata_http_requests_total                 counter    path, status                              HTTP responses, by route and status
errata_http_request_duration_seconds       histogram  path                                      time from the head of an HTTP request to the end of its response
errata_refused_calls_total                 counter    edge, reason                              calls without the required token, certificate, or scope, or above a quota
errata_hooks_total                         counter    registry, outcome                         webhook calls of registries, by outcome
errata_polls_total                         counter    registry, outcome                         polls of registries, by outcome
errata_write_backs_total                   counter    registry, outcome                         attempts to write a result back to a registry, by outcome
errata_analyses_total                      counter    state                                     completed analyses, by final state
errata_images_total                        counter    –                                         images on which this process ran a model
errata_stage_duration_seconds              histogram  stage                                     duration of a stage: parse, load (a model), inference (of a shard), judge, archive, render
errata_shard_retries_total                 counter    reason                                    shards that this worker requeued after an error
errata_open_analyses                       gauge      state                                     model analyses that are queued or running; shared
errata_open_shards                         gauge      state                                     shards that are queued or running; shared
errata_oldest_open_seconds                 gauge      state                                     age of the oldest open analysis, 0 if there is none; shared
errata_live_workers                        gauge      –                                         workers with a recent heartbeat; shared
errata_delayed_messages                    gauge      –                                         shards that wait for a retry; shared
errata_dead_letters                        gauge      –                                         messages dropped during the last week; shared
errata_crashes_total                       counter    –                                         shards whose worker died; shared
errata_fenced_writes_total                 counter    –                                         progress reports and results rejected because the lease had expired; shared
errata_redis_memory_bytes                  gauge      –                                         memory that Redis uses; shared
errata_redis_max_memory_bytes              gauge      –                                         memory limit of Redis, 0 if there is none; shared
errata_cache_requests_total                counter    cache, outcome                            lookups in the caches `results`, `predictions`, and `pages`: hit or miss
errata_cache_bytes                         gauge      cache                                     size of this process's page cache
errata_gpu_memory_bytes                    gauge      device, kind                              memory of this worker's GPUs: used, total
errata_evidence_info                       gauge      dataset, digest, rules                    1 for each evidence bundle that is served
errata_result_samples                      gauge      model, version, dataset, group            samples in the statistics of the newest result of a watched model
errata_result_errors                       gauge      model, version, dataset, group, error_type, severity  these samples, by error type
errata_result_top1_accuracy_ratio          gauge      model, version, dataset, group            top-1 accuracy
errata_result_multi_label_accuracy_ratio   gauge      model, version, dataset, group            multi-label accuracy
errata_result_severe_error_ratio           gauge      model, version, dataset                   model failures as a share of the samples
errata_result_baseline_severe_error_ratio  gauge      model, version, dataset                   model failures as a share of the samples, for the baseline or else the previous version
errata_result_timestamp_seconds            gauge      model, version, dataset                   Unix time at which the analysis ended
errata_index_pending                       gauge      –                                         archived analyses that this process's index lacks while it is built
errata_results_dropped                     gauge      –                                         results without series because the limit of watched models was reached
"""  # noqa: E501

import logging
import os
import re
import sys
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from contextlib import suppress
from itertools import product
from typing import Any, TextIO, cast

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from service.redact import mask_credentials
from service.tracing import ENDPOINTS, add_trace_ids, service_version

CALL_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)  # seconds
REPEAT_SECONDS = 10.0  # minimum interval between two log lines about file descriptors, or about a collector
# In seconds: the shortest stages look up arrays, and the longest ones run a model on a shard.
STAGE_BUCKETS = (0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60, 300, 1200, 3600)
SERVICE_FAULT_CODES = ("INTERNAL", "UNAVAILABLE", "UNKNOWN")
REQUEST_ID = "x-request-id"  # header of requests and responses
_CONTROL_CHARACTERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
REQUEST_IDS = re.compile(r"[A-Za-z0-9_.:/-]{1,64}")


class SnapshotGauge(Collector):
    """A gauge whose series are replaced atomically, so that a scrape never sees a mix of old and new series.

    It has no series before its first value.
    """

    def __init__(self, name: str, description: str, labels: tuple[str, ...], registry: CollectorRegistry) -> None:
        self.name, self.description, self.label_names = name, description, labels
        self._values: Mapping[tuple[str, ...], float] = {}
        registry.register(self)

    def replace(self, values: Mapping[tuple[str, ...], float]) -> None:
        """Replace all series with the given values by label values."""
        self._values = dict(values)

    def set(self, value: float) -> None:
        """Set the value of a gauge without labels."""
        self.replace({(): value})

    def collect(self) -> Iterator[Metric]:
        """Yield the metric family for a scrape."""
        family = GaugeMetricFamily(self.name, self.description, labels=self.label_names)
        for labels, value in self._values.items():
            family.add_metric(labels, value)
        yield family


class SharedCounter(Collector):
    """A counter whose value is read from the job store. It has no value before the first read."""

    def __init__(self, name: str, description: str, registry: CollectorRegistry) -> None:
        self.name, self.description, self.label_names = name, description, ()
        self._value: float | None = None
        registry.register(self)

    def set(self, value: float) -> None:
        """Set the value that was read."""
        self._value = value

    def collect(self) -> Iterator[Metric]:
        """Yield the metric family for a scrape."""
        yield CounterMetricFamily(self.name, self.description, value=self._value)


class Metrics:
    """All metrics of a process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self.build = Gauge("errata_build_info", "version of the process", ["version"], registry=registry)
        self.ready = Gauge("errata_ready", "1 while the process is ready for work", registry=registry)
        self.rpc_started = Counter("errata_rpc_started", "RPCs started", ["method"], registry=registry)
        self.rpc_handled = Counter("errata_rpc_handled", "RPCs completed", ["method", "code"], registry=registry)
        self.rpc_duration = Histogram(
            "errata_rpc_duration_seconds", "duration of an RPC", ["method"], registry=registry, buckets=CALL_BUCKETS
        )
        self.http_requests = Counter("errata_http_requests", "HTTP responses", ["path", "status"], registry=registry)
        self.http_duration = Histogram(
            "errata_http_request_duration_seconds",
            "duration of an HTTP request",
            ["path"],
            registry=registry,
            buckets=CALL_BUCKETS,
        )
        self.refused_calls = Counter("errata_refused_calls", "calls refused", ["edge", "reason"], registry=registry)
        self.hooks = Counter("errata_hooks", "webhook calls of registries", ["registry", "outcome"], registry=registry)
        self.polls = Counter("errata_polls", "polls of registries", ["registry", "outcome"], registry=registry)
        self.write_backs = Counter(
            "errata_write_backs", "attempts to write back a result", ["registry", "outcome"], registry=registry
        )
        self.analyses = Counter("errata_analyses", "completed analyses", ["state"], registry=registry)
        self.images = Counter("errata_images", "images on which a model was run", registry=registry)
        self.stages = Histogram(
            "errata_stage_duration_seconds", "duration of a stage", ["stage"], registry=registry, buckets=STAGE_BUCKETS
        )
        self.retries = Counter("errata_shard_retries", "shards requeued", ["reason"], registry=registry)
        self.open_analyses = Gauge("errata_open_analyses", "open analyses", ["state"], registry=registry)
        self.open_shards = Gauge("errata_open_shards", "open shards", ["state"], registry=registry)
        self.oldest = Gauge(
            "errata_oldest_open_seconds", "age of the oldest open analysis", ["state"], registry=registry
        )
        self.live_workers = SnapshotGauge("errata_live_workers", "workers with a recent heartbeat", (), registry)
        self.delayed = SnapshotGauge("errata_delayed_messages", "shards that wait for a retry", (), registry)
        self.dead_letters = SnapshotGauge("errata_dead_letters", "messages dropped during the last week", (), registry)
        self.crashes = SharedCounter("errata_crashes", "shards whose worker died", registry)
        self.fenced_writes = SharedCounter("errata_fenced_writes", "writes after the lease had expired", registry)
        self.redis_memory = SnapshotGauge("errata_redis_memory_bytes", "memory that Redis uses", (), registry)
        self.redis_max_memory = SnapshotGauge("errata_redis_max_memory_bytes", "memory limit of Redis", (), registry)
        self.cache_requests = Counter("errata_cache_requests", "cache lookups", ["cache", "outcome"], registry=registry)
        self.cache_bytes = Gauge("errata_cache_bytes", "size of a cache", ["cache"], registry=registry)
        self.gpu_memory = SnapshotGauge("errata_gpu_memory_bytes", "memory of GPUs", ("device", "kind"), registry)
        self.evidence = SnapshotGauge(
            "errata_evidence_info", "evidence bundles that are served", ("dataset", "digest", "rules"), registry
        )
        result_labels = ("model", "version", "dataset")
        group_labels = (*result_labels, "group")
        self.result_samples = SnapshotGauge(
            "errata_result_samples", "samples in the statistics", group_labels, registry
        )
        self.result_errors = SnapshotGauge(
            "errata_result_errors", "samples by error type", (*group_labels, "error_type", "severity"), registry
        )
        self.result_top1 = SnapshotGauge("errata_result_top1_accuracy_ratio", "top-1 accuracy", group_labels, registry)
        self.result_multi_label = SnapshotGauge(
            "errata_result_multi_label_accuracy_ratio", "multi-label accuracy", group_labels, registry
        )
        self.result_severe = SnapshotGauge(
            "errata_result_severe_error_ratio", "model failures as a share of the samples", result_labels, registry
        )
        self.result_baseline = SnapshotGauge(
            "errata_result_baseline_severe_error_ratio",
            "model failures of the baseline as a share",
            result_labels,
            registry,
        )
        self.result_time = SnapshotGauge(
            "errata_result_timestamp_seconds", "time at which the analysis ended", result_labels, registry
        )
        self.index_pending = Gauge("errata_index_pending", "analyses that the index lacks", registry=registry)
        self.results_dropped = Gauge("errata_results_dropped", "results without series", registry=registry)
        self.build.labels(service_version()).set(1)
        initialize_series(self.cache_requests, ("results", "predictions", "pages"), ("hit", "miss"))


def initialize_series(counter: Counter, *label_values: Iterable[str]) -> None:
    """Create a series with the value 0 for each combination of label values.

    Prometheus computes no increase for the first sample of a series, so the first failure would go unnoticed.
    """
    for combination in product(*label_values):
        counter.labels(*combination)


def new_request_id() -> str:
    """Return a new random request ID."""
    return uuid.uuid4().hex[:16]


def current_request_id() -> str:
    """Return the id of the current call; empty outside of a call."""
    return str(structlog.contextvars.get_contextvars().get("request", ""))


def configure_logging(level: str, form: str, stream: TextIO | None = None) -> None:
    """Configure structlog and the standard library's logging.

    Args:
        level: Minimum level of structlog events; libraries log warnings and above.
        form: `json` (one object per line), `text`, or `auto`: text on a terminal, otherwise JSON.
        stream: Destination. Default: stderr.
    """
    stream = stream or sys.stderr
    as_json = form == "json" or (form == "auto" and not stream.isatty())
    renderer: Any = structlog.processors.JSONRenderer()
    if not as_json:
        formatter = structlog.dev.plain_traceback  # rich tracebacks print local variables, such as uploaded data
        renderer = structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=formatter)
    shared_processors: list[Any] = [
        structlog.contextvars.merge_contextvars,
        add_trace_ids,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    final_processors: list[Any] = [
        *([structlog.processors.format_exc_info] if as_json else [_escape_control_characters]),
        renderer,
    ]
    structlog.configure(
        processors=[*shared_processors, *final_processors],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, _LogStream(stream))),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)  # for dramatiq and uvicorn, which log through the standard library
    remove_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared_processors, processors=[remove_meta, *final_processors]
        )
    )
    handler.addFilter(_LibraryLogFilter())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)


class _LogStream:
    """Ignores the errors of a stream, as Python's logging does: a closed terminal or a full disk must fail no call."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        """Write a text, unless this fails."""
        with suppress(OSError):
            self._stream.write(text)

    def flush(self) -> None:
        """Flush the stream, unless this fails."""
        with suppress(OSError):
            self._stream.flush()


def _escape_control_characters(_: Any, __: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Escape characters that control a terminal; the JSON renderer escapes them itself."""
    return {
        key: _CONTROL_CHARACTERS.sub(_escape, value) if isinstance(value, str) else value
        for key, value in event.items()
    }


def _escape(match: re.Match[str]) -> str:
    return repr(match[0])[1:-1]


class _LibraryLogFilter(logging.Filter):
    """Removes secrets from log records of libraries, and limits the rate of repeated records."""

    def __init__(self) -> None:
        super().__init__()
        self._next_repeats: dict[str, float] = {}  # by logger: monotonic time before which a record is dropped

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is written."""
        if record.name.startswith("grpc") and str(record.msg).startswith("Invalid encoding"):
            return False  # the record contains the metadata, including the token
        is_exhausted = record.name == "asyncio" and "out of system resource" in record.getMessage()
        is_export = record.name.startswith("opentelemetry.")  # an exporter without a collector logs each retry
        if is_export:
            record.msg, record.args, record.exc_info = _describe_export_problem(record), (), None
        if is_exhausted or is_export:
            is_due = time.monotonic() >= self._next_repeats.get(record.name, 0.0)
            if is_due:
                self._next_repeats[record.name] = time.monotonic() + REPEAT_SECONDS
            return is_due
        return True


def _describe_export_problem(record: logging.LogRecord) -> str:
    """Return the message of OpenTelemetry, with its exception, without the secrets that variables can contain."""
    error = record.exc_info[1] if record.exc_info else None
    message = record.getMessage() if error is None else f"{record.getMessage()}: {error!r}"
    if message.startswith("Header format invalid") or "in header value" in message:  # it quotes the value
        return (
            "OTEL_EXPORTER_OTLP_HEADERS or OTEL_EXPORTER_OTLP_TRACES_HEADERS is invalid; the value is not shown, since "
            "it can contain a token. Use name=value pairs with URL-encoded values, separated by commas, such as "
            "authorization=Bearer%20TOKEN."
        )
    return mask_credentials(message, (os.environ.get(name, "") for name in ENDPOINTS))
