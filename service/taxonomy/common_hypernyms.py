"""Propose superclasses from WordNet: the most general hypernyms that have at most a given number of classes.

The synset of a class is that of its ID. If the ID has no synset, the class gets the first visible sense of its name or
of a synonym: an animal, a plant, a person, an artifact, food, a body part, or another object. WordNet lists the most
frequent sense first, so some names get a wrong sense.
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
    """Return the synset of each class: from its ID, else its name, a synonym, or the last word of its name."""
    return [
        int(synset[1:]) if synset else _find_synset([name, *synonyms], find_sense)
        for name, synonyms, synset in zip(label_space.names, label_space.synonyms, label_space.synsets, strict=True)
    ]


def find_visible_sense(wordnet: Any, name: str) -> int | None:
    """Return the first visible sense of a name, from NLTK's reader of WordNet; None if there is none."""
    offsets = (synset.offset() for synset in wordnet.synsets(name, pos="n") if synset.lexname() in VISIBLE)
    return next(offsets, None)


def sense_of_package(taxonomy: Taxonomy) -> FindSense:
    """Return a function that finds senses among the classes of ImageNet-1k and their hypernyms.

    The function returns None for an unknown name and for a name that several synsets have.
    """
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

    A hypernym is suitable if it has 2 to `max_size` classes below it and is at least MIN_DEPTH deep. It is proposed if
    none of its own hypernyms is suitable.

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
