"""Labels of a user's own images: CSV `file_name,labels` or JSON {file_name: [labels]}; the first label is the target.

A label is a class index or a WordNet id; in the CSV several are separated by spaces.
"""

import csv
import io
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from errata.errors import InvalidEvidence, Violation
from errata.json_input import parse_json

from service.taxonomy.classes import parse_class

SHOWN = 10  # violations that an error lists
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")  # numpy cuts a name off at a NUL, and no tool shows the others


def read_own_labels(path: Path) -> Mapping[str, list[int]]:
    """Return the labels of each image, distinct, in order; raise InvalidEvidence with the lines that are wrong."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidEvidence(f"{path.name}: expected a file of labels, got {error}", field="labels") from error
    rows = _from_json(text, path.name) if text.lstrip().startswith("{") else _from_csv(text, path.name)
    result: dict[str, list[int]] = {}
    wrong: list[Violation] = []
    for name, labels, line in rows:
        classes = [parse_class(label) for label in labels]
        bad = [label for label, known in zip(labels, classes, strict=True) if known is None]
        if not _is_name(name):
            wrong.append(Violation("file_name", f"expected a file name, got {name!r:.60}", line))
        elif control := _CONTROL.search(name):
            what = f"control character U+{ord(control[0]):04X} in the file name {name!r:.60}; remove it"
            wrong.append(Violation("file_name", what, line))
        elif name in result:
            wrong.append(Violation("file_name", f"expected one row an image, got another for {name!r:.60}", line))
        elif bad or not labels:
            what = (
                f"expected class indices 0..999 or WordNet ids, got {bad[0]!r:.40}"
                if bad
                else "expected a label, got none"
            )
            wrong.append(Violation("labels", what, line))
        else:
            result[name] = list(dict.fromkeys(class_ for class_ in classes if class_ is not None))
    if wrong:
        where = "" if wrong[0].line is None else f", line {wrong[0].line}"
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise InvalidEvidence(f"{path.name}{where}: {wrong[0].description}{more}", violations=wrong[:SHOWN])
    if not result:
        raise InvalidEvidence(f"{path.name}: expected at least one image, got none", field="labels")
    return result


def _is_name(name: str) -> bool:
    """Say whether a text can name a file: something, and valid Unicode (JSON can spell what isn't)."""
    try:
        return bool(name.encode())
    except UnicodeEncodeError:
        return False


def _from_csv(text: str, source: str) -> Iterable[tuple[str, list[str], int | None]]:
    reader = csv.DictReader(io.StringIO(text))
    try:
        if not {"file_name", "labels"} <= set(reader.fieldnames or ()):
            raise InvalidEvidence(f"{source}, line 1: expected the header file_name,labels, got {text[:60]!r}", line=1)
        for row in reader:
            if None in row:
                raise InvalidEvidence(
                    f"{source}, line {reader.line_num}: expected {len(reader.fieldnames or ())} columns, got more: "
                    "several labels are separated by spaces",
                    field="labels",
                    line=reader.line_num,
                )
            yield row["file_name"] or "", (row["labels"] or "").split(), reader.line_num
    except csv.Error as error:
        raise InvalidEvidence(
            f"{source}, line {reader.line_num + 1}: expected CSV, got {error}", line=reader.line_num + 1
        ) from error


def _from_json(text: str, source: str) -> Iterable[tuple[str, list[str], int | None]]:
    try:
        raw = parse_json(text)
    except ValueError as error:
        raise InvalidEvidence(
            f"{source}: expected JSON {{file_name: [labels]}}, got {error}", field="labels"
        ) from error
    for name, labels in raw.items():
        if not isinstance(labels, list) or not all(
            isinstance(label, int | str) and label is not True for label in labels
        ):
            raise InvalidEvidence(
                f"{source}, {name!r:.60}: expected a list of labels, got {labels!r:.60}", field="labels"
            )
        yield name, [str(label) for label in labels], None
