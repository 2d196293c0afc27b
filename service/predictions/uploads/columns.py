"""Which column of a table is which: the names that uploads use, and a clear error for those that they don't."""

from collections.abc import Sequence
from dataclasses import dataclass

from errata.errors import InvalidUpload

FILE_NAME = ("file_name",)
CLASS = ("predicted_class", "top1", "prediction")
PROBABILITY = ("predicted_probability", "probability")
EXPECTED = "file_name,predicted_class[,predicted_probability]"


@dataclass(frozen=True)
class Columns:
    """The columns that count; others may be there and are ignored."""

    file_name: str
    predicted: str
    probability: str | None

    @property
    def names(self) -> list[str]:
        """Return the names of the columns to read."""
        return [self.file_name, self.predicted, *([self.probability] if self.probability else [])]


def find_columns(header: Sequence[str], line: int | None = 1) -> Columns:
    """Return the columns of a header; raise InvalidUpload if one that is needed is missing or stands twice."""
    shown = ",".join(header)[:120]
    if len(header) == 1:
        for delimiter, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars"), (" ", "spaces")):
            if delimiter in header[0]:
                raise InvalidUpload(
                    f"expected commas between columns, got {name}: {shown!r}", field="header", line=line
                )
    result: list[str | None] = []
    for names in (FILE_NAME, CLASS, PROBABILITY):
        present = [name for name in header if name in names]
        if len(present) > 1:
            raise InvalidUpload(
                f"expected one of the columns {'/'.join(names)}, got {present}", field="header", line=line
            )
        if not present and names is not PROBABILITY:
            raise InvalidUpload(f"expected the header {EXPECTED}, got {shown!r}", field="header", line=line)
        result.append(present[0] if present else None)
    file_name, predicted, probability = result
    assert file_name and predicted, "this is a bug: a needed column was not found and not refused"
    return Columns(file_name, predicted, probability)
