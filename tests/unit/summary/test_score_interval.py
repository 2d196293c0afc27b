"""Tango's score interval against a published example, a numeric inversion of the score test, and a simulation."""

import numpy as np
import pytest
from example_counts import max_examples
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import norm

from service.summary.score_interval import ONE_SIDED_95, score_intervals


def test_interval_agrees_with_a_published_example() -> None:
    """Airway hyper-responsiveness before and after stem cell transplantation: 21 pairs, 7 and 1 discordant.

    Fagerland, Lydersen, and Laake, "Recommended tests and confidence intervals for paired binomial proportions",
    Statistics in Medicine 33 (2014).
    """
    low, high = score_intervals(21, 7, 1)

    assert (float(low), float(high)) == pytest.approx((-0.517, -0.026), abs=0.0005)


def score(samples: float, only_a: float, only_b: float, difference: float) -> float:
    """Return the score statistic of a difference, with the constrained maximum found numerically."""
    least, most = max(0.0, -difference), (1 - difference) / 2

    def loss(share_a: float) -> float:
        shares = np.array([share_a, share_a + difference, 1 - 2 * share_a - difference])
        counts = np.array([only_a, only_b, samples - only_a - only_b])
        return -float((counts[counts > 0] * np.log(np.maximum(shares[counts > 0], 1e-300))).sum())

    share_a = minimize_scalar(loss, bounds=(least, most), method="bounded", options={"xatol": 1e-12}).x
    variance = samples * (2 * share_a + difference - difference**2)
    return (only_b - only_a - samples * difference) / float(np.sqrt(variance))


@max_examples(60)
@given(st.data())
def test_interval_inverts_the_score_test(data: st.DataObject) -> None:
    samples = data.draw(st.integers(2, 400))
    only_a = data.draw(st.integers(0, samples - 1))
    only_b = data.draw(st.integers(0, samples - 1 - only_a))
    estimate, quantile = (only_b - only_a) / samples, norm.ppf(0.975)

    low, high = score_intervals(samples, only_a, only_b)

    expected = (
        brentq(lambda difference: score(samples, only_a, only_b, difference) - quantile, -1 + 1e-9, estimate - 1e-9),
        brentq(lambda difference: score(samples, only_a, only_b, difference) + quantile, estimate + 1e-9, 1 - 1e-9),
    )
    assert (float(low), float(high)) == pytest.approx(expected, abs=1e-4)


@max_examples(200)
@given(st.data())
def test_interval_contains_the_estimate_and_is_symmetric(data: st.DataObject) -> None:
    samples = data.draw(st.integers(1, 2000))
    only_a = data.draw(st.integers(0, samples))
    only_b = data.draw(st.integers(0, samples - only_a))

    low, high = score_intervals(samples, only_a, only_b)
    mirrored_low, mirrored_high = score_intervals(samples, only_b, only_a)

    assert -1 <= low <= (only_b - only_a) / samples + 1e-9 and (only_b - only_a) / samples - 1e-9 <= high <= 1
    assert low < high
    assert (float(low), float(high)) == pytest.approx((-float(mirrored_high), -float(mirrored_low)), abs=1e-12)


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 1), (1, 0), (0, 0)])
def test_interval_of_one_image_is_wide(only_a: int, only_b: int) -> None:
    low, high = score_intervals(1, only_a, only_b)

    assert high - low > 1


def test_counts_can_be_arrays() -> None:
    rows = np.array([(44, 1, 0), (21, 7, 1), (1, 0, 1), (18_692, 2000, 2100)])

    low, high = score_intervals(*rows.T)

    expected = [score_intervals(*row) for row in rows.tolist()]
    np.testing.assert_allclose(np.stack([low, high], axis=1), expected)


@pytest.mark.parametrize(("samples", "share_a", "share_b"), [(100, 0.03, 0.03), (200, 0.1, 0.05), (1000, 0.02, 0.03)])
def test_one_sided_limits_cover_95_percent(samples: int, share_a: float, share_b: float) -> None:
    shares = [share_a, share_b, 1 - share_a - share_b]
    only_a, only_b, _ = np.random.default_rng(17).multinomial(samples, shares, size=4000).T

    low, high = score_intervals(np.full(4000, samples), only_a, only_b, ONE_SIDED_95)

    assert (low <= share_b - share_a).mean() == pytest.approx(0.95, abs=0.02)
    assert (share_b - share_a <= high).mean() == pytest.approx(0.95, abs=0.02)
