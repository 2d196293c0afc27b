"""An upload over loopback, compared with parsing by pyarrow plus a minimal server that reads the same stream."""

import io
import tempfile
from collections.abc import Iterator

import grpc
from errata import Client
from errata.requests import CHUNK_BYTES
from pyarrow import csv as arrow_csv

from benchmarks.result import Figure, median_seconds
from benchmarks.serving import serving
from benchmarks.synthetic import predictions_csv

TIMES = 50
AIM = 3.0  # times the lower bound


def measure() -> Iterator[Figure]:
    """Yield the median of an upload and of the lower bound; both servers run in separate processes."""
    content = predictions_csv()
    chunks = [content[start : start + CHUNK_BYTES] for start in range(0, len(content), CHUNK_BYTES)]
    with tempfile.TemporaryDirectory() as folder:
        with serving(["service", "serve", "--local"], folder) as address, Client(address) as client:
            whole = median_seconds(lambda: client.upload(io.BytesIO(content), "imagenet-real"), TIMES)
        with serving(["benchmarks.baseline_server"], folder) as address, grpc.insecure_channel(address) as channel:
            echo = channel.stream_unary("/echo/Echo")
            stream = median_seconds(lambda: echo(iter(chunks)), TIMES)
    floor = stream + median_seconds(lambda: arrow_csv.read_csv(io.BytesIO(content)), TIMES)
    yield Figure(
        "upload of 50,000 predictions, whole call, p50 (floor: pyarrow parse + echo)",
        value=whole * 1000,
        unit="ms",
        reference=floor * 1000,
        ratio=whole / floor,
        aim=f"at most {AIM:g} times the lower bound",
        holds=whole <= AIM * floor,
    )
