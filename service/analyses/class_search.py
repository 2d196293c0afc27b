"""Search the classes of a label space by a part of an ID, name, or synonym."""

from itertools import islice

from service.domain import LabelSpace, normalize


def search_classes(label_space: LabelSpace, text: str, limit: int) -> list[int]:
    """Return the classes whose ID, name, or a synonym contains a text, without regard to case.

    Args:
        label_space: The classes.
        text: The text; empty: no class matches.
        limit: Maximum number of classes.

    Returns:
        The classes that the text identifies, and then the other matching classes in the order of their indices.
    """
    wanted = normalize(text)
    if not wanted:
        return []
    exact = label_space.match(text)
    texts = zip(label_space.ids, label_space.names, label_space.synonyms, strict=True)
    matching = (
        index
        for index, (class_id, name, synonyms) in enumerate(texts)
        if index not in exact and any(wanted in normalize(candidate) for candidate in (class_id, name, *synonyms))
    )
    return [*islice([*exact], limit), *islice(matching, max(0, limit - len(exact)))]
