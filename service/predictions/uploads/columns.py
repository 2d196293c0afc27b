"""The names of the columns (CSV, Parquet) and keys (JSONL) that uploads use."""

from collections.abc import Sequence
from dataclasses import dataclass

from errata.errors import InvalidUpload

from service.predictions.uploads.terms import CSV_TERMS, JSONL_TERMS, FormatTerms

FILE_NAME = ("file_name",)
CLASS = ("predicted_class", "top1", "prediction")
ANSWER = "answer"  # answers in words, in CSV and JSONL files without classes
PROBABILITY = ("predicted_probability", "probability")
CONTENTS = {FILE_NAME: "file names", CLASS: "predicted classes", PROBABILITY: "probabilities"}
EXPECTED_HEADER = "file_name,predicted_class[,predicted_probability]"
DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "bars", " ": "spaces"}
MAX_SHOWN = 120  # characters of the header in a message


@dataclass(frozen=True)
class Columns:
    """The columns that Errata reads. A file may have others."""

    file_name: str
    predicted: str
    probability: str | None
    are_answers: bool = False  # whether `predicted` has answers in words

    @property
    def names(self) -> list[str]:
        """Return the names of the columns to read."""
        return [self.file_name, self.predicted, *([self.probability] if self.probability else [])]


def find_columns(names: Sequence[str], terms: FormatTerms, line: int | None = None) -> Columns:
    """Return the columns that Errata reads.

    Args:
        names: All column names of a table, or all keys of an object.
        terms: Terms of the format, for messages.
        line: Line of the names, 1-based.

    Raises:
        InvalidUpload: A required column is missing, or a column occurs twice.
    """
    if terms is CSV_TERMS:
        _check_delimiter(names, line)
    file_name, predicted, probability = (
        _find_column(names, aliases, terms, line) for aliases in (FILE_NAME, CLASS, PROBABILITY)
    )
    if file_name is None:
        raise _missing_column(names, FILE_NAME, terms, line)
    if predicted is None and ANSWER in names and terms in (CSV_TERMS, JSONL_TERMS):
        return Columns(file_name, ANSWER, probability, are_answers=True)
    if predicted is None:
        raise _missing_column(names, CLASS, terms, line)
    return Columns(file_name, predicted, probability)


def _check_delimiter(names: Sequence[str], line: int | None) -> None:
    for delimiter, description in DELIMITERS.items():
        if len(names) == 1 and delimiter in names[0]:
            raise InvalidUpload(
                f"The columns are separated by {description}: {names[0][:MAX_SHOWN]!r}. Separate them with commas.",
                field="header",
                line=line,
            )


def _find_column(names: Sequence[str], aliases: tuple[str, ...], terms: FormatTerms, line: int | None) -> str | None:
    present = [name for name in names if name in aliases]
    if len(present) > 1:
        raise InvalidUpload(
            f"More than one {terms.field} with {CONTENTS[aliases]}: {_quote(present)}. Keep one of them.",
            field="header",
            line=line,
        )
    return present[0] if present else None


def _missing_column(
    names: Sequence[str], aliases: tuple[str, ...], terms: FormatTerms, line: int | None
) -> InvalidUpload:
    also = f" (aliases: {', '.join(aliases[1:])})" if len(aliases) > 1 else ""
    remedy = f"Rename the {terms.field} that contains the {CONTENTS[aliases]}."
    if terms is CSV_TERMS:
        remedy = f"Start the file with the header {EXPECTED_HEADER}."
    return InvalidUpload(
        f"Missing {terms.field} '{aliases[0]}'{also}. {terms.header} has {_quote(names)}. {remedy}",
        field="header",
        line=line,
    )


def _quote(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names[:MAX_SHOWN])[:MAX_SHOWN] or "none"
