"""Rule 5's proposals, texts and winner for one (target, predicted); slow on purpose, from the spec alone."""

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
    """WordNet as plain dicts; a synset is its offset (all are nouns, so an offset names one synset).

    A synset without hypernyms or hyponyms may be left out of those two dicts.
    """

    lemmas: dict[int, list[str]]  # synset -> lemma names, in WordNet's order
    hypernyms: dict[int, list[int]]  # synset -> direct hypernyms
    hyponyms: dict[int, list[int]]  # synset -> direct hyponyms
    synset_of_class: dict[int, int]  # class index -> synset


def blocked(taxonomy: Taxonomy, target: int) -> set[int]:
    """The target's synset and all of its hypernyms, direct or not."""
    result: set[int] = set()
    waiting = [taxonomy.synset_of_class[target]]
    while waiting:
        synset = waiting.pop()
        if synset not in result:
            result.add(synset)
            waiting.extend(taxonomy.hypernyms.get(synset, []))
    return result


def hypernym_paths(taxonomy: Taxonomy, synset: int) -> list[tuple[int, ...]]:
    """Every path from a root down to the synset, the synset itself last.

    "Ascending order of offset" for paths: they are compared as tuples of offsets, root first.
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
    """A lemma name of the synset equals a meta label, exactly."""
    return any(lemma in META_LABELS for lemma in taxonomy.lemmas[synset])


def proposals(taxonomy: Taxonomy, superclasses: list[set[int]], target: int, predicted: int) -> list[int]:
    """The synsets proposed, in the spec's order; the first occurrence wins."""
    not_these = blocked(taxonomy, target)
    own = taxonomy.synset_of_class[predicted]
    everything: list[int] = []

    # p
    everything.append(own)

    # every class sharing a superclass with p, in ascending class index (blocked or not)
    for other in sorted(taxonomy.synset_of_class):
        if share_superclass(other, predicted, superclasses):
            everything.append(taxonomy.synset_of_class[other])

    # the direct siblings of p that are not blocked: all of them together, in ascending order of offset
    siblings: set[int] = set()
    for parent in taxonomy.hypernyms.get(own, []):
        siblings.update(taxonomy.hyponyms.get(parent, []))
    for sibling in sorted(siblings):
        if sibling not in not_these:
            everything.append(sibling)

    # on each hypernym path from the root down, what is not blocked once the path has met a meta label
    # (that synset included; a blocked synset is not proposed, but its meta label has been met)
    for path in hypernym_paths(taxonomy, own):
        met = False
        for synset in path:
            if is_meta(taxonomy, synset):
                met = True
            if met and synset not in not_these:
                everything.append(synset)

    first_occurrences: list[int] = []
    for synset in everything:
        if synset not in first_occurrences:
            first_occurrences.append(synset)
    return first_occurrences


def texts(taxonomy: Taxonomy, proposals: list[int]) -> list[tuple[int, str]]:
    """(synset, text) for every lemma name of every proposal; two synsets may have the same text."""
    result: list[tuple[int, str]] = []
    for synset in proposals:
        for lemma in taxonomy.lemmas[synset]:
            result.append((synset, PROMPT.format(lemma.lower().replace("_", " "))))
    return result


def best(taxonomy: Taxonomy, proposals: list[int], score: Callable[[str], float]) -> int:
    """The winning synset: the first in order among those whose text scores highest."""
    candidates = texts(taxonomy, proposals)
    winner, winning_text = candidates[0]
    highest = score(winning_text)
    for synset, text in candidates[1:]:
        if score(text) > highest:
            winner, highest = synset, score(text)
    return winner


def outside_imagenet(taxonomy: Taxonomy, synset: int) -> bool:
    """The synset is none of the classes' synsets."""
    return synset not in taxonomy.synset_of_class.values()
