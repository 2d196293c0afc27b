"""An upload that is parsed in a sandboxed process, compared with the same service without sandbox."""

import io
import tempfile
from collections.abc import Iterator
from functools import partial

import numpy as np
import pyarrow as pa
from errata import Client
from pyarrow import csv as arrow_csv
from pyarrow import parquet

from benchmarks.harness import Case, Result, at_most, medians, timed
from benchmarks.processes import LOCAL, serving
from benchmarks.synthetic import predictions_csv

TIMES, WARM = 40, 4
CASES = {
    name: Case(
        f"sandbox.{name}",
        f"upload of 50,000 predictions ({name}), whole call",
        "the same, parsed in the process of the API",
        "ms",
        at_most(2.0),
    )
    for name in ("Parquet", "npz")
}


def measure() -> Iterator[Result]:
    """Yield the median of a whole upload for each binary format."""
    table = arrow_csv.read_csv(io.BytesIO(predictions_csv()))
    contents = {"Parquet": _parquet(table), "npz": _npz(table)}
    with (
        tempfile.TemporaryDirectory() as first,
        tempfile.TemporaryDirectory() as second,
        serving(LOCAL, first) as sandboxed,
        serving(("benchmarks.unsandboxed",), second) as reference,
        Client(sandboxed) as client,
        Client(reference) as other,
    ):
        for name, case in CASES.items():
            order = "file-name" if name == "npz" else ""  # an npz file has no file names
            uploads = [timed(partial(_upload, to, contents[name], order)) for to in (client, other)]
            yield case.measured(*medians(*uploads, times=TIMES, warm=WARM))


def _parquet(table: pa.Table) -> bytes:
    file = io.BytesIO()
    parquet.write_table(table, file)
    return file.getvalue()


def _npz(table: pa.Table) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, top1=table["top1"].to_numpy())
    return file.getvalue()


def _upload(client: Client, content: bytes, row_order: str) -> None:
    client.upload(io.BytesIO(content), "imagenet-real", row_order=row_order)
