"""Cluster classes by average linkage. Callers pass the similar pairs of classes; all other pairs have similarity 0."""

import heapq
from collections.abc import Iterable

Similarities = Iterable[tuple[int, int, float]]  # two classes a < b, each pair once, and their similarity


def cluster_classes(similarities: Similarities, max_size: int, min_similarity: float) -> list[tuple[int, ...]]:
    """Return clusters of two or more classes, each with its most typical class first.

    The two most similar clusters are merged until no pair of clusters reaches `min_similarity`. A pair that would
    exceed `max_size` is skipped. The similarity of two clusters is the mean over all pairs of a class of one
    cluster and a class of the other cluster. The most typical class of a cluster has the highest sum of similarities to
    the other classes of the cluster.

    Args:
        similarities: Pairs of similar classes.
        max_size: The largest number of classes in a cluster.
        min_similarity: The smallest similarity of two clusters that are merged.
    """
    clusters = _Clusters(similarities)
    while pair := clusters.pop_most_similar(min_similarity):
        if clusters.size_of(*pair) <= max_size:
            clusters.merge(*pair)
    return sorted(clusters.sorted_members(), key=min)


class _Clusters:
    """The current clusters by number. A merged cluster gets a new number."""

    def __init__(self, similarities: Similarities) -> None:
        self._between: dict[tuple[int, int], float] = {(a, b): value for a, b, value in similarities}
        self._sums: dict[int, dict[int, float]] = {}  # for two clusters: sum over pairs of their classes
        for (a, b), value in self._between.items():
            self._sums.setdefault(a, {})[b] = value
            self._sums.setdefault(b, {})[a] = value
        self._members: dict[int, tuple[int, ...]] = {number: (number,) for number in self._sums}
        self._next = max(self._members, default=0) + 1
        self._queue = [(-value, a, b) for (a, b), value in self._between.items()]
        heapq.heapify(self._queue)

    def pop_most_similar(self, min_similarity: float) -> tuple[int, int] | None:
        """Remove and return the most similar pair of clusters; None if no pair reaches the minimum."""
        while self._queue and -self._queue[0][0] >= min_similarity:
            _, a, b = heapq.heappop(self._queue)
            if a in self._members and b in self._members:
                return a, b
        return None

    def size_of(self, a: int, b: int) -> int:
        """Return the total number of classes in two clusters."""
        return len(self._members[a]) + len(self._members[b])

    def merge(self, a: int, b: int) -> None:
        """Replace two clusters by one."""
        new, self._next = self._next, self._next + 1
        self._members[new] = self._members.pop(a) + self._members.pop(b)
        sums = self._sums.pop(a)
        for other, value in self._sums.pop(b).items():
            sums[other] = sums.get(other, 0.0) + value
        self._sums[new] = {other: value for other, value in sums.items() if other in self._members}
        for other, value in self._sums[new].items():
            self._sums[other].pop(a, None)
            self._sums[other].pop(b, None)
            self._sums[other][new] = value
            mean = value / (len(self._members[new]) * len(self._members[other]))
            heapq.heappush(self._queue, (-mean, other, new))

    def sorted_members(self) -> list[tuple[int, ...]]:
        """Return the classes of each cluster of two or more: the most typical class, then the others, ascending."""
        result = []
        for members in self._members.values():
            if len(members) > 1:
                typical = min(members, key=lambda class_: (-self._sum_in_cluster(class_, members), class_))
                result.append((typical, *sorted({*members} - {typical})))
        return result

    def _sum_in_cluster(self, class_: int, members: tuple[int, ...]) -> float:
        return sum(self._between.get((min(class_, other), max(class_, other)), 0.0) for other in members)
