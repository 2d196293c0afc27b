"""Co-occurrence pairs. Slow by intention, and written from the specification only."""

from collections.abc import Iterable

from oracle.superclasses import share_superclass


def count_pairs(label_sets: Iterable[set[int]]) -> dict[tuple[int, int], int]:
    """Count the images with both classes of each unordered pair (i, j) with i < j.

    The caller selects the images and their labels. For imagenet: the ReaL labels and the original label of images that
    have ReaL labels and are not in the multi-label annotation. For imagenet-real: the ReaL labels alone.
    """
    counts: dict[tuple[int, int], int] = {}
    for labels in label_sets:
        for i in set(labels):
            for j in set(labels):
                if i < j:
                    counts[(i, j)] = counts.get((i, j), 0) + 1
    return counts


def pairs(label_sets: Iterable[set[int]], superclasses: list[set[int]], minimum: int = 2) -> set[tuple[int, int]]:
    """Return the pairs that occur in at least two images (or `minimum`) and whose classes share no superclass."""
    selected: set[tuple[int, int]] = set()
    for (i, j), count in count_pairs(label_sets).items():
        if count >= minimum and not share_superclass(i, j, superclasses):
            selected.add((i, j))
    return selected
