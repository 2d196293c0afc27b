"""Propose superclasses from WordNet: the most general hypernyms of a limited number of classes.

A class has the synset of its ID, else the first sense of its name or a synonym that can be seen: an animal, a plant, a
person, an artifact, food, or another object. The first sense is the most frequent one, so some names get the wrong one.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from service.domain import LabelSpace
from service.taxonomy.wordnet import Taxonomy

MIN_DEPTH = 5  # hypernyms nearer to the root, such as artifact and whole, say nothing about the look of an object
VISIBLE = frozenset(f"noun.{kind}" for kind in ("animal", "artifact", "body", "food", "object", "person", "plant"))
FindSense = Callable[[str], int | None]  # offset of the synset of a name, which has WordNet's underscores


def find_synsets(label_space: LabelSpace, find_sense: FindSense) -> list[int | None]:
    """Return the synset of each class: that of its ID, else that of its name, of a synonym, or of its last word."""
    return [
        int(synset[1:]) if synset else _find_synset([name, *synonyms], find_sense)
        for name, synonyms, synset in zip(label_space.names, label_space.synonyms, label_space.synsets, strict=True)
    ]


def find_visible_sense(wordnet: Any, name: str) -> int | None:
    """Return the first visible sense of a name, according to NLTK's reader."""
    offsets = (synset.offset() for synset in wordnet.synsets(name, pos="n") if synset.lexname() in VISIBLE)
    return next(offsets, None)


def sense_of_package(taxonomy: Taxonomy) -> FindSense:
    """Return a search among the classes of ImageNet-1k and their hypernyms; a name of several synsets has no sense."""
    synsets: dict[str, set[int]] = {}
    for synset, lemmas in taxonomy.lemmas.items():
        if taxonomy.hypernyms[synset]:
            for lemma in lemmas:
                synsets.setdefault(lemma.lower(), set()).add(synset)
    only = {lemma: min(senses) for lemma, senses in synsets.items() if len(senses) == 1}
    return lambda name: only.get(name.lower())


def common_hypernyms(
    taxonomy: Taxonomy, synsets: Sequence[int | None], max_size: int
) -> list[tuple[str, tuple[int, ...]]]:
    """Return the name and the classes of each proposed superclass.

    A hypernym is proposed if 2 to `max_size` classes are below it, and no hypernym of it is proposed.

    Args:
        taxonomy: The part of WordNet around the synsets.
        synsets: (C,) synset of each class; None: the class gets no superclass.
        max_size: The largest number of classes in a superclass.
    """
    classes: dict[int, list[int]] = {}
    for class_index, synset in enumerate(synsets):
        for ancestor in taxonomy.ancestry(synset) if synset is not None else ():
            classes.setdefault(ancestor, []).append(class_index)

    @cache
    def depth(synset: int) -> int:
        parents = taxonomy.hypernyms[synset]
        return 1 + min(map(depth, parents)) if parents else 0

    suitable = {
        synset for synset, below in classes.items() if 2 <= len(below) <= max_size and depth(synset) >= MIN_DEPTH
    }
    chosen = sorted(synset for synset in suitable if not suitable & (taxonomy.ancestry(synset) - {synset}))
    names = Counter(taxonomy.lemmas[synset][0] for synset in chosen)
    result = []
    for synset in chosen:
        lemma = taxonomy.lemmas[synset][0]
        name = lemma.replace("_", " ") + (f" (n{synset:08d})" if names[lemma] > 1 else "")
        result.append((name, tuple(classes[synset])))
    return result


def _find_synset(names: Sequence[str], find_sense: FindSense) -> int | None:
    for name in (*names, names[0].split()[-1]):
        synset = find_sense(name.strip().replace(" ", "_"))
        if synset is not None:
            return synset
    return None
