"""Names of the 1000 classes, and lookup by index, WordNet ID, or unique lemma."""

import difflib
from functools import cache

from service.domain import NUM_CLASSES
from service.taxonomy.wordnet import load_taxonomy


@cache
def class_names() -> tuple[str, ...]:
    """Return the display name of each class: the first lemma of its synset, with spaces."""
    taxonomy = load_taxonomy()
    return tuple(taxonomy.lemmas[synset][0].replace("_", " ") for synset in taxonomy.classes)


@cache
def class_by_name() -> dict[str, int]:
    """Return the class of each unambiguous name: WordNet IDs, lemmas, and all lemmas joined by commas."""
    return {name: indices[0] for name, indices in _indices_by_name().items() if len(indices) == 1}


def classes_named(text: str) -> tuple[int, ...]:
    """Return all classes that have a name, in ascending order."""
    return tuple(_indices_by_name().get(normalize(text), ()))


@cache
def _indices_by_name() -> dict[str, list[int]]:
    taxonomy = load_taxonomy()
    indices: dict[str, list[int]] = {}
    for index, synset in enumerate(taxonomy.classes):
        lemmas = [normalize(lemma) for lemma in taxonomy.lemmas[synset]]
        for name in {taxonomy.wordnet_id(index), *lemmas, ", ".join(lemmas)}:
            indices.setdefault(name, []).append(index)
    return indices


def normalize(name: str) -> str:
    """Return a name in the form that `class_by_name` uses: lower case, with spaces."""
    return name.strip().replace("_", " ").lower()


def parse_class(text: str) -> int | None:
    """Return the class that a text names by index, WordNet ID, or unique name; None if there is no such class."""
    text = text.strip()
    if text.isascii() and text.isdigit() and len(text) < 10:
        return int(text) if int(text) < NUM_CLASSES else None
    return class_by_name().get(normalize(text))


def similar_names(text: str, count: int = 3) -> list[str]:
    """Return up to `count` names of classes that are similar to a text, the most similar first."""
    by_key = {normalize(name): name for name in class_names()}
    return [by_key[key] for key in difflib.get_close_matches(normalize(text)[:80], by_key, n=count)]
