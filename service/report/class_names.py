"""Names of classes on pages."""

from collections import Counter
from functools import lru_cache

from service.domain import LabelSpace

MAX_NAME = 60  # characters of a name
MAX_ID = 40  # characters of an ID beside a name


@lru_cache(maxsize=32)
def display_names(label_space: LabelSpace) -> tuple[str, ...]:
    """Return the names of the C classes as pages show them, (C,).

    A long name is shortened. If two names differ at most in case, the ID of the class follows each name; the index of
    the class follows instead if the ID equals the name or is too long.
    """
    names = [shorten(name) for name in label_space.names]
    counts = Counter(map(str.casefold, names))
    return tuple(
        f"{name} ({_identifier(label_space, index)})" if counts[name.casefold()] > 1 else name
        for index, name in enumerate(names)
    )


def shorten(name: str) -> str:
    """Return a name with at most MAX_NAME characters; an ellipsis replaces the rest."""
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 1]}…"


def _identifier(label_space: LabelSpace, index: int) -> str:
    class_id = label_space.ids[index]
    return f"class {index}" if class_id == label_space.names[index] or len(class_id) > MAX_ID else class_id
