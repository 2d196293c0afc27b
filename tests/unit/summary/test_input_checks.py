"""Input checks for permuted classes and reordered rows, compared with a slow check."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from service.domain import Predictions
from service.summary.input_checks import rows_look_permuted, rows_look_reordered


def expected_result(pairs: list[tuple[int, int]]) -> bool:
    """Top-1 under 5 %, and the most frequent prediction of each target, one to one, covers half of the samples.

    One to one: a class that is the favorite of several targets counts for the one that has it most often.
    """
    if not pairs or sum(target == predicted for target, predicted in pairs) * 20 >= len(pairs):
        return False
    covers: dict[int, int] = {}
    for target in {target for target, _ in pairs}:
        of_target = Counter(predicted for other, predicted in pairs if other == target)
        most = max(of_target.values())
        favorite = min(predicted for predicted, count in of_target.items() if count == most)
        covers[favorite] = max(covers.get(favorite, 0), most)
    return sum(covers.values()) * 2 >= len(pairs)


def permuted(pairs: list[tuple[int, int]]) -> bool:
    targets, predicted = zip(*pairs, strict=True) if pairs else ((), ())
    return rows_look_permuted(np.array(targets, dtype=np.int16), np.array(predicted, dtype=np.int16))


def model(accuracy: float, seed: int = 0, per_class: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Targets and predictions of a model that is right so often, and anything otherwise."""
    rng = np.random.default_rng(seed)
    targets = np.repeat(np.arange(1000), per_class).astype(np.int16)
    wrong = rng.integers(0, 1000, len(targets)).astype(np.int16)
    return targets, np.where(rng.random(len(targets)) < accuracy, targets, wrong)


few = st.sampled_from((0, 1, 2, 998, 999))


@settings(max_examples=500)
@given(st.lists(st.tuples(few, few), max_size=60))
@example([(0, 1), (1, 2), (2, 0)])
@example([(0, 1), (1, 1)])  # both targets have one favorite, which covers one of them
@example([(0, 1), (1, 1), (2, 1)])
@example([(0, 0)] + [(0, 1)] * 19)  # 5 %, not under
@example([(0, 0)] + [(0, 1)] * 20)
def test_permutation_check_follows_the_specification(pairs: list[tuple[int, int]]) -> None:
    assert permuted(pairs) == expected_result(pairs)


@pytest.mark.parametrize("accuracy", [1.0, 0.8, 0.5, 0.06])
def test_inaccurate_model_passes_the_check(accuracy: float) -> None:
    assert not rows_look_permuted(*model(accuracy))


def test_random_predictions_pass_the_check() -> None:
    assert not rows_look_permuted(*model(0))


def test_constant_predictions_pass_the_check() -> None:
    targets, _ = model(1)

    assert not rows_look_permuted(targets, np.full(len(targets), 7, dtype=np.int16))


@pytest.mark.parametrize("accuracy", [1.0, 0.8, 0.6])
@pytest.mark.parametrize("order", ["rotated", "reversed", "shuffled"])
def test_permuted_classes_are_detected(accuracy: float, order: str) -> None:
    targets, predicted = model(accuracy)
    numbers = {
        "rotated": np.roll(np.arange(1000), 1),
        "reversed": np.arange(1000)[::-1],
        "shuffled": np.random.default_rng(1).permutation(1000),
    }[order]

    assert rows_look_permuted(targets, numbers[predicted].astype(np.int16))


def test_images_without_a_prediction_are_ignored() -> None:
    targets, predicted = model(0.8)
    shifted = np.roll(np.arange(1000), 1)[predicted].astype(np.int16)
    is_predicted = np.arange(len(targets)) % 3 == 0

    assert rows_look_permuted(targets, np.where(is_predicted, shifted, -1).astype(np.int16))
    assert not rows_look_permuted(targets, np.full(len(targets), -1, dtype=np.int16))
    assert not rows_look_permuted(targets[:0], predicted[:0])


def reordered(original: float, other: float) -> bool:
    """Check predictions with these top-1 accuracies in the original order and in the other order."""
    targets = np.zeros(100, dtype=np.int16)

    def right(share: float) -> Predictions:
        return Predictions(np.where(np.arange(100) < share * 100, 0, 1).astype(np.int16))

    return rows_look_reordered(targets, right(original), right(other))


@pytest.mark.parametrize(("original", "other"), [(0.0, 0.8), (0.01, 0.5), (0.2, 0.9)])
def test_reordered_rows_are_detected(original: float, other: float) -> None:
    assert reordered(original, other)


@pytest.mark.parametrize(("original", "other"), [(0.8, 0.0), (0.8, 0.8), (0.0, 0.0), (0.001, 0.01), (0.75, 0.8)])
def test_similar_accuracy_in_both_orders_passes_the_check(original: float, other: float) -> None:
    assert not reordered(original, other)
