"""Export: all verdicts of an analysis as a file, piece by piece."""

import io
from collections.abc import Callable, Iterator

import pyarrow as pa
from pyarrow import compute as pc
from pyarrow import csv as arrow_csv
from pyarrow import parquet as arrow_parquet

from service.analyses.judge import JudgedAnalysis
from service.analyses.verdicts import VerdictFilter, iterate_verdicts, select_rows, verdict_table
from service.domain import Verdict

LINES = 4096  # a piece
_FORMULA = r"^[=+\-@\t\r\n]"  # how a cell starts that a spreadsheet evaluates


def jsonl(found: JudgedAnalysis, line: Callable[[Verdict], str]) -> Iterator[bytes]:
    """Yield a line a verdict, in the form that `line` gives it."""
    rows = select_rows(found, VerdictFilter())
    for start in range(0, len(rows), LINES):
        yield "".join(line(verdict) + "\n" for verdict in iterate_verdicts(found, rows[start : start + LINES])).encode()


def csv(found: JudgedAnalysis) -> Iterator[bytes]:
    """Yield a table with a header; text that a spreadsheet would run as a formula gets a leading apostrophe."""
    content = io.BytesIO()
    arrow_csv.write_csv(escape_formulas(verdict_table(found)), content)
    yield content.getvalue()


def escape_formulas(verdicts: pa.Table) -> pa.Table:
    """Return a table whose text cells no spreadsheet takes for formulas; numbers stay numbers.

    File names come from the users who made the data set.
    Source: https://owasp.org/www-community/attacks/CSV_Injection
    """
    for place, field in enumerate(verdicts.schema):
        if pa.types.is_string(field.type):
            cells = verdicts.column(place)
            quoted = pc.binary_join_element_wise("'", cells, "")
            verdicts = verdicts.set_column(
                place, field, pc.if_else(pc.match_substring_regex(cells, _FORMULA), quoted, cells)
            )
    return verdicts


def parquet(found: JudgedAnalysis) -> Iterator[bytes]:
    """Yield the same table as Parquet."""
    content = io.BytesIO()
    arrow_parquet.write_table(verdict_table(found), content, compression="zstd")
    yield content.getvalue()
