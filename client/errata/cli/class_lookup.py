"""Lookup of classes without a service: the same matching as that of requests to a service."""

from collections.abc import Callable, Sequence

from errata import v1 as pb


def match_class(classes: Sequence[pb.Class], text: str) -> list[int]:
    """Return the indices of the classes that a text can mean, ascending; one if it identifies a class.

    The ID counts first, then a name or synonym, then the index. A number that is the ID or name of one class and the
    index of another means both.
    """
    text = text.strip()
    matching: set[int] = set()
    for form in (str, normalize):
        matching = matching or _matching(classes, form, text)
    if text.isascii() and text.isdigit() and len(text) < 10:
        matching.update(item.class_index for item in classes if item.class_index == int(text))
    return sorted(matching)


def normalize(name: str) -> str:
    """Return a name in the form in which names are compared: lower case, with spaces."""
    return name.strip().replace("_", " ").lower()


def _matching(classes: Sequence[pb.Class], form: Callable[[str], str], text: str) -> set[int]:
    key = form(text)
    by_id = {item.class_index for item in classes if form(item.class_id) == key}
    return by_id or {item.class_index for item in classes if key in map(form, (item.display_name, *item.synonyms))}
