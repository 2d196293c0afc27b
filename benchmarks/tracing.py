"""The cost of traces for an upload: with a collector, with one that cannot be reached, and without an endpoint."""

import io
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from errata import Client

from benchmarks.harness import Case, Result, at_most, medians, timed
from benchmarks.processes import LOCAL, serving
from benchmarks.synthetic import predictions_csv
from service import tracing

TIMES = 100
REPEATS = 1000  # of the calls of an upload without an endpoint, which take microseconds
UPLOAD = "upload of 50,000 predictions (CSV)"
ON = Case("tracing.on", f"{UPLOAD}, spans exported to a collector", f"{UPLOAD}, no endpoint", "ms", at_most(1.1))
UNREACHABLE = Case(
    "tracing.unreachable", f"{UPLOAD}, no collector at the endpoint", f"{UPLOAD}, no endpoint", "ms", at_most(1.1)
)
OFF = Case(
    "tracing.off", "the calls of an upload that record spans, without an endpoint", f"{UPLOAD}", "ms", at_most(0.01)
)
EXPORT = "opentelemetry.proto.collector.trace.v1.TraceService"


def measure() -> Iterator[Result]:
    """Yield the medians of uploads to three services, and of the calls that record nothing."""
    content = predictions_csv()
    with (
        tempfile.TemporaryDirectory() as folder,
        _collector() as (endpoint, requests),
        serving(LOCAL, folder) as without,
        serving(LOCAL, folder, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint) as traced,
        serving(LOCAL, folder, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1") as unreachable,
        Client(without) as client,
        Client(traced) as traced_client,
        Client(unreachable) as unreachable_client,
    ):
        off, on, failing, calls = medians(
            timed(lambda: client.upload(io.BytesIO(content), "imagenet-real")),
            timed(lambda: traced_client.upload(io.BytesIO(content), "imagenet-real")),
            timed(lambda: unreachable_client.upload(io.BytesIO(content), "imagenet-real")),
            timed(_record_upload),
            times=TIMES,
        )
    yield ON.measured(on, off, problem="" if requests else "The collector received no spans.")
    yield UNREACHABLE.measured(failing, off)
    yield OFF.measured(calls / REPEATS, off)


def _record_upload() -> None:
    """Make the calls that an upload makes, REPEATS times."""
    for _ in range(REPEATS):
        parent = tracing.read_context((("x-request-id", "0" * 16), ("user-agent", "grpc")))
        with tracing.span("upload", tracing.Kind.SERVER, parent, {"rpc.system.name": "grpc", "rpc.method": "upload"}):
            for name in ("parse", "judge", "archive write"):
                with tracing.child_span(name):
                    pass
            tracing.set_attributes({"errata.analysis": "id", "errata.dataset": "imagenet-real"})
            tracing.current_context()
            tracing.add_trace_ids(None, "info", {"event": "analysis judged"})
            tracing.set_attributes({"rpc.response.status_code": "OK"})


@contextmanager
def _collector() -> Iterator[tuple[str, list[bytes]]]:
    """Run a server that receives spans while a block runs; yield its address and the requests."""
    requests: list[bytes] = []

    def export(request: bytes, _: object) -> bytes:
        requests.append(request)
        return b""

    server = grpc.server(ThreadPoolExecutor(1))
    handlers: dict[str, Any] = {"Export": grpc.unary_unary_rpc_method_handler(export)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(EXPORT, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"http://127.0.0.1:{port}", requests
    finally:
        server.stop(None).wait()
