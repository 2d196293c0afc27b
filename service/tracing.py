"""Traces: spans of OpenTelemetry. They are recorded and exported only if an OTLP endpoint is configured.

The SDK reads its standard `OTEL_` variables: endpoint, headers, protocol, sampler, batches, limits, and resource.
Without an endpoint, neither the SDK nor its API is imported. An analysis, a job, and a message carry their trace as one
text: the headers `traceparent` and `tracestate` of W3C Trace Context, separated by a space.
"""

import os
import socket
import time
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from enum import Enum
from importlib.metadata import PackageNotFoundError, entry_points, version
from threading import Thread
from typing import Any

import structlog

ENDPOINTS = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"
PROTOCOLS = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"
EXPORTERS = {"grpc": "otlp_proto_grpc", "http/protobuf": "otlp_proto_http"}  # entry points by protocol
FLUSH_SECONDS = 1.0  # time for the last spans at the end of a process; the watchdog ends it a few seconds later
FLUSH_THREAD = "trace-flush"  # name of the thread that sends the last spans
MAX_TEXT = 256  # characters of the value of an attribute
MAX_STATE = 512  # characters of `tracestate`; W3C Trace Context requires that this many are passed on
_log = structlog.get_logger()
_active: "_Tracing | None" = None
Value = str | int | float


class Kind(Enum):
    """The kinds of spans, with their names in OpenTelemetry."""

    INTERNAL = "INTERNAL"
    SERVER = "SERVER"
    CLIENT = "CLIENT"
    CONSUMER = "CONSUMER"


def start_tracing(service: str) -> None:
    """Export the spans of this process if a standard variable has an endpoint; log a warning if this is impossible.

    Args:
        service: The name of the service in traces; OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES override it.
    """
    global _active
    if _active is not None or not _is_requested():
        return
    try:
        _active = _Tracing(service)
    except ImportError as error:
        _log.warning(
            "no traces: an OTLP endpoint is set, but OpenTelemetry is not installed. Install errata-service[tracing], "
            "or unset the endpoint.",
            missing=error.name,
        )
    except Exception as error:  # an invalid variable must not stop the service
        _log.warning("no traces: a variable of OpenTelemetry is invalid", error=f"{error!s:.200}")


def stop_tracing(seconds: float = FLUSH_SECONDS) -> None:
    """Export the last spans. A collector that does not answer within `seconds` does not receive them."""
    global _active
    stopped, _active = _active, None
    if stopped is not None:
        thread = Thread(target=stopped.provider.shutdown, name=FLUSH_THREAD, daemon=True)
        thread.start()
        thread.join(seconds)


def span(
    name: str, kind: Kind = Kind.INTERNAL, parent: str | None = None, attributes: Mapping[str, Value] | None = None
) -> AbstractContextManager[None]:
    """Return a context in which a span is the current one.

    Args:
        name: Name of the span. It must not contain values such as IDs.
        kind: Kind of the span.
        parent: A result of `current_context` or `read_context`; empty: start a new trace; None: the current span.
        attributes: Attributes, whose texts are truncated to MAX_TEXT characters.
    """
    return nullcontext() if _active is None else _active.span(name, kind, parent, attributes or {})


def child_span(
    name: str, kind: Kind = Kind.INTERNAL, attributes: Mapping[str, Value] | None = None
) -> AbstractContextManager[None]:
    """Return a context in which a new child of the current span is current, if there is a current span."""
    return nullcontext() if not current_context() else span(name, kind, None, attributes)


def record_wait(name: str, parent: str, start: float, attributes: Mapping[str, Value]) -> None:
    """Record a span that began at a Unix time, but not later than now, and ends now."""
    if _active is not None:
        _active.record_wait(name, parent, min(start, time.time()), attributes)


def set_attributes(attributes: Mapping[str, Value], name: str = "") -> None:
    """Set attributes of the current span, and its name unless `name` is empty."""
    if _active is not None:
        current = _active.trace.get_current_span()
        current.set_attributes(_bounded(attributes))
        if name:
            current.update_name(name)


def set_error(error: BaseException | str) -> None:
    """Mark the current span as failed, with the type of the error but not its message, which can quote the caller."""
    if _active is not None:
        current = _active.trace.get_current_span()
        current.set_attribute("error.type", error if isinstance(error, str) else type(error).__name__)
        current.set_status(_active.trace.StatusCode.ERROR)


def current_context() -> str:
    """Return the trace context of the current span as text; empty if there is none."""
    return _join(current_headers())


def current_headers() -> dict[str, str]:
    """Return the headers that propagate the current trace context; none without a span."""
    return {} if _active is None else _active.headers()


def read_context(headers: Iterable[Any]) -> str:
    """Return, as text, the trace context in the headers or metadata of a call; empty if there is none."""
    return "" if _active is None else _join({name: value for name, value in headers if isinstance(value, str)})


def log_fields() -> dict[str, str]:
    """Return the IDs of the current span for the log; empty if there is none."""
    if _active is None or not (context := _active.trace.get_current_span().get_span_context()).is_valid:
        return {}
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}


def add_trace_ids(_: Any, __: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Add the IDs of the current span to a log event (a processor of structlog)."""
    return event if _active is None else log_fields() | dict(event)


class _Tracing:
    """The SDK of OpenTelemetry with the exporters that the environment configures."""

    def __init__(self, service: str) -> None:
        from opentelemetry import trace
        from opentelemetry.context import Context
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        exporters = [exporter_class() for exporter_class in _exporters()]
        self.trace = trace
        # The global provider is not set, because it belongs to the program that runs the service in its own process.
        self.provider = TracerProvider(resource=Resource.create(_resource(service)), shutdown_on_exit=False)
        for exporter in exporters:
            self.provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self.provider.get_tracer("errata", service_version())
        self._propagator = TraceContextTextMapPropagator()
        self._empty = Context()

    @contextmanager
    def span(self, name: str, kind: Kind, parent: str | None, attributes: Mapping[str, Value]) -> Iterator[None]:
        with self._tracer.start_as_current_span(
            name,
            context=None if parent is None else self._context(parent),
            kind=self.trace.SpanKind[kind.value],
            attributes=_bounded(attributes),
            record_exception=False,  # the message and the traceback can quote what a caller sent
            set_status_on_exception=False,
        ) as started:
            try:
                yield
            except Exception as error:
                if started.is_recording() and started.status.is_unset:  # type: ignore[attr-defined]  # a span of the SDK
                    set_error(error)
                raise

    def record_wait(self, name: str, parent: str, start: float, attributes: Mapping[str, Value]) -> None:
        recorded = self._tracer.start_span(
            name, self._context(parent), attributes=_bounded(attributes), start_time=int(start * 1e9)
        )
        recorded.end()

    def headers(self) -> dict[str, str]:
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier)
        return carrier

    def _context(self, text: str) -> Any:
        parent, _, state = text.partition(" ")
        return self._propagator.extract({"traceparent": parent, "tracestate": state}, self._empty)


def _is_requested() -> bool:
    variables = os.environ
    is_disabled = variables.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    is_off = variables.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "none"
    return any(variables.get(name) for name in ENDPOINTS) and not is_disabled and not is_off


def _exporters() -> Iterator[Any]:
    """Yield the classes of the exporters that OTEL_TRACES_EXPORTER and the protocol variables select.

    Raises:
        ImportError: An exporter is not installed.
        ValueError: The protocol is unknown.
    """
    protocol = next((value for name in PROTOCOLS if (value := os.environ.get(name, "").strip())), "grpc")
    if protocol not in EXPORTERS:
        raise ValueError(f"Unknown OTLP protocol {protocol!r:.40}. Expected one of {', '.join(EXPORTERS)}.")
    for name in (os.environ.get("OTEL_TRACES_EXPORTER") or "otlp").split(","):
        entry = EXPORTERS[protocol] if name.strip() == "otlp" else name.strip()
        matches = list(entry_points(group="opentelemetry_traces_exporter", name=entry))
        if not matches:
            raise ImportError(f"The exporter {entry!r:.40} is not installed.", name=entry)
        yield matches[0].load()


def _resource(service: str) -> dict[str, str]:
    """Return the attributes of the process that no variable sets."""
    attributes = {"service.version": service_version(), "service.instance.id": f"{socket.gethostname()}-{os.getpid()}"}
    if not os.environ.get("OTEL_SERVICE_NAME") and "service.name=" not in os.environ.get(
        "OTEL_RESOURCE_ATTRIBUTES", ""
    ):
        attributes["service.name"] = service
    return attributes


def service_version() -> str:
    """Return the version of the service; `unknown` for sources that are not installed."""
    try:
        return version("errata-service")
    except PackageNotFoundError:
        return "unknown"


def _join(headers: Mapping[str, str]) -> str:
    """Return `traceparent` and `tracestate` as text. Drop a long `tracestate`: it must not be truncated."""
    parent, state = headers.get("traceparent", "")[:MAX_TEXT].strip(), headers.get("tracestate", "")
    return f"{parent} {state}".strip() if parent and len(state) <= MAX_STATE else parent


def _bounded(attributes: Mapping[str, Value]) -> dict[str, Value]:
    return {
        name: value[:MAX_TEXT] if isinstance(value, str) else value for name, value in attributes.items() if value != ""
    }
