"""Traces: a span for each call, and the W3C trace context in its metadata, if the program uses OpenTelemetry."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import grpc

PACKAGE = "errata.v1"


def method_names(*stubs: Any) -> Mapping[Any, str]:
    """Map each method of the stubs to its full name, such as `errata.v1.AnalysisService/GetAnalysis`."""
    return {
        method: f"{PACKAGE}.{type(stub).__name__.removesuffix('Stub')}/{name}"
        for stub in stubs
        for name, method in vars(stub).items()
    }


@contextmanager
def trace_call(method: str) -> Iterator[tuple[tuple[str, str], ...]]:
    """Record the `with` block as the span of a call, and yield gRPC metadata that contains the context of the span.

    If the program has not imported OpenTelemetry, no current span can exist. Nothing is imported or recorded then.

    Args:
        method: Full name of the method.
    """
    trace: Any = sys.modules.get("opentelemetry.trace")
    if trace is None:
        yield ()
        return
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    attributes = {"rpc.system.name": "grpc", "rpc.method": method}
    span = trace.get_tracer("errata").start_span(method, kind=trace.SpanKind.CLIENT, attributes=attributes)
    metadata: dict[str, str] = {}
    # The span is not made the current one, because a stream can begin in one context and end in another.
    TraceContextTextMapPropagator().inject(metadata, trace.set_span_in_context(span))
    try:
        yield tuple(metadata.items())
        span.set_attribute("rpc.response.status_code", grpc.StatusCode.OK.name)
    except grpc.RpcError as error:
        code = error.code().name  # type: ignore[attr-defined]  # gRPC's errors of calls have codes
        span.set_attributes({"rpc.response.status_code": code, "error.type": code})
        span.set_status(trace.StatusCode.ERROR)
        raise
    finally:
        span.end()
