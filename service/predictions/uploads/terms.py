"""The words that error messages use for the parts of each upload format, and for sizes."""

from dataclasses import dataclass


@dataclass(frozen=True)
class FormatTerms:
    """The names that one format uses for its parts."""

    label: str  # name of the format
    field: str  # a named value of a row: "column" or "key"
    row: str  # unit that `Violation.line` counts: "line" or "row"
    header: str = ""  # location of the names of the fields; empty: the format has no file names


CSV_TERMS = FormatTerms("CSV", "column", "line", "Line 1")
JSONL_TERMS = FormatTerms("JSONL", "key", "line", "The first object")
JSON_TERMS = FormatTerms("JSON", "key", "entry", "The first object")
PARQUET_TERMS = FormatTerms("Parquet", "column", "row", "The file")
NPZ_TERMS = FormatTerms("npz", "array", "row")
NPY_TERMS = FormatTerms("npy", "array", "row")


def format_size(size: int) -> str:
    """Return a number of bytes as text: in megabytes from 1 MB on."""
    return f"{size:,} bytes" if size < 1_000_000 else f"{size / 1e6:,.1f} MB"
