"""Pairs of classes that occur together in images; slow on purpose, written from the spec alone."""

from collections.abc import Iterable

from oracle.superclasses import share_superclass


def count_pairs(label_sets: Iterable[set[int]]) -> dict[tuple[int, int], int]:
    """How many images show both classes: unordered pairs, written (i, j) with i < j.

    A label set is an image's ReaL labels plus its original label. Which images take part (those that
    have ReaL labels and are not in the multi-label annotation) is the caller's choice.
    """
    counts: dict[tuple[int, int], int] = {}
    for labels in label_sets:
        for i in set(labels):
            for j in set(labels):
                if i < j:
                    counts[(i, j)] = counts.get((i, j), 0) + 1
    return counts


def pairs(label_sets: Iterable[set[int]], superclasses: list[set[int]]) -> set[tuple[int, int]]:
    """A pair counts if it was seen at least twice and its two classes share no superclass."""
    kept: set[tuple[int, int]] = set()
    for (i, j), count in count_pairs(label_sets).items():
        if count >= 2 and not share_superclass(i, j, superclasses):
            kept.add((i, j))
    return kept
