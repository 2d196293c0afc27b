"""Export: all verdicts of an analysis as a file, piece by piece."""

import io
from collections.abc import Callable, Iterator

from pyarrow import csv as arrow_csv
from pyarrow import parquet as arrow_parquet

from service.analyses.judge import Judged
from service.analyses.verdicts import VerdictFilter, records, select, table
from service.domain import Verdict

LINES = 4096  # a piece


def jsonl(found: Judged, line: Callable[[Verdict], str]) -> Iterator[bytes]:
    """Yield a line a verdict, in the form that `line` gives it."""
    rows = select(found, VerdictFilter())
    for start in range(0, len(rows), LINES):
        yield "".join(line(verdict) + "\n" for verdict in records(found, rows[start : start + LINES])).encode()


def csv(found: Judged) -> Iterator[bytes]:
    """Yield a table with a header."""
    content = io.BytesIO()
    arrow_csv.write_csv(table(found), content)
    yield content.getvalue()


def parquet(found: Judged) -> Iterator[bytes]:
    """Yield the same table as Parquet."""
    content = io.BytesIO()
    arrow_parquet.write_table(table(found), content, compression="zstd")
    yield content.getvalue()
