"""Lookup of classes without a service, by the same rules as in requests to a service."""

import unicodedata
from collections.abc import Sequence

from errata import v1 as pb


def match_class(classes: Sequence[pb.Class], text: str) -> list[int]:
    """Return the indices of the classes that a text can mean, ascending: one index if the text is unambiguous.

    A class matches by its exact ID. If no ID matches exactly, classes match by ID, name, or synonym in any case. A
    number also matches by index: if it is the ID or name of one class and the index of another, both match.
    """
    text = text.strip()
    key = normalize(text)
    matching = {item.class_index for item in classes if item.class_id == text} or {
        item.class_index
        for item in classes
        if key in map(normalize, (item.class_id, item.display_name, *item.synonyms))
    }
    if text.isascii() and text.isdigit() and len(text) < 10:
        matching.update(item.class_index for item in classes if item.class_index == int(text))
    return sorted(matching)


def normalize(name: str) -> str:
    """Return a name in the form for comparisons: in lower case, with spaces for underscores, in Unicode form NFC."""
    return unicodedata.normalize("NFC", name.strip().replace("_", " ").lower())
