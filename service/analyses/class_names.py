"""Find the class that a text of a request identifies."""

from errata.errors import InvalidRequest

from service.domain import LabelSpace


def class_named(text: str, field: str, label_space: LabelSpace, has_hint: bool = True) -> int:
    """Return the class that a text identifies: an ID, a unique name or synonym, or an index.

    Raises:
        InvalidRequest: No class, or more than one, has this name. The message lists the IDs and the indices of the
            classes, or similar names.
    """
    classes = label_space.match(text)
    if len(classes) == 1:
        return classes[0]
    if classes:
        raise InvalidRequest(
            f"{len(classes)} classes match {text!r:.80}: {label_space.describe(classes)}. Use an ID, a name, or an "
            "index that matches only one of them.",
            field=field,
        )
    near = [f"{name:.80}" for name in label_space.similar_names(text)] if has_hint else []
    hint = f" Similar names: {', '.join(near)}." if near else ""
    raise InvalidRequest(
        f"Unknown class {text!r:.80}. Expected the ID of a class, a name that only one class has, or an index from 0 "
        f"to {label_space.num_classes - 1}.{hint}",
        field=field,
    )


def identify_class(text: str, label_space: LabelSpace) -> int | None:
    """Return the class whose ID is the text, or else the class with this name, synonym, or index; None if unclear.

    Pages, their URLs, and exported reviews contain IDs. IDs take precedence, because an ID can equal the index or the
    name of another class.
    """
    index = label_space.find_id(text)
    return label_space.parse(text) if index is None else index


def find_class(text: str, field: str, label_space: LabelSpace, has_hint: bool = True) -> int:
    """Return the class that `identify_class` returns; if it is unclear, raise the error of `class_named`."""
    index = identify_class(text, label_space)
    return class_named(text, field, label_space, has_hint) if index is None else index
