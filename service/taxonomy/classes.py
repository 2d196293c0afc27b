"""Names of the 1000 classes: by index, WordNet id, or any lemma that no other class has."""

import difflib
from functools import cache

from service.domain import NUM_CLASSES
from service.taxonomy.wordnet import load_taxonomy


@cache
def class_names() -> tuple[str, ...]:
    """Return what people call each class: the first lemma of its synset, with spaces."""
    taxonomy = load_taxonomy()
    return tuple(taxonomy.lemmas[synset][0].replace("_", " ") for synset in taxonomy.classes)


@cache
def class_by_name() -> dict[str, int]:
    """Return every name that means one class alone: WordNet ids, lemmas, and all lemmas joined by commas."""
    taxonomy = load_taxonomy()
    result: dict[str, int] = {}
    shared: set[str] = set()
    for index, synset in enumerate(taxonomy.classes):
        lemmas = [normalize(lemma) for lemma in taxonomy.lemmas[synset]]
        for name in {taxonomy.wordnet_id(index), *lemmas, ", ".join(lemmas)}:
            if name in result:
                shared.add(name)
            result[name] = index
    return {name: index for name, index in result.items() if name not in shared}


def normalize(name: str) -> str:
    """Return a name as the table of names holds it."""
    return name.strip().replace("_", " ").lower()


def parse_class(text: str) -> int | None:
    """Return the class that the text means: an index, a WordNet id or a unique name; None if it means none."""
    text = text.strip()
    if text.isascii() and text.isdigit() and len(text) < 10:
        return int(text) if int(text) < NUM_CLASSES else None
    return class_by_name().get(normalize(text))


def similar_names(text: str, count: int = 3) -> list[str]:
    """Return up to `count` names of classes that are similar to a text, the most similar first."""
    by_key = {normalize(name): name for name in class_names()}
    return [by_key[key] for key in difflib.get_close_matches(normalize(text)[:80], by_key, n=count)]
