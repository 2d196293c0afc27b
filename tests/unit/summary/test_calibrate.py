"""Calibration, compared with a loop over bins and samples, and at the bounds of bins."""

import math

import numpy as np
import pytest
from example_counts import max_examples
from hypothesis import given
from hypothesis import strategies as st

from service.domain import Calibration
from service.summary.calibrate import calibrate

BINS = 15  # spec/statistics
ENDS = [k / BINS for k in range(BINS + 1)]

SAMPLES = st.lists(
    st.tuples(
        st.integers(1, 8),
        st.one_of(st.floats(0, 1, width=32), st.sampled_from(ENDS), st.sampled_from([math.nan, math.inf])),
    ),
    max_size=60,
)

INSIDE_OF_BINS = st.floats(0, 1, width=16).filter(lambda value: value not in np.float16(ENDS[1:-1]))


def calibrated(samples: list[tuple[int, float]], dtype: type = np.float64) -> Calibration:
    return calibrate(
        np.array([kind for kind, _ in samples], dtype=np.uint8),
        np.array([probability for _, probability in samples], dtype=dtype),
    )


def bin_of(probability: float) -> int:
    """Return the first bin whose upper bound is not below the probability."""
    return next(number for number in range(BINS) if probability <= ENDS[number + 1])


def expected_error(samples: list[tuple[int, float]], right: set[int]) -> float | None:
    """Expected calibration error, bin by bin: the share of the samples times |accuracy - confidence|."""
    known = [(kind, probability) for kind, probability in samples if math.isfinite(probability)]
    if not known:
        return None
    total = 0.0
    for number in range(BINS):
        here = [(kind, probability) for kind, probability in known if bin_of(probability) == number]
        if here:
            accuracy = sum(kind in right for kind, _ in here) / len(here)
            confidence = math.fsum(probability for _, probability in here) / len(here)
            total += len(here) / len(known) * abs(accuracy - confidence)
    return total


def same(actual: float | None, expected: float | None) -> None:
    assert (actual is None) == (expected is None)
    if actual is not None and expected is not None:
        assert actual == pytest.approx(expected, abs=1e-12)


@max_examples(300)
@given(SAMPLES)
def test_calibration_errors_agree_with_a_loop_over_bins(samples: list[tuple[int, float]]) -> None:
    result = calibrated(samples)

    same(result.top1_error, expected_error(samples, {1}))
    same(result.multi_label_error, expected_error(samples, {1, 2, 3}))


@max_examples(300)
@given(SAMPLES)
def test_bins_agree_with_a_loop(samples: list[tuple[int, float]]) -> None:
    result = calibrated(samples)

    for number, bin_ in enumerate(result.bins):
        here = [(kind, p) for kind, p in samples if math.isfinite(p) and bin_of(p) == number]
        assert bin_.num_samples == len(here)
        same(bin_.confidence, math.fsum(p for _, p in here) / len(here) if here else None)
        same(bin_.top1_accuracy, sum(kind == 1 for kind, _ in here) / len(here) if here else None)
        same(bin_.multi_label_accuracy, sum(kind <= 3 for kind, _ in here) / len(here) if here else None)


@max_examples(100)
@given(SAMPLES)
def test_bins_add_up_and_errors_are_fractions(samples: list[tuple[int, float]]) -> None:
    result = calibrated(samples)

    assert sum(bin_.num_samples for bin_ in result.bins) == sum(math.isfinite(p) for _, p in samples)
    assert all(error is None or 0 <= error <= 1 for error in (result.top1_error, result.multi_label_error))


def test_there_are_15_bins_of_equal_width_from_0_to_1() -> None:
    bins = calibrated([]).bins

    assert [bin_.low for bin_ in bins] == pytest.approx(ENDS[:-1])
    assert [bin_.high for bin_ in bins] == pytest.approx(ENDS[1:])


@pytest.mark.parametrize(
    ("probability", "number"),
    [(0.0, 0), *[(k / BINS, k - 1) for k in range(1, BINS + 1)], *[((k + 0.5) / BINS, k) for k in range(BINS)]],
)
@pytest.mark.parametrize("dtype", [np.float64, np.float16])
def test_bin_includes_its_upper_bound_and_the_first_bin_includes_zero(
    probability: float, number: int, dtype: type
) -> None:
    bins = calibrated([(1, probability)], dtype).bins

    assert [bin_.num_samples for bin_ in bins] == [int(index == number) for index in range(BINS)]


def test_calibration_errors_of_a_small_example() -> None:
    # bin 14 (over 14/15): 0.95 correct, 0.97 a multi-label; bin 7: 0.5 severe
    result = calibrated([(1, 0.95), (3, 0.97), (8, 0.5)])

    assert result.top1_error == pytest.approx(2 / 3 * (0.96 - 0.5) + 1 / 3 * 0.5)
    assert result.multi_label_error == pytest.approx(2 / 3 * (1 - 0.96) + 1 / 3 * 0.5)
    assert result.bins[14].confidence == pytest.approx(0.96)
    assert (result.bins[14].top1_accuracy, result.bins[14].multi_label_accuracy) == (0.5, 1)
    assert result.bins[7].multi_label_accuracy == 0


def test_confident_and_correct_predictions_have_no_error() -> None:
    result = calibrated([(1, 1.0)] * 5)

    assert (result.top1_error, result.multi_label_error) == (0, 0)


def test_probabilities_that_are_not_finite_are_skipped() -> None:
    whole = calibrated([(1, 0.9), (8, math.nan), (4, 0.2), (1, math.nan), (1, math.inf), (1, -math.inf)])

    assert whole == calibrated([(1, 0.9), (4, 0.2)])


@pytest.mark.parametrize("samples", [[], [(1, math.nan), (8, math.nan)]])
def test_calibration_without_probabilities_has_no_values(samples: list[tuple[int, float]]) -> None:
    result = calibrated(samples)

    assert (result.top1_error, result.multi_label_error) == (None, None)
    assert len(result.bins) == BINS
    for bin_ in result.bins:
        numbers = (bin_.num_samples, bin_.confidence, bin_.top1_accuracy, bin_.multi_label_accuracy)
        assert numbers == (0, None, None, None)


@max_examples(100)
@given(st.lists(st.tuples(st.integers(1, 8), INSIDE_OF_BINS), min_size=1, max_size=60))
def test_half_precision_probabilities_are_accumulated_in_double_precision(samples: list[tuple[int, float]]) -> None:
    assert calibrated(samples, np.float16) == calibrated(samples)


def test_large_sum_of_half_precision_numbers_is_exact() -> None:
    # 0.9 as float16 is 0.89990234375; a sum in float16 would be inf from 65,520 on, and stuck long before
    result = calibrated([(1, 0.9)] * 80_000, np.float16)

    assert result.bins[13].confidence == pytest.approx(0.89990234375)
    assert result.top1_error == pytest.approx(1 - 0.89990234375)


def test_probability_just_above_a_bound_is_in_the_next_bin() -> None:
    probability = np.nextafter(11 / 15, 1)
    bins = calibrate(np.array([1], np.uint8), np.array([probability])).bins
    (bin_with_sample,) = [bin_ for bin_ in bins if bin_.num_samples]
    assert bin_with_sample.low < probability <= bin_with_sample.high


def test_rejected_targets_separate_top1_correctness_from_types() -> None:
    types, probability = np.array([8, 3, 1], np.uint8), np.array([0.5, 0.5, 0.5])

    result = calibrate(types, probability, np.array([True, False, False]))

    (bin_,) = [item for item in result.bins if item.num_samples]
    assert bin_.top1_accuracy == pytest.approx(1 / 3)
    assert bin_.multi_label_accuracy == pytest.approx(2 / 3)
