"""An upload over loopback, compared with parsing by pyarrow plus a minimal server that reads the same stream."""

import io
from collections.abc import Iterator
from typing import Any

import grpc
from errata import Client
from errata.requests import CHUNK_BYTES
from pyarrow import csv as arrow_csv

from benchmarks.harness import Case, Result, at_most, medians, timed
from benchmarks.processes import LOCAL, serving, settled_folder
from benchmarks.synthetic import predictions_csv

TIMES = 100
CASE = Case(
    "upload",
    "upload of 50,000 predictions (CSV), whole call",
    "pyarrow.csv.read_csv, and the same stream to a minimal gRPC server",
    "ms",
    at_most(2.2),
)


def measure() -> Iterator[Result]:
    """Yield the median of an upload and of its lower bound; both servers run in separate processes."""
    content = predictions_csv()
    chunks = [content[start : start + CHUNK_BYTES] for start in range(0, len(content), CHUNK_BYTES)]
    with (
        settled_folder() as folder,
        serving(LOCAL, folder) as address,
        serving(("benchmarks.baseline_server",), folder) as baseline,
        Client(address) as client,
        grpc.insecure_channel(baseline) as channel,
    ):
        echo: Any = channel.stream_unary("/echo/Echo")
        whole, stream, parse = medians(
            timed(lambda: client.upload(io.BytesIO(content), "imagenet-real")),
            timed(lambda: echo(iter(chunks))),
            timed(lambda: arrow_csv.read_csv(io.BytesIO(content))),
            times=TIMES,
        )
    yield CASE.measured(whole, stream + parse)
