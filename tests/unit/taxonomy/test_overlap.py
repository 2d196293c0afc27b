"""The table of overlapping classes: pairs, directions, and reasons."""

import numpy as np
import pytest
from oracle.verdicts import OVERLAP

from service.taxonomy.imagenet_1k import imagenet_1k

ONE_WAY = [(249, 248), (250, 248), (385, 101), (386, 101), (504, 968), (482, 848), (435, 876)]
BOTH_WAYS = [(836, 837), (638, 639), (657, 744), (620, 681), (664, 782)]
MUSTELIDS = (356, 357, 358, 359)
SPEC = {
    *ONE_WAY,
    *BOTH_WAYS,
    *((b, a) for a, b in BOTH_WAYS),
    *((a, b) for a in MUSTELIDS for b in MUSTELIDS if a != b),
}


def test_oracle_has_the_same_table() -> None:
    assert {(target, predicted) for target, overlapping in OVERLAP.items() for predicted in overlapping} == SPEC


def test_matrix_has_exactly_the_pairs_of_the_specification() -> None:
    assert {(target, predicted) for target, predicted in imagenet_1k().overlaps.as_array().tolist()} == SPEC


@pytest.mark.parametrize(("target", "predicted"), sorted(SPEC))
def test_pair_has_a_reason(target: int, predicted: int) -> None:
    assert imagenet_1k().overlap_reason(target, predicted).endswith(".")


@pytest.mark.parametrize(("target", "predicted"), ONE_WAY)
def test_other_direction_is_no_overlap(target: int, predicted: int) -> None:
    assert not imagenet_1k().overlaps.holds(np.int16(predicted), np.int16(target))
    assert imagenet_1k().overlap_reason(predicted, target) == ""


@pytest.mark.parametrize(("a", "b"), BOTH_WAYS)
def test_both_directions_have_the_same_reason(a: int, b: int) -> None:
    assert imagenet_1k().overlap_reason(a, b) == imagenet_1k().overlap_reason(b, a)


def test_only_pairs_have_a_reason() -> None:
    named = sorted({item for pair in SPEC for item in pair} | {0, 1, 247, 360, 999})

    assert {(t, p) for t in named for p in named if imagenet_1k().overlap_reason(t, p)} == SPEC
    others = [index for index in range(1000) if index not in named]
    assert not any(
        imagenet_1k().overlap_reason(t, p) or imagenet_1k().overlap_reason(p, t) for t in named for p in others
    )
