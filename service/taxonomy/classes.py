"""Names of the 1000 classes, and lookup by index, WordNet ID, or unique lemma."""

from service.taxonomy.imagenet_1k import imagenet_1k


def class_names() -> tuple[str, ...]:
    """Return the display name of each class: the first lemma of its synset, with spaces."""
    return imagenet_1k().names


def classes_named(text: str) -> tuple[int, ...]:
    """Return all classes that have a name, in ascending order."""
    return imagenet_1k().match(text)


def parse_class(text: str) -> int | None:
    """Return the class that a text names by index, WordNet ID, or unique name; None if there is no such class."""
    return imagenet_1k().parse(text)


def similar_names(text: str, count: int = 3) -> list[str]:
    """Return up to `count` names of classes that are similar to a text, the most similar first."""
    return imagenet_1k().similar_names(text, count)
