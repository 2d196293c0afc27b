"""The class names of a JSON document, which its rows refer to by position or ID."""

from typing import Any

from errata.errors import InvalidUpload
from errata.texts import surrogate_problem

from service.domain.label_space import MAX_CLASSES
from service.predictions.uploads.json_reader import JsonReader

CLASS_NAMES = ("classes", "class_names", "categories")  # keys of a document


def read_class_names(reader: JsonReader, key: str) -> dict[str, str]:
    """Return the names by their positions or IDs.

    Args:
        reader: Reader of the document, positioned before the value.
        key: Key of the value. The value is a list of names, a list of objects with a name and perhaps an ID (as in
            COCO), or a mapping of positions or IDs to names.

    Raises:
        InvalidUpload: The value has another form, has a position or an ID twice, has too many names, or has a name that
            is not valid Unicode.
    """
    names: dict[str, str] = {}
    for position, number in enumerate(reader.iterate()):
        if position >= MAX_CLASSES:
            raise InvalidUpload(
                f"The file lists more than {MAX_CLASSES:,} class names. Write the classes of the data set.",
                field="predicted_class",
            )
        value = reader.read_value()
        index, name = position if number is None else number, value
        if number is None and isinstance(value, dict):
            index, name = value.get("id", position), value.get("name")
        if not (_is_index(index) and isinstance(name, str | int) and not isinstance(name, bool)):
            shown = value if number is None else {number: value}
            raise _invalid(key, f"has {shown!r:.60}, which is not a class name")
        if str(index) in names:
            raise _invalid(key, f"has the class {index!s:.20} twice")
        if problem := surrogate_problem(str(name)):
            raise InvalidUpload(f"The list of class names {key!r:.40} is invalid. {problem}", field="predicted_class")
        names[str(index)] = str(name)
    return names


def _is_index(index: Any) -> bool:
    return str(index).isdecimal() and not isinstance(index, bool)


def _invalid(key: str, problem: str) -> InvalidUpload:
    return InvalidUpload(
        f'The list of class names {key!r:.40} {problem}. Write names, such as ["tench", "goldfish"], objects such as '
        '{"id": 0, "name": "tench"}, or a mapping such as {"0": "tench"}.',
        field="predicted_class",
    )
