"""An upload that is parsed in a sandboxed process, compared with the same service without sandbox."""

import io
import tempfile
import time
from collections.abc import Iterator
from statistics import median

import numpy as np
import pyarrow as pa
from errata import Client
from pyarrow import csv as arrow_csv
from pyarrow import parquet

from benchmarks.result import Figure
from benchmarks.serving import serving
from benchmarks.synthetic import predictions_csv

TIMES, WARM = 40, 4
AIM = 2.0  # times the reference; the sandbox takes about 9 ms of a call of 13 ms


def measure() -> Iterator[Figure]:
    """Yield the median of a whole upload for each binary format; calls to the two services alternate."""
    table = arrow_csv.read_csv(io.BytesIO(predictions_csv()))
    with (
        tempfile.TemporaryDirectory() as first,
        tempfile.TemporaryDirectory() as second,
        serving(["service", "serve", "--local"], first) as sandboxed,
        serving(["benchmarks.unsandboxed"], second) as reference,
        Client(sandboxed) as client,
        Client(reference) as other,
    ):
        for name, content in (("Parquet", _parquet(table)), ("npz", _npz(table))):
            seconds, floor = _alternating(client, other, content)
            yield Figure(
                f"upload of 50,000 predictions as {name}, whole call, p50 (reference: parsed in the API's process)",
                value=seconds * 1000,
                unit="ms",
                reference=floor * 1000,
                ratio=seconds / floor,
                aim=f"at most {AIM:g} times the reference",
                holds=seconds <= AIM * floor,
            )


def _alternating(client: Client, other: Client, content: bytes) -> tuple[float, float]:
    durations: tuple[list[float], list[float]] = ([], [])
    for _ in range(WARM + TIMES):
        for uploader, seconds in zip((client, other), durations, strict=True):
            started = time.perf_counter()
            uploader.upload(io.BytesIO(content), "imagenet-real")
            seconds.append(time.perf_counter() - started)
    return median(durations[0][WARM:]), median(durations[1][WARM:])


def _parquet(table: pa.Table) -> bytes:
    file = io.BytesIO()
    parquet.write_table(table, file)
    return file.getvalue()


def _npz(table: pa.Table) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, top1=table["top1"].to_numpy())
    return file.getvalue()
