"""Labels of a custom data set: CSV `file_name,labels` or JSON {file_name: [labels]}. The first label is the target.

A label is a class index or a WordNet ID. In CSV files, labels are separated by spaces.
"""

import csv
import io
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from errata.errors import InvalidEvidence, Violation
from errata.json_input import parse_json

from service.taxonomy.classes import parse_class

MAX_VIOLATIONS = 10  # per error
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")  # numpy truncates names at NUL, and tools do not show the others


def read_custom_labels(path: Path) -> Mapping[str, list[int]]:
    """Read a file of labels.

    Returns:
        The distinct labels of each image, in the order of the file.

    Raises:
        InvalidEvidence: If the file cannot be read or rows are invalid; `violations` has the lines.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidEvidence(f"{path.name}: cannot read the file of labels: {error}.", field="labels") from error
    rows = _from_json(text, path.name) if text.lstrip().startswith("{") else _from_csv(text, path.name)
    labels_of_image: dict[str, list[int]] = {}
    violations: list[Violation] = []
    for name, labels, line in rows:
        classes = [parse_class(label) for label in labels]
        unknown = [label for label, class_ in zip(labels, classes, strict=True) if class_ is None]
        if not _is_file_name(name):
            violations.append(Violation("file_name", f"invalid file name {name!r:.60}; use the name of an image", line))
        elif control := _CONTROL.search(name):
            problem = f"control character U+{ord(control[0]):04X} in the file name {name!r:.60}; remove it"
            violations.append(Violation("file_name", problem, line))
        elif name in labels_of_image:
            violations.append(Violation("file_name", f"duplicate image {name!r:.60}; write one row per image", line))
        elif unknown or not labels:
            problem = (
                f"unknown class {unknown[0]!r:.40}; use an index from 0 to 999, or a WordNet ID"
                if unknown
                else "no label; write at least one"
            )
            violations.append(Violation("labels", problem, line))
        else:
            labels_of_image[name] = list(dict.fromkeys(class_ for class_ in classes if class_ is not None))
    if violations:
        where = "" if violations[0].line is None else f", line {violations[0].line}"
        more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
        raise InvalidEvidence(
            f"{path.name}{where}: {violations[0].description}{more}.", violations=violations[:MAX_VIOLATIONS]
        )
    if not labels_of_image:
        raise InvalidEvidence(f"{path.name} has no images. Write one row per image.", field="labels")
    return labels_of_image


def _is_file_name(name: str) -> bool:
    """Return whether a text can name a file: it is not empty and valid Unicode (JSON permits lone surrogates)."""
    try:
        return bool(name.encode())
    except UnicodeEncodeError:
        return False


def _from_csv(text: str, source: str) -> Iterable[tuple[str, list[str], int | None]]:
    reader = csv.DictReader(io.StringIO(text))
    try:
        if not {"file_name", "labels"} <= set(reader.fieldnames or ()):
            raise InvalidEvidence(f"{source}, line 1: invalid header {text[:60]!r}. Use file_name,labels.", line=1)
        for row in reader:
            if None in row:
                raise InvalidEvidence(
                    f"{source}, line {reader.line_num}: more than {len(reader.fieldnames or ())} columns. "
                    "Separate labels by spaces.",
                    field="labels",
                    line=reader.line_num,
                )
            yield row["file_name"] or "", (row["labels"] or "").split(), reader.line_num
    except csv.Error as error:
        raise InvalidEvidence(
            f"{source}, line {reader.line_num + 1}: not valid CSV: {error}. Write the file again.",
            line=reader.line_num + 1,
        ) from error


def _from_json(text: str, source: str) -> Iterable[tuple[str, list[str], int | None]]:
    try:
        raw = parse_json(text)
    except ValueError as error:
        raise InvalidEvidence(
            f"{source}: not valid JSON: {error}. Write an object {{file_name: [labels]}}.", field="labels"
        ) from error
    for name, labels in raw.items():
        if not isinstance(labels, list) or not all(
            isinstance(label, int | str) and label is not True for label in labels
        ):
            raise InvalidEvidence(
                f"{source}, {name!r:.60}: {labels!r:.60} is not a list. Write a list of labels.", field="labels"
            )
        yield name, [str(label) for label in labels], None
