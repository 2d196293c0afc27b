"""Logs and metrics: how they are set up, and the metrics themselves. The registry is passed in.

Metric                            Kind       Labels          Meaning
errata_rpc_started_total          counter    method          calls that came
errata_rpc_handled_total          counter    method, code    calls that ended, by canonical code
errata_rpc_duration_seconds       histogram  method          time from a call's start to its end
errata_http_requests_total        counter    path, status    answers of the HTTP listener
errata_analyses_total             counter    state           analyses that ended, by state
errata_images_total               counter    –               images that this process ran a model on
errata_open_analyses              gauge      –               analyses that wait or run
errata_open_shards                gauge      –               shards that wait or run
errata_live_workers               gauge      –               workers heard of lately
errata_hooks_total                counter    registry, outcome  calls of registries, by what came of them
errata_polls_total                counter    registry, outcome  looks at what registries hold
errata_write_backs_total          counter    outcome         attempts to tell a registry a result
errata_late_writes                gauge      –               reports and results of workers that came too late
"""

import logging
import sys
from typing import Any, TextIO

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)  # seconds


class Metrics:
    """The process' metrics."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.rpc_started = Counter("errata_rpc_started", "calls that came", ["method"], registry=registry)
        self.rpc_handled = Counter("errata_rpc_handled", "calls that ended", ["method", "code"], registry=registry)
        self.rpc_duration = Histogram(
            "errata_rpc_duration_seconds", "seconds a call took", ["method"], registry=registry, buckets=BUCKETS
        )
        self.http_requests = Counter("errata_http_requests", "answers over HTTP", ["path", "status"], registry=registry)
        self.analyses = Counter("errata_analyses", "analyses that ended", ["state"], registry=registry)
        self.images = Counter("errata_images", "images that a model was run on", registry=registry)
        self.hooks = Counter("errata_hooks", "calls of registries", ["registry", "outcome"], registry=registry)
        self.polls = Counter("errata_polls", "looks at registries", ["registry", "outcome"], registry=registry)
        self.write_backs = Counter("errata_write_backs", "attempts to tell results", ["outcome"], registry=registry)
        self.open_analyses = Gauge("errata_open_analyses", "analyses that wait or run", registry=registry)
        self.open_shards = Gauge("errata_open_shards", "shards that wait or run", registry=registry)
        self.live_workers = Gauge("errata_live_workers", "workers heard of lately", registry=registry)
        self.late_writes = Gauge("errata_late_writes", "what workers wrote too late", registry=registry)


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
    shown: list[Any] = [*([structlog.processors.format_exc_info] if as_json else []), renderer]
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
    logging.basicConfig(handlers=[libraries], level=logging.WARNING, force=True)
