"""McNemar's test against scipy and statsmodels, its adjustment against scipy, and its power against a simulation."""

from fractions import Fraction
from math import comb

import numpy as np
import pytest
from example_counts import max_examples
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest, false_discovery_control
from statsmodels.stats.contingency_tables import mcnemar as mcnemar_of_statsmodels

from service.summary.mcnemar import detectable_change, mcnemar
from service.summary.multiple_tests import adjust_p_values

SMALLEST = 1e-290  # p-values below lose digits to the range of floats


@max_examples(200)
@given(st.integers(0, 60), st.integers(0, 60))
def test_p_value_of_small_counts_agrees_with_scipy_and_statsmodels(only_a: int, only_b: int) -> None:
    actual = mcnemar(only_a, only_b)

    assert actual == pytest.approx(mcnemar_of_statsmodels([[7, only_a], [only_b, 9]], exact=True).pvalue, rel=1e-9)
    if only_a + only_b:
        assert actual == pytest.approx(binomtest(only_a, only_a + only_b).pvalue, rel=1e-9)


@max_examples(100)
@given(st.integers(0, 12_500), st.integers(0, 12_500))
def test_p_value_of_large_counts_agrees_with_scipy(only_a: int, only_b: int) -> None:
    expected = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0

    actual = mcnemar(only_a, only_b)

    if expected > SMALLEST:
        assert actual == pytest.approx(expected, rel=1e-8)
    else:  # scipy returns 0; integers are still exact
        total, fewer = only_a + only_b, min(only_a, only_b)
        term = tail = 1
        for number in range(1, fewer + 1):
            term = term * (total - number + 1) // number
            tail += term
        assert actual == pytest.approx(float(Fraction(2 * tail, 2**total)), rel=1e-6, abs=SMALLEST)


def test_tiny_p_value_is_accurate() -> None:
    tail = sum(comb(1075, number) for number in range(17))

    assert mcnemar(16, 1059) == pytest.approx(float(Fraction(2 * tail, 2**1075)), rel=1e-8)


@max_examples(100)
@given(st.integers(1_000, 25_000), st.floats(-6, 6))
def test_p_value_of_similar_large_counts_agrees_with_scipy(total: int, deviations: float) -> None:
    only_a = round(total / 2 + deviations * total**0.5 / 2)

    assert mcnemar(only_a, total - only_a) == pytest.approx(binomtest(only_a, total).pvalue, rel=1e-8)


@max_examples(100)
@given(st.integers(0, 25_000), st.integers(0, 25_000))
def test_p_value_is_a_probability_and_symmetric(only_a: int, only_b: int) -> None:
    assert mcnemar(only_a, only_b) == mcnemar(only_b, only_a)
    assert 0 <= mcnemar(only_a, only_b) <= 1


@pytest.mark.parametrize(
    ("only_a", "only_b", "expected"),
    [
        (0, 0, 1),
        (0, 1, 1),  # 2 * 1/2
        (1, 1, 1),
        (1, 2, 1),  # 2 * (1 + 3) / 8
        (0, 5, 2 / 32),
        (0, 6, 2 / 64),
        (1, 7, 2 * (1 + 8) / 256),
        (2, 8, 2 * (1 + 10 + 45) / 1024),
        (12_500, 12_500, 1),
        (0, 1_000, 2.0**-999),
    ],
)
def test_p_value_is_twice_the_binomial_tail(only_a: int, only_b: int, expected: float) -> None:
    assert mcnemar(only_a, only_b) == pytest.approx(expected, rel=1e-10)


def test_p_value_too_small_for_a_float_is_zero_without_a_warning() -> None:
    assert mcnemar(0, 25_000) == 0


def test_counts_can_be_numpy_integers() -> None:
    assert mcnemar(np.int64(3), np.int64(9)) == pytest.approx(binomtest(3, 12).pvalue)


def test_counts_can_be_arrays() -> None:
    only_a, only_b = np.array([[0, 3], [16, 40]]), np.array([[0, 9], [1059, 41]])

    expected = [[mcnemar(*pair) for pair in zip(*rows, strict=True)] for rows in zip(only_a, only_b, strict=True)]
    np.testing.assert_array_equal(mcnemar(only_a, only_b), expected)


@max_examples(200)
@given(st.lists(st.floats(0, 1), max_size=40))
def test_adjusted_p_values_agree_with_scipy(p_values: list[float]) -> None:
    actual = adjust_p_values(np.array(p_values))

    assert actual.tolist() == pytest.approx(false_discovery_control(p_values).tolist() if p_values else [])


def test_example_of_benjamini_and_hochberg_has_four_discoveries() -> None:
    """The 15 p-values of section 4 of the paper; at q = 0.05, it rejects the four smallest."""
    p_values = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528]
    shuffled = np.random.default_rng(3).permutation([*p_values, 0.7590, 1.0])

    assert sorted(shuffled[adjust_p_values(shuffled) <= 0.05]) == [0.0001, 0.0004, 0.0019, 0.0095]


def power(discordant: int, change: float, alpha: float) -> float:
    """Return the probability that the test is significant if the discordant samples have this mean net change."""
    split = np.arange(discordant + 1)
    significant = np.array([binomtest(int(number), discordant).pvalue < alpha for number in split])
    return float(binom.pmf(split, discordant, (1 + change / discordant) / 2)[significant].sum())


@pytest.mark.parametrize("alpha", [0.05, 0.01])
@pytest.mark.parametrize(("only_a", "only_b"), [(0, 8), (5, 9), (30, 40), (120, 80), (0, 10)])
def test_test_finds_the_detectable_change_with_80_percent_power(only_a: int, only_b: int, alpha: float) -> None:
    discordant = only_a + only_b

    change = detectable_change(1000, only_a, only_b, alpha)

    assert change is not None
    assert power(discordant, 1000 * change, alpha) == pytest.approx(0.8)
    assert power(discordant, 1000 * change - 0.01, alpha) < 0.8


def test_simulated_power_of_the_detectable_change_is_80_percent() -> None:
    change = detectable_change(2000, 60, 75)
    assert change is not None
    share_b = (1 + 2000 * change / 135) / 2

    only_b = np.random.default_rng(11).binomial(135, share_b, size=20_000)

    assert (mcnemar(135 - only_b, only_b) < 0.05).mean() == pytest.approx(0.8, abs=0.01)


def test_detectable_change_is_a_share_of_the_samples() -> None:
    small, large = detectable_change(500, 30, 40), detectable_change(5000, 30, 40)

    assert small is not None and large is not None
    assert small == pytest.approx(10 * large)
    assert detectable_change(500, 30, 40) == detectable_change(500, 70, 0)  # only the sum matters


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (1, 0), (2, 3)])
def test_no_change_is_detectable_if_no_split_is_significant(only_a: int, only_b: int) -> None:
    assert detectable_change(1000, only_a, only_b) is None  # 2 / 2**5 = 0.0625


def test_a_p_value_that_equals_the_significance_level_is_not_significant() -> None:
    assert detectable_change(1000, 2, 3, alpha=2 / 2**5) is None
    assert detectable_change(1000, 2, 3, alpha=0.063) is not None
