"""An upload over loopback, compared with parsing by pyarrow plus a minimal server that reads the same stream.

The files that the archive writes for an upload are compared with one file.
"""

import io
import os
from collections.abc import Iterator
from typing import Any

import grpc
from errata import Client
from errata.files import write_files
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
SIZES = 200_000, 6_000, 400  # predictions, document, audit event
FILES = Case("upload.files", "the three files of an upload, on the disk", "one file of the same size", "ms", at_most(2))


def measure() -> Iterator[Result]:
    """Yield the medians of an upload and of its lower bound, both servers in separate processes; then its files."""
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
    with settled_folder() as folder:
        contents = [os.urandom(size) for size in SIZES]
        three = {folder / f"three.{number}": content for number, content in enumerate(contents)}
        one = {folder / "one": b"".join(contents)}
        yield FILES.measured(*medians(timed(lambda: write_files(three)), timed(lambda: write_files(one)), times=TIMES))
