"""Export the verdicts of an analysis as a file, in pieces."""

import io
from collections.abc import Callable, Iterator

import pyarrow as pa
from pyarrow import compute as pc
from pyarrow import csv as arrow_csv
from pyarrow import parquet as arrow_parquet

from service.analyses.judge import JudgedAnalysis
from service.analyses.verdicts import VerdictFilter, iterate_verdicts, select_rows, verdict_table
from service.domain import Verdict

LINES_PER_PIECE = 4096
_FORMULA = r"^[=+\-@\t\r\n]"  # the first character of a cell that a spreadsheet evaluates


def write_jsonl(judged: JudgedAnalysis, to_json: Callable[[Verdict], str]) -> Iterator[bytes]:
    """Yield one line of JSON per verdict."""
    rows = select_rows(judged, VerdictFilter())
    for start in range(0, len(rows), LINES_PER_PIECE):
        verdicts = iterate_verdicts(judged, rows[start : start + LINES_PER_PIECE])
        yield "".join(to_json(verdict) + "\n" for verdict in verdicts).encode()


def write_csv(judged: JudgedAnalysis) -> Iterator[bytes]:
    """Yield the verdicts as CSV with a header; an apostrophe precedes text that a spreadsheet would evaluate."""
    content = io.BytesIO()
    arrow_csv.write_csv(escape_formulas(verdict_table(judged)), content)
    yield content.getvalue()


def escape_formulas(verdicts: pa.Table) -> pa.Table:
    """Return the table with an apostrophe before text that a spreadsheet would evaluate as a formula.

    File names come from the authors of a data set. Numbers do not change.
    Source: https://owasp.org/www-community/attacks/CSV_Injection
    """
    for index, field in enumerate(verdicts.schema):
        if pa.types.is_string(field.type):
            cells = verdicts.column(index)
            quoted = pc.binary_join_element_wise("'", cells, "")
            verdicts = verdicts.set_column(
                index, field, pc.if_else(pc.match_substring_regex(cells, _FORMULA), quoted, cells)
            )
    return verdicts


def write_parquet(judged: JudgedAnalysis) -> Iterator[bytes]:
    """Yield the verdicts as Parquet."""
    content = io.BytesIO()
    arrow_parquet.write_table(verdict_table(judged), content, compression="zstd")
    yield content.getvalue()
