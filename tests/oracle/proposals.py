"""Proposals, texts, and best proposal of rule 5. Slow by intention, and written from the specification only."""

from collections.abc import Callable
from dataclasses import dataclass

from oracle.superclasses import share_superclass

META_LABELS = {
    "device",
    "dog",
    "commodity",
    "bird",
    "structure",
    "covering",
    "wheeled_vehicle",
    "food",
    "equipment",
    "insect",
    "vehicle",
    "furniture",
    "primate",
    "vessel",
    "snake",
    "natural_object",
    "organism",
    "geological_formation",
    "clothing",
    "container",
}

PROMPT = "A photo of a {}"


@dataclass(frozen=True)
class Taxonomy:
    """WordNet as plain dicts. A synset is an offset, which is unique among nouns.

    The dicts of hypernyms and hyponyms may omit synsets without any.
    """

    lemmas: dict[int, list[str]]  # synset -> lemma names, in WordNet's order
    hypernyms: dict[int, list[int]]  # synset -> direct hypernyms
    hyponyms: dict[int, list[int]]  # synset -> direct hyponyms
    synset_of_class: dict[int, int]  # class index -> synset


def blocked(taxonomy: Taxonomy, target: int) -> set[int]:
    """Return the target's synset and all of its direct and indirect hypernyms."""
    result: set[int] = set()
    waiting = [taxonomy.synset_of_class[target]]
    while waiting:
        synset = waiting.pop()
        if synset not in result:
            result.add(synset)
            waiting.extend(taxonomy.hypernyms.get(synset, []))
    return result


def hypernym_paths(taxonomy: Taxonomy, synset: int) -> list[tuple[int, ...]]:
    """Return every path from a root to the synset, inclusive.

    Paths are sorted as tuples of offsets, root first.
    """
    parents = set(taxonomy.hypernyms.get(synset, []))
    if not parents:
        return [(synset,)]
    paths: list[tuple[int, ...]] = []
    for parent in parents:
        for path in hypernym_paths(taxonomy, parent):
            paths.append((*path, synset))
    return sorted(paths)


def is_meta(taxonomy: Taxonomy, synset: int) -> bool:
    """Return whether a lemma name of the synset equals a meta label."""
    return any(lemma in META_LABELS for lemma in taxonomy.lemmas[synset])


def proposals(taxonomy: Taxonomy, superclasses: list[set[int]], target: int, predicted: int) -> list[int]:
    """Return the proposed synsets in the order of the specification, without repetitions."""
    excluded = blocked(taxonomy, target)
    own = taxonomy.synset_of_class[predicted]
    candidates: list[int] = []

    # p
    candidates.append(own)

    # every class sharing a superclass with p, in ascending class index (blocked or not)
    for other in sorted(taxonomy.synset_of_class):
        if share_superclass(other, predicted, superclasses):
            candidates.append(taxonomy.synset_of_class[other])

    # the direct siblings of p that are not blocked: all of them together, in ascending order of offset
    siblings: set[int] = set()
    for parent in taxonomy.hypernyms.get(own, []):
        siblings.update(taxonomy.hyponyms.get(parent, []))
    for sibling in sorted(siblings):
        if sibling not in excluded:
            candidates.append(sibling)

    # on each hypernym path from the root down, what is not blocked once the path has met a meta label
    # (that synset included; a blocked synset is not proposed, but its meta label has been met)
    for path in hypernym_paths(taxonomy, own):
        seen_meta = False
        for synset in path:
            if is_meta(taxonomy, synset):
                seen_meta = True
            if seen_meta and synset not in excluded:
                candidates.append(synset)

    first_occurrences: list[int] = []
    for synset in candidates:
        if synset not in first_occurrences:
            first_occurrences.append(synset)
    return first_occurrences


def texts(taxonomy: Taxonomy, proposals: list[int]) -> list[tuple[int, str]]:
    """Return (synset, text) for every lemma name of every proposal. Two synsets can have the same text."""
    result: list[tuple[int, str]] = []
    for synset in proposals:
        for lemma in taxonomy.lemmas[synset]:
            result.append((synset, PROMPT.format(lemma.lower().replace("_", " "))))
    return result


def best(taxonomy: Taxonomy, proposals: list[int], score: Callable[[str], float]) -> int:
    """Return the first synset whose text has the highest score."""
    candidates = texts(taxonomy, proposals)
    winner, winning_text = candidates[0]
    highest = score(winning_text)
    for synset, text in candidates[1:]:
        if score(text) > highest:
            winner, highest = synset, score(text)
    return winner


def outside_imagenet(taxonomy: Taxonomy, synset: int) -> bool:
    """Return whether the synset is not the synset of a class."""
    return synset not in taxonomy.synset_of_class.values()
