"""An OTLP collector for tests: a gRPC server that stores the spans it receives.

With TRACE_FILE in the environment, it also appends them to this file, as the file exporter of OpenTelemetry does.
"""

import base64
import json
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage

from service.tracing import FLUSH_THREAD


@dataclass(frozen=True)
class Span:
    """One received span."""

    name: str
    kind: str  # INTERNAL, SERVER, CLIENT, or CONSUMER
    trace: str  # hexadecimal, as are `id` and `parent`
    id: str
    parent: str  # empty: the root of its trace
    start: int  # nanoseconds since 1970
    end: int
    status: str
    attributes: dict[str, Any]
    process: dict[str, Any]  # attributes of the process that recorded it

    @property
    def service(self) -> str:
        return str(self.process["service.name"])


class TraceCollector(trace_service_pb2_grpc.TraceServiceServicer):
    """The received spans. `accepts` is set while the collector answers."""

    def __init__(self) -> None:
        self.accepts = threading.Event()
        self.accepts.set()
        self.requested = threading.Event()  # set by the first request
        self.metadata: list[dict[str, str]] = []
        self._spans: list[Span] = []
        self._lock = threading.Lock()  # of the file
        self._server = grpc.server(ThreadPoolExecutor(4))
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(self, self._server)  # type: ignore[no-untyped-call]
        self.url = f"http://127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def Export(self, request: Any, context: Any) -> Any:
        self.requested.set()
        self.accepts.wait(60)
        self.metadata.append({key: value for key, value in context.invocation_metadata() if isinstance(value, str)})
        for resource in request.resource_spans:
            process = _values(resource.resource.attributes)
            self._spans += [_to_span(span, process) for scope in resource.scope_spans for span in scope.spans]
        if file := os.environ.get("TRACE_FILE"):
            with self._lock, open(file, "a", encoding="utf-8") as output:
                output.write(json.dumps(_to_json(request)) + "\n")
        return trace_service_pb2.ExportTraceServiceResponse()

    def spans(self, name: str = "", **attributes: object) -> list[Span]:
        """Return the received spans with a name and attributes (with `_` for `.`), in the order of their start."""
        wanted = {key.replace("_", ".", 1): value for key, value in attributes.items()}
        matching = [
            span for span in self._spans if name in ("", span.name) and wanted.items() <= span.attributes.items()
        ]
        return sorted(matching, key=lambda span: span.start)

    def only(self, name: str, **attributes: object) -> Span:
        """Return the only span with a name and attributes."""
        spans = self.spans(name, **attributes)
        assert len(spans) == 1, f"{len(spans)} spans {name}: {[span.name for span in self.spans()]}"
        return spans[0]

    def wait_for(self, *names: str) -> None:
        """Wait until a span of each name is received: a call can end for its caller before its span does."""
        deadline = time.monotonic() + 60
        while missing := {name for name in names if not self.spans(name)}:
            assert time.monotonic() < deadline, f"no spans {missing}: {[span.name for span in self.spans()]}"
            time.sleep(0.02)

    def stop(self) -> None:
        """Answer pending calls, wait until this process has sent its last spans, and stop.

        Otherwise, the exporter would try again during later tests, and Hypothesis fails tests during which `random` is
        used.
        """
        self.accepts.set()
        for thread in threading.enumerate():
            if thread.name == FLUSH_THREAD:
                thread.join(60)
        self._server.stop(None).wait()


@contextmanager
def trace_collector() -> Iterator[TraceCollector]:
    """Yield a running collector."""
    collector = TraceCollector()
    try:
        yield collector
    finally:
        collector.stop()


def _to_span(message: SpanMessage, process: dict[str, Any]) -> Span:
    return Span(
        name=message.name,
        kind=SpanMessage.SpanKind.Name(message.kind).removeprefix("SPAN_KIND_"),
        trace=message.trace_id.hex(),
        id=message.span_id.hex(),
        parent=message.parent_span_id.hex(),
        start=message.start_time_unix_nano,
        end=message.end_time_unix_nano,
        status=type(message.status).StatusCode.Name(message.status.code).removeprefix("STATUS_CODE_"),
        attributes=_values(message.attributes),
        process=process,
    )


def _to_json(request: Any) -> dict[str, Any]:
    """Return a request as OTLP/JSON, in which IDs are hexadecimal."""
    document: dict[str, Any] = MessageToDict(request)
    for resource in document["resourceSpans"]:
        for span in (span for scope in resource["scopeSpans"] for span in scope["spans"]):
            for key in {"traceId", "spanId", "parentSpanId"} & span.keys():
                span[key] = base64.b64decode(span[key]).hex()
    return document


def _values(attributes: Any) -> dict[str, Any]:
    def value_of(attribute: KeyValue) -> Any:
        field = attribute.value.WhichOneof("value")
        return None if field is None else getattr(attribute.value, field)

    return {attribute.key: value_of(attribute) for attribute in attributes}
