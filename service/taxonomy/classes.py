"""Names of the 1000 classes, and lookup by index, WordNet id, or unique lemma."""

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
    """Return the class of each unambiguous name: WordNet ids, lemmas, and all lemmas joined by commas."""
    taxonomy = load_taxonomy()
    classes: dict[str, int] = {}
    ambiguous: set[str] = set()
    for index, synset in enumerate(taxonomy.classes):
        lemmas = [normalize(lemma) for lemma in taxonomy.lemmas[synset]]
        for name in {taxonomy.wordnet_id(index), *lemmas, ", ".join(lemmas)}:
            if name in classes:
                ambiguous.add(name)
            classes[name] = index
    return {name: index for name, index in classes.items() if name not in ambiguous}


def normalize(name: str) -> str:
    """Return a name in the form that `class_by_name` uses: lower case, with spaces."""
    return name.strip().replace("_", " ").lower()


def parse_class(text: str) -> int | None:
    """Return the class that a text names by index, WordNet id, or unique name; None if there is no such class."""
    text = text.strip()
    if text.isascii() and text.isdigit() and len(text) < 10:
        return int(text) if int(text) < NUM_CLASSES else None
    return class_by_name().get(normalize(text))


def similar_names(text: str, count: int = 3) -> list[str]:
    """Return up to `count` names of classes that are similar to a text, the most similar first."""
    by_key = {normalize(name): name for name in class_names()}
    return [by_key[key] for key in difflib.get_close_matches(normalize(text)[:80], by_key, n=count)]
