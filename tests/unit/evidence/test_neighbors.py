"""Exact nearest neighbors: those of a full sort of exact scores, for all chunks, blocks, and rounding errors."""

import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from example_counts import max_examples
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from service.evidence import neighbors, score_blocks
from service.evidence.encoder import HashEncoder
from service.evidence.neighbors import exact_scores, nearest_classes, similarities
from service.evidence.score_blocks import ROUNDING, NumpyScoreBlocks, ScoreBlocks, new_score_blocks, rounding_error

SMALL = st.integers(-2, 2)  # products are exact and often equal
CUTS = st.lists(st.integers(0, 80), max_size=5)


def torch_on_cpu(images: np.ndarray) -> ScoreBlocks:
    """Return the implementation for GPUs, on tensors of the CPU."""
    torch_score_blocks = pytest.importorskip("service.evidence.torch_score_blocks")
    blocks: ScoreBlocks = torch_score_blocks.TorchScoreBlocks(images, "cpu")
    return blocks


class LargestErrors(NumpyScoreBlocks):
    """Scores with the largest rounding errors that are possible, of random signs."""

    def multiply(self, chunk: np.ndarray) -> Iterator[tuple[slice, Any]]:
        rng = np.random.default_rng(len(chunk))
        largest = rounding_error(chunk.shape[1]) - 2 * ROUNDING  # this score and the exact one are rounded to float32
        for rows, scores in super().multiply(chunk):
            exact = self._images[rows].astype(np.float64) @ chunk.astype(np.float64).T
            scores._scores = (exact + largest * rng.choice([-1, 1], exact.shape)).astype(np.float32)
            yield rows, scores


IMPLEMENTATIONS: dict[str, Callable[[np.ndarray], ScoreBlocks]] = {
    "numpy": NumpyScoreBlocks,
    "torch": torch_on_cpu,
}
on_all = pytest.mark.parametrize("new_blocks", IMPLEMENTATIONS.values(), ids=IMPLEMENTATIONS)
on_all_and_with_errors = pytest.mark.parametrize(
    "new_blocks", [*IMPLEMENTATIONS.values(), LargestErrors], ids=[*IMPLEMENTATIONS, "largest errors"]
)


def full_sort(images: np.ndarray, train: np.ndarray) -> list[list[int]]:
    """Return the neighbors by a full sort of correctly rounded scores; the earlier one first among equals."""
    result = []
    for image in images.tolist():
        scores = [np.float32(math.fsum(a * b for a, b in zip(image, other, strict=True))) for other in train.tolist()]
        result.append(sorted(range(len(train)), key=lambda number, s=scores: (-s[number], number))[:10])
    return result


def chunked(train: np.ndarray, cuts: list[int]) -> Iterator[np.ndarray]:
    bounds = sorted({0, len(train), *(cut % (len(train) + 1) for cut in cuts)})
    for start, stop in pairwise(bounds):
        yield train[start:stop]


def numbered(train: np.ndarray) -> np.ndarray:
    """Return a class of its own for each training image."""
    return np.arange(len(train), dtype=np.int16)


@on_all
@max_examples(100)
@given(
    images=arrays(np.float32, st.tuples(st.integers(1, 6), st.just(3)), elements=SMALL),
    train=arrays(np.float32, st.tuples(st.integers(10, 40), st.just(3)), elements=SMALL),
    cuts=CUTS,
)
def test_equal_scores_are_ordered_by_position(
    new_blocks: Callable[[np.ndarray], ScoreBlocks], images: np.ndarray, train: np.ndarray, cuts: list[int]
) -> None:
    result = nearest_classes(images, chunked(train, cuts), numbered(train), new_blocks)

    assert result.dtype == np.int16
    assert result.tolist() == full_sort(images, train)


@st.composite
def crowded(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors of a few directions: duplicates, and vectors that differ by less than float32 scores resolve."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    dimensions, directions = draw(st.sampled_from([2, 7, 64])), draw(st.integers(1, 4))
    centers = rng.standard_normal((directions, dimensions))
    spread = draw(st.sampled_from([0, 1e-8, 1e-6, 1e-5, 1e-3, 1]))

    def near(count: int) -> np.ndarray:
        vectors = centers[rng.integers(0, directions, count)] + spread * rng.standard_normal((count, dimensions))
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)

    train = near(draw(st.integers(10, 80)))
    return near(draw(st.integers(1, 5))), train[rng.integers(0, len(train), len(train))]


@pytest.mark.slow
@on_all_and_with_errors
@max_examples(100)
@given(vectors=crowded(), cuts=CUTS, block=st.sampled_from([1, 2, 8192]), dense=st.sampled_from([0, 32, 10**9]))
def test_near_and_equal_vectors_are_ordered_as_by_a_full_sort(
    new_blocks: Callable[[np.ndarray], ScoreBlocks],
    vectors: tuple[np.ndarray, np.ndarray],
    cuts: list[int],
    block: int,
    dense: int,
) -> None:
    images, train = vectors
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(score_blocks, "BLOCK", block)
        patch.setattr(neighbors, "DENSE", dense)
        result = nearest_classes(images, chunked(train, cuts), numbered(train), new_blocks)

    assert result.tolist() == full_sort(images, train)


@on_all_and_with_errors
@pytest.mark.parametrize("block", [1, 3, 8192])
def test_neighbors_do_not_depend_on_chunks_or_blocks(
    new_blocks: Callable[[np.ndarray], ScoreBlocks], block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = HashEncoder(64).embed_images([f"a/{number}" for number in range(20)])
    train = HashEncoder(64).embed_images([f"b/{number // 2}" for number in range(300)])  # each twice
    exact = full_sort(images, train)

    monkeypatch.setattr(score_blocks, "BLOCK", block)

    for cuts in ([], [7, 100, 101], list(range(0, 300, 11))):
        assert nearest_classes(images, chunked(train, cuts), numbered(train), new_blocks).tolist() == exact


@on_all
def test_images_sorted_by_class_have_exact_neighbors(new_blocks: Callable[[np.ndarray], ScoreBlocks]) -> None:
    rng = np.random.default_rng(3)
    centers = rng.standard_normal((12, 32))

    def of_classes(count: int) -> np.ndarray:
        vectors = centers[np.arange(count) * 12 // count] + 0.3 * rng.standard_normal((count, 32))
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)

    images, train = of_classes(24), of_classes(600)

    result = nearest_classes(images, chunked(train, list(range(0, 600, 40))), numbered(train), new_blocks)

    assert result.tolist() == full_sort(images, train)


def test_few_pairs_are_compared_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    images = HashEncoder(64).embed_images([f"a/{number}" for number in range(50)])
    train = HashEncoder(64).embed_images([f"b/{number}" for number in range(6000)])
    pairs = []

    def counting(left: np.ndarray, right: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        pairs.append(len(rows))
        return exact_scores(left, right, rows, columns)

    monkeypatch.setattr(neighbors, "exact_scores", counting)
    nearest_classes(images, chunked(train, list(range(0, 6000, 200))), numbered(train), NumpyScoreBlocks)

    assert sum(pairs) < 50 * 100  # of 50 x 6000; about 10 x ln(30) + 10 for each image in random order


def test_earlier_image_is_nearer_among_equal_scores() -> None:
    same = np.tile(np.array([[1.0, 0.0]], dtype=np.float32), (25, 1))

    result = nearest_classes(same[:1], chunked(same, [3, 4, 20]), numbered(same))

    assert result.tolist() == [list(range(10))]


def test_rounding_error_bounds_float32_products() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((200, 768)) + np.linspace(0, 3, 200)[:, None]  # from mixed signs to one sign
    unit = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)

    errors = np.abs((unit @ unit.T).astype(np.float64) - unit.astype(np.float64) @ unit.T.astype(np.float64))

    assert 0 < errors.max() < rounding_error(768)
    assert rounding_error(768) == pytest.approx(772 / 2**24, rel=1e-4)


def test_torch_multiplies_without_tensorfloat32(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        next(iter(torch_on_cpu(np.eye(3, dtype=np.float32)).multiply(np.eye(3, dtype=np.float32))))
        assert torch.get_float32_matmul_precision() == "highest"
    finally:
        torch.set_float32_matmul_precision(before)


def test_a_gpu_is_used_if_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    module = pytest.importorskip("service.evidence.torch_score_blocks")
    images = np.eye(3, dtype=np.float32)
    devices: list[str] = []
    monkeypatch.setattr(module, "TorchScoreBlocks", lambda images, device: devices.append(device))

    monkeypatch.setattr(module, "has_gpu", lambda: False)
    assert isinstance(new_score_blocks(images), NumpyScoreBlocks)
    assert devices == []

    monkeypatch.setattr(module, "has_gpu", lambda: True)
    new_score_blocks(images)
    assert devices == ["cuda"]


def test_similarities_are_float64_products_rounded_to_float32() -> None:
    left, right = HashEncoder(256).embed_texts(["a", "b"]), HashEncoder(256).embed_texts(["c", "d", "e"])

    result = similarities(left, right)

    exact = [[sum(float(a) * float(b) for a, b in zip(x, y, strict=True)) for y in right] for x in left]
    assert result.dtype == np.float32
    assert result.tolist() == np.array(exact).astype(np.float32).tolist()


@pytest.mark.parametrize("dense", [0, 10**9])
def test_exact_scores_are_those_of_the_pairs(dense: int, monkeypatch: pytest.MonkeyPatch) -> None:
    left = HashEncoder(64).embed_texts([f"a {number}" for number in range(30)])
    right = HashEncoder(64).embed_texts([f"b {number}" for number in range(40)])
    rows, columns = np.random.default_rng(0).integers(0, 30, (2, 600))

    monkeypatch.setattr(neighbors, "DENSE", dense)

    assert exact_scores(left, right, rows, columns).tolist() == similarities(left, right)[rows, columns].tolist()
