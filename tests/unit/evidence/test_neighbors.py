"""Exact nearest neighbors, independent of chunks and blocks."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from service.evidence import neighbors
from service.evidence.encoder import HashEncoder
from service.evidence.neighbors import nearest_classes, similarities

SMALL = st.integers(-2, 2)  # products are exact and often equal


def brute_force(images: np.ndarray, train: np.ndarray, classes: list[int]) -> list[list[int]]:
    result = []
    for image in images.tolist():
        scores = [sum(a * b for a, b in zip(image, other, strict=True)) for other in train.tolist()]
        order = sorted(range(len(train)), key=lambda number: (-scores[number], number))
        result.append([classes[number] for number in order[:10]])
    return result


def chunked(train: np.ndarray, cuts: list[int]) -> Iterator[np.ndarray]:
    bounds = sorted({0, len(train), *(cut % (len(train) + 1) for cut in cuts)})
    for start, stop in pairwise(bounds):
        yield train[start:stop]


@settings(max_examples=150)
@given(
    images=arrays(np.float32, st.tuples(st.integers(1, 6), st.just(3)), elements=SMALL),
    train=arrays(np.float32, st.tuples(st.integers(10, 40), st.just(3)), elements=SMALL),
    cuts=st.lists(st.integers(0, 40), max_size=5),
    seed=st.integers(0, 99),
)
def test_neighbors_agree_with_brute_force(images: np.ndarray, train: np.ndarray, cuts: list[int], seed: int) -> None:
    classes = np.random.default_rng(seed).integers(0, 1000, len(train)).astype(np.int16)

    result = nearest_classes(images, chunked(train, cuts), classes)

    assert result.dtype == np.int16
    assert result.tolist() == brute_force(images, train, classes.tolist())


@pytest.mark.parametrize("block", [1, 3, 2048])
def test_neighbors_do_not_depend_on_chunks_or_blocks(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    images = HashEncoder(64).embed_images([f"a/{number}" for number in range(20)])
    train = HashEncoder(64).embed_images([f"b/{number // 2}" for number in range(300)])  # each twice
    classes = np.arange(300, dtype=np.int16)
    exact = [
        sorted(range(300), key=lambda number, row=row: (-np.float32(row @ train[number].astype(float)), number))[:10]
        for row in images.astype(float)
    ]

    monkeypatch.setattr(neighbors, "BLOCK", block)

    for cuts in ([], [7, 100, 101], list(range(0, 300, 11))):
        assert nearest_classes(images, chunked(train, cuts), classes).tolist() == exact


def test_earlier_image_is_nearer_among_equal_scores() -> None:
    same = np.tile(np.array([[1.0, 0.0]], dtype=np.float32), (25, 1))

    result = nearest_classes(same[:1], chunked(same, [3, 4, 20]), np.arange(25, dtype=np.int16))

    assert result.tolist() == [list(range(10))]


def test_similarities_are_float64_products_rounded_to_float32() -> None:
    left, right = HashEncoder(256).embed_texts(["a", "b"]), HashEncoder(256).embed_texts(["c", "d", "e"])

    result = similarities(left, right)

    exact = [[sum(float(a) * float(b) for a, b in zip(x, y, strict=True)) for y in right] for x in left]
    assert result.dtype == np.float32
    assert result.tolist() == np.array(exact).astype(np.float32).tolist()
