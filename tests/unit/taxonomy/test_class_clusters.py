"""Clusters of classes, compared with a slow average linkage that looks at all pairs in each step."""

import itertools
import random

import pytest

from service.taxonomy.class_clusters import cluster_classes


def slow_clusters(similarity: dict[tuple[int, int], float], max_size: int, minimum: float) -> set[frozenset[int]]:
    def mean(a: frozenset[int], b: frozenset[int]) -> float:
        return sum(similarity.get((min(i, j), max(i, j)), 0) for i in a for j in b) / (len(a) * len(b))

    clusters = {frozenset([class_]) for pair in similarity for class_ in pair}
    while True:
        pairs = [(mean(a, b), a, b) for a, b in itertools.combinations(clusters, 2) if len(a | b) <= max_size]
        best = max(pairs, key=lambda pair: pair[0], default=(0, None, None))
        if best[1] is None or best[0] < minimum:
            return {cluster for cluster in clusters if len(cluster) > 1}
        clusters = clusters - {best[1], best[2]} | {best[1] | best[2]}


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("max_size", "minimum"), [(2, 0.1), (4, 0.05), (6, 0.2), (100, 0.1)])
def test_clusters_equal_those_of_a_slow_implementation(seed: int, max_size: int, minimum: float) -> None:
    draw = random.Random(seed)
    pairs = itertools.combinations(range(18), 2)
    similarity = {pair: draw.random() for pair in pairs if draw.random() < 0.4}

    result = cluster_classes([(*pair, value) for pair, value in similarity.items()], max_size, minimum)

    assert {frozenset(cluster) for cluster in result} == slow_clusters(similarity, max_size, minimum)
    assert len({class_ for cluster in result for class_ in cluster}) == sum(map(len, result))


def test_most_typical_class_is_first() -> None:
    similarities = [(0, 2, 0.9), (2, 5, 0.8), (0, 5, 0.1), (7, 8, 0.5)]

    assert cluster_classes(similarities, max_size=3, min_similarity=0.2) == [(2, 0, 5), (7, 8)]


def test_no_similar_classes_give_no_clusters() -> None:
    assert cluster_classes([], max_size=10, min_similarity=0.1) == []
    assert cluster_classes([(0, 1, 0.05)], max_size=10, min_similarity=0.1) == []
