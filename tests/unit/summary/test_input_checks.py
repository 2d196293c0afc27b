"""Input checks for permuted classes and reordered rows, compared with a slow check."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from example_counts import max_examples
from hypothesis import example, given
from hypothesis import strategies as st

from service.domain import Predictions
from service.evidence.labels import original_labels, validation_name
from service.summary.input_checks import (
    find_classes_from_one,
    find_permuted_classes,
    find_renumbered_classes,
    find_reordered_rows,
)

PREDICTIONS = "predictions/imagenet_val_resnet50_cv.csv"  # of a real ResNet-50


def expected_result(pairs: list[tuple[int, int]]) -> bool:
    """Top-1 under 5 %, and the most frequent prediction of each target, one to one, covers half of the samples.

    Only classes with at least five samples count, and ten such classes are necessary, or all classes where there are
    fewer. One to one: a class that is the favorite of several targets counts for the one that has it most often. Of
    fewer classes, the predictions cover 90 % of the samples, and at least two classes.
    """
    if not pairs or sum(target == predicted for target, predicted in pairs) * 20 >= len(pairs):
        return False
    num_samples = Counter(target for target, _ in pairs)
    large = {target for target, count in num_samples.items() if count >= 5}
    if len(large) < min(10, len(num_samples)):
        return False
    covers: dict[int, int] = {}
    for target in large:
        of_target = Counter(predicted for other, predicted in pairs if other == target)
        most = max(of_target.values())
        favorite = min(predicted for predicted, count in of_target.items() if count == most)
        covers[favorite] = max(covers.get(favorite, 0), most)
    total = sum(num_samples[target] for target in large)
    if len(large) < 10:
        return len(covers) >= 2 and sum(covers.values()) * 10 >= total * 9
    return sum(covers.values()) * 2 >= total


def is_one_based(pairs: list[tuple[int, int]]) -> bool:
    """Top-1 accuracy is below 5 %, no prediction is class 0, and the class before it is often the target.

    Ten targets are explained, and the kappa is at least one half and three standard errors.
    """
    if not pairs or sum(target == predicted for target, predicted in pairs) * 20 >= len(pairs):
        return False
    explained = [target for target, predicted in pairs if target == predicted - 1]
    if any(predicted == 0 for _, predicted in pairs) or len({*explained}) < 10:
        return False
    by_chance = sum(target == predicted - 1 for target, _ in pairs for _, predicted in pairs) / len(pairs)
    return (len(explained) - by_chance) / (len(pairs) - by_chance) >= 0.5 + 1.5 / len(pairs) ** 0.5


def permuted(pairs: list[tuple[int, int]]) -> bool:
    targets, predicted = zip(*pairs, strict=True) if pairs else ((), ())
    return rows_look_permuted(np.array(targets, dtype=np.int16), np.array(predicted, dtype=np.int16))


def rows_look_permuted(targets: np.ndarray, predicted: np.ndarray) -> bool:
    return find_permuted_classes(targets, predicted, 1000) is not None


def read_predictions(reference: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the original labels and a real model's predictions for the 50,000 validation images."""
    lines = (reference / PREDICTIONS).read_text().splitlines()[1:]
    classes = dict(line.split(",") for line in lines)
    predicted = [int(classes[validation_name(image)]) for image in range(1, 50_001)]
    return np.array(original_labels(), dtype=np.int16), np.array(predicted, dtype=np.int16)


def model(accuracy: float, seed: int = 0, per_class: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Return targets and the predictions of a model of this accuracy, whose other predictions are random."""
    rng = np.random.default_rng(seed)
    targets = np.repeat(np.arange(1000), per_class).astype(np.int16)
    wrong = rng.integers(0, 1000, len(targets)).astype(np.int16)
    return targets, np.where(rng.random(len(targets)) < accuracy, targets, wrong)


def ten_classes(num_correct: int) -> list[tuple[int, int]]:
    """Return 100 predictions, shifted by one class except for the correct ones."""
    return [(place % 10, place % 10 + (place >= num_correct)) for place in range(100)]


few = st.sampled_from((0, 1, 2, 998, 999))
many = st.integers(0, 14)
# Blocks of samples with the same classes, so that classes have enough samples.
blocks = st.lists(st.tuples(many, many, st.integers(1, 9)), max_size=30).map(
    lambda drawn: [(target, predicted) for target, predicted, count in drawn for _ in range(count)]
)


@max_examples(500)
@given(st.lists(st.tuples(few, few), max_size=60) | blocks)
@example([(0, 1), (1, 2), (2, 0)])
@example([(0, 1), (1, 2), (2, 0)] * 5)
@example([(0, 1), (1, 1)] * 5)  # both targets have one favorite, which covers one of them
@example([(0, 1), (1, 1), (2, 1)] * 5)
@example([(target, target + 1) for target in range(10)] * 5)
@example([(target, target + 1) for target in range(10)] * 5 + [(20, 3)] * 4)  # one class has too few samples
@example([(target, target + 1) for target in range(9)] * 5 + [(20, 3)] * 4)  # ten classes, but one has too few
@example(ten_classes(num_correct=5))  # 5 %, not under
@example(ten_classes(num_correct=4))
@example([(target, target + 1) for target in range(10)] + [(7, 7)])
@example([(target, target + 1) for target in range(11)])
@example([(target, target + 1) for target in range(11)] + [(20, 0)])
@example([(target, target + 1) for target in range(9)] * 4)
@example([(target, target + 1) for target in range(17)] + [(target, 30) for target in range(3)])
@example([(target, target + 1) for target in range(16)] + [(target, 30) for target in range(4)])
@example([(0, 1)] * 80 + [(target, target + 1) for target in range(10)] + [(0, 5)] * 10)  # by chance
@example([(0, 0)] + [(0, 1)] * 19)  # 5 %, not under
@example([(0, 0)] + [(0, 1)] * 20)
def test_permutation_check_follows_the_specification(pairs: list[tuple[int, int]]) -> None:
    assert permuted(pairs) == expected_result(pairs)
    targets, predicted = np.array(pairs, dtype=np.int16).reshape(-1, 2).T
    assert (find_classes_from_one(targets, predicted) is not None) == is_one_based(pairs)


@pytest.mark.parametrize("num_classes", [2, 3, 4, 9])
@pytest.mark.parametrize("per_class", [1, 5, 6, 100])
def test_guesses_of_few_classes_pass_the_check(num_classes: int, per_class: int) -> None:
    """Constant predictions, and predictions at random, of data sets with all classes, two of them, and one of them."""
    rng = np.random.default_rng(num_classes * 1000 + per_class)
    for present in {1, 2, num_classes}:
        targets = np.repeat(np.arange(present), per_class).astype(np.int16)
        for constant in range(num_classes):
            assert not rows_look_permuted(targets, np.full(len(targets), constant, dtype=np.int16))
        refused = [
            rows_look_permuted(targets, rng.integers(0, num_classes, len(targets)).astype(np.int16)) for _ in range(300)
        ]
        assert np.count_nonzero(refused) <= 3


@pytest.mark.parametrize("num_classes", [2, 3, 10])
def test_permuted_predictions_of_few_classes_are_detected(num_classes: int) -> None:
    targets = np.repeat(np.arange(num_classes), 50).astype(np.int16)
    predicted = ((targets + 1) % num_classes).astype(np.int16)
    predicted[:2] = targets[:2]  # nearly

    problem = find_permuted_classes(targets, predicted, num_classes)

    assert problem is not None
    assert problem.shift == (1 if num_classes == 10 else None)  # two swapped classes are no shift


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


@pytest.mark.parametrize("shift", [1, -1, 3])
def test_a_shift_of_all_classes_is_named(shift: int) -> None:
    targets, predicted = model(0.8)

    problem = find_permuted_classes(targets, ((predicted + shift) % 1000).astype(np.int16), 1000)

    assert problem is not None
    assert problem.shift == shift
    assert problem.coverage == pytest.approx(0.8, abs=0.02)


def test_a_shift_of_all_classes_is_named_in_the_largest_label_space() -> None:
    targets = np.repeat(np.arange(32_767, dtype=np.int16), 5)

    problem = find_permuted_classes(targets, ((targets.astype(int) - 2) % 32_767).astype(np.int16), 32_767)

    assert problem is not None
    assert (problem.shift, problem.coverage) == (-2, 1)


def test_a_permutation_has_no_shift() -> None:
    targets, predicted = model(0.8)

    problem = find_permuted_classes(
        targets, np.random.default_rng(1).permutation(1000)[predicted].astype(np.int16), 1000
    )

    assert problem is not None
    assert problem.shift is None


@pytest.mark.parametrize("shift", [1, 5])
def test_twenty_images_of_twenty_classes_pass_the_check(shift: int) -> None:
    targets = np.arange(20, dtype=np.int16)

    assert not rows_look_permuted(targets, targets + shift)


def test_twenty_images_with_classes_from_one_are_named() -> None:
    targets = np.arange(20, dtype=np.int16)
    predicted = targets + 1
    predicted[:3] = 900

    problem = find_classes_from_one(targets, predicted)

    assert problem is not None
    assert (problem.top1_accuracy, problem.coverage, problem.shift) == (0, 0.85, 1)
    predicted[3] = 900
    assert find_classes_from_one(targets, predicted) is None


@pytest.mark.parametrize("num_classes", [2, 3, 11, 100, 1000])
@pytest.mark.parametrize("size", [10, 20, 50, 200])
def test_small_files_of_plausible_models_get_no_warning(num_classes: int, size: int) -> None:
    """Models of any accuracy whose errors are often the next class, guesses with the same skew, and constant ones."""
    rng = np.random.default_rng(num_classes * 1000 + size)
    weights = 1 / np.arange(1, num_classes + 1) ** 2
    following = np.roll(np.arange(num_classes), -1)
    for accuracy in (0, 0.02, 0.04, 0.3):
        for share in (0, 0.2, 0.4):  # of the errors that are the next class; 3.7 % of those of a real ResNet-50
            for _ in range(20):
                targets = rng.integers(0, num_classes, size)
                errors = np.where(rng.random(size) < share, following[targets], rng.integers(0, num_classes, size))
                predicted = np.where(rng.random(size) < accuracy, targets, errors)
                assert find_classes_from_one(targets, predicted) is None
    for _ in range(100):
        targets, guesses = (rng.choice(num_classes, size, p=weights / weights.sum()) for _ in range(2))
        assert find_classes_from_one(targets, following[guesses]) is None
        assert find_classes_from_one(targets, np.ones(size, dtype=np.int64)) is None


def test_real_predictions_with_another_numbering_are_detected(reference: Path) -> None:
    targets, predicted = read_predictions(reference)

    problem = find_permuted_classes(targets, ((predicted + 1) % 1000).astype(np.int16), 1000)

    assert problem is not None
    assert problem.shift == 1
    assert not rows_look_permuted(targets, predicted)


@pytest.mark.parametrize("num_classes", [1000, 200, 20])
def test_the_errors_of_a_real_model_pass_the_check(reference: Path, num_classes: int) -> None:
    """Images that the model gets wrong, as in ImageNet-A: no model is worse on them, and its confusions are real."""
    targets, predicted = read_predictions(reference)
    rng = np.random.default_rng(0)
    for _ in range(20):
        classes = rng.choice(1000, num_classes, replace=False)
        is_error = (targets != predicted) & np.isin(targets, classes)
        assert not rows_look_permuted(targets[is_error], predicted[is_error])


def reordered(original: float, other: float) -> bool:
    """Check predictions with these top-1 accuracies in the original order and in the other order."""
    targets = np.zeros(100, dtype=np.int16)

    def right(share: float) -> Predictions:
        return Predictions(np.where(np.arange(100) < share * 100, 0, 1).astype(np.int16))

    return find_reordered_rows(targets, right(original), right(other)) is not None


def test_the_rows_of_a_few_images_are_seldom_reordered_by_chance() -> None:
    """Predictions of one of two classes: in the other order, the accuracy on 20 images differs by 20 points often."""
    rng = np.random.default_rng(5)
    targets = np.repeat([0, 1], 10).astype(np.int16)
    differences, refused = 0, 0
    for _ in range(1000):
        right, other = (Predictions(rng.integers(0, 2, 20).astype(np.int16)) for _ in range(2))
        differences += (other.top1 == targets).mean() - (right.top1 == targets).mean() >= 0.2
        refused += find_reordered_rows(targets, right, other) is not None

    assert differences > 100
    assert refused <= 1


@pytest.mark.parametrize(("original", "other"), [(0.0, 0.8), (0.01, 0.5), (0.2, 0.9), (0.0, 0.2)])
def test_reordered_rows_are_detected(original: float, other: float) -> None:
    assert reordered(original, other)


@pytest.mark.parametrize(
    ("original", "other"), [(0.8, 0.0), (0.8, 0.8), (0.0, 0.0), (0.001, 0.01), (0.75, 0.8), (0.0, 0.19)]
)
def test_similar_accuracy_in_both_orders_passes_the_check(original: float, other: float) -> None:
    assert not reordered(original, other)


@pytest.mark.parametrize("size", [1000, 90])
def test_images_outside_a_subset_do_not_hide_reordered_rows(size: int) -> None:
    subset = np.arange(1000) < size
    targets = np.ones(1000, dtype=np.int16)
    wrong, right = (Predictions(np.where(subset, value, -1).astype(np.int16), subset=subset) for value in (0, 1))

    result = find_reordered_rows(targets, wrong, right)

    assert result is not None and (result.top1_accuracy, result.other_accuracy) == (0.0, 1.0)


@pytest.mark.parametrize(("accuracy", "is_found"), [(0.95, True), (0.75, False)])
def test_a_numbering_that_keeps_one_of_ten_classes_is_found_if_it_explains_most_predictions(
    accuracy: float, is_found: bool
) -> None:
    rng = np.random.default_rng(3)
    targets = np.tile(np.arange(10), 100).astype(np.int16)
    own = np.where(rng.random(1000) < accuracy, targets, rng.integers(0, 10, 1000))
    renumbered = np.array([0, 9, 8, 7, 6, 4, 5, 3, 2, 1])[own].astype(np.int16)

    assert (find_renumbered_classes(targets, renumbered, 10) is not None) == is_found
    assert find_renumbered_classes(targets, own.astype(np.int16), 10) is None


@pytest.mark.parametrize(("first", "shift"), [(0, None), (1, 1)])
def test_a_shift_of_a_numbering_keeps_predictions_in_the_classes(first: int, shift: int | None) -> None:
    """Given classes from 1 to 19 that are numbered one too high, and class 0, which is 0 or also 1."""
    targets = np.tile(np.arange(20), 10).astype(np.int16)
    predicted = np.array([first, *range(2, 21)])[targets].astype(np.int16)
    predicted[:20] = targets[:20]  # so that the accuracy is at least 5 %
    predicted[0] = first

    result = find_renumbered_classes(targets, predicted, 21)

    assert result is not None and result.shift == shift


@pytest.mark.parametrize("num_classes", [10, 30, 100])
@pytest.mark.parametrize("accuracy", [0.1, 0.2, 0.4, 0.6])
def test_weak_models_with_half_of_their_errors_in_one_other_class_have_no_other_numbering(
    num_classes: int, accuracy: float
) -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        targets = np.repeat(np.arange(num_classes), 10)
        count = len(targets)
        wrong = np.where(rng.random(count) < 0.5, (targets + 1) % num_classes, rng.integers(0, num_classes, count))
        predicted = np.where(rng.random(count) < accuracy, targets, wrong)

        assert find_renumbered_classes(targets.astype(np.int16), predicted.astype(np.int16), num_classes) is None
