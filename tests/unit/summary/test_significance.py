"""The bootstraps against ones that draw image by image."""

import numpy as np
import pytest
from example_counts import max_examples
from hypothesis import given
from hypothesis import strategies as st

from service.summary.significance import (
    difference_distribution,
    percentiles,
    resampled_cells,
    resampled_class_means,
)

DRAWS = 2000  # spec/statistics
NEAR = 0.3  # standard deviations; two quantiles of 2,000 draws each differ by 0.09 of them at random


def signs(size: int, only_a: int, only_b: int) -> np.ndarray:
    """Return a number for each image: 1 if it is true only in A, -1 if only in B, otherwise 0."""
    return np.repeat([1, -1, 0], [only_a, only_b, size - only_a - only_b])


def drawn_image_by_image(images: np.ndarray, seed: int) -> np.ndarray:
    """Return the means of resamples with replacement."""
    generator = np.random.default_rng(seed)
    return np.array([images[generator.integers(0, len(images), len(images))].mean() for _ in range(DRAWS)])


def agree(actual: np.ndarray, expected: np.ndarray, step: float = 0) -> None:
    """Compare two samples of one distribution, of numbers that are so far apart: mean, spread and quantiles."""
    spread = expected.std()
    assert actual.shape == expected.shape
    assert actual.mean() == pytest.approx(expected.mean(), abs=0.15 * spread)
    assert actual.std() == pytest.approx(spread, rel=0.08)
    for percent in (2.5, 25, 50, 75, 97.5):
        assert np.percentile(actual, percent) == pytest.approx(
            np.percentile(expected, percent), abs=NEAR * spread + step
        )


def test_interval_excludes_2_5_percent_at_both_ends() -> None:
    shuffled = np.random.default_rng(5).permutation(2001).astype(float)

    low, high = percentiles(np.stack([shuffled, -2 * shuffled], axis=1))

    assert low == pytest.approx([50, -3900])
    assert high == pytest.approx([1950, -100])


TABLE = np.random.default_rng(11).integers(0, 12, (8, 8)) + np.diag([150, 3, 9, 40, 20, 5, 0, 60])


def test_resampled_cells_agree_with_resampled_images() -> None:
    images = np.repeat(np.arange(64), TABLE.ravel())
    generator = np.random.default_rng(99)
    slow = np.array(
        [
            np.bincount(images[generator.integers(0, len(images), len(images))], minlength=64)  # resampled images
            for _ in range(DRAWS)
        ]
    )

    cells = resampled_cells(TABLE)

    for weights in (
        np.subtract.outer(np.arange(8) == 0, np.arange(8) == 0, dtype=float),  # top-1
        np.subtract.outer(np.arange(8) < 3, np.arange(8) < 3, dtype=float),  # multi-label
        np.subtract.outer(np.arange(8) == 7, np.arange(8) == 7, dtype=float),  # severe
    ):
        agree(cells @ weights.ravel() / len(images), slow @ weights.ravel() / len(images))
    for cell in (0, 9, 27, 63):
        agree(cells[:, cell].astype(float), slow[:, cell].astype(float), step=1)


def test_drawn_cells_have_the_moments_of_a_multinomial() -> None:
    total, shares = TABLE.sum(), TABLE.ravel() / TABLE.sum()

    cells = resampled_cells(TABLE)

    assert cells.shape == (DRAWS, 64)
    assert set(cells.sum(axis=1)) == {total}
    spread = np.sqrt(total * shares * (1 - shares))
    assert np.all(np.abs(cells.mean(axis=0) - TABLE.ravel()) <= 5 * spread / DRAWS**0.5)
    together = np.cov(cells[:, 0], cells[:, 63])[0, 1]  # -n p q
    assert together == pytest.approx(-total * shares[0] * shares[63], abs=5 * spread[0] * spread[63] / DRAWS**0.5)


def test_empty_cells_are_never_drawn() -> None:
    table = np.zeros((8, 8), dtype=np.int64)
    table[0, 0], table[7, 0] = 30, 10

    cells = resampled_cells(table)

    assert set(np.flatnonzero(cells.any(axis=0))) == {0, 56}
    assert not resampled_cells(np.zeros((8, 8), dtype=np.int64)).any()


def test_draws_are_2000_of_a_multinomial_with_seed_0() -> None:
    expected = np.random.default_rng(0).multinomial(TABLE.sum(), TABLE.ravel() / TABLE.sum(), size=DRAWS)

    np.testing.assert_array_equal(resampled_cells(TABLE), expected)


# samples, only in A, only in B; some classes have equal counts, some have no differences, one is small
CLASSES = np.array([[20, 3, 1], [20, 3, 1], [20, 3, 1], [50, 0, 9], [7, 2, 2], [1, 1, 0], [33, 0, 0], [20, 1, 3]])


def pooled_variance(rows: list[list[int]]) -> float:
    """Return the variance of an image within its class, from classes of at least two images."""
    classes = [signs(*row) for row in rows if row[0] > 1]
    squares = sum(((images - images.mean()) ** 2).sum() for images in classes)
    return float(squares / sum(len(images) - 1 for images in classes))


def corrected(row: list[int], seed: int) -> np.ndarray:
    """Return means of a resampled class with the variance of the mean of its images (docs/adr/0055)."""
    images, size = signs(*row), row[0]
    if size == 1:
        spread = pooled_variance(CLASSES.tolist()) ** 0.5
        return images.mean() + np.random.default_rng(seed).normal(0, spread, DRAWS)
    return images.mean() + (size / (size - 1)) ** 0.5 * (drawn_image_by_image(images, seed) - images.mean())


def class_means(classes: np.ndarray) -> np.ndarray:
    drawn = resampled_class_means(*classes.T)
    assert drawn is not None
    return drawn


def test_resampled_class_means_agree_with_images_resampled_within_classes() -> None:
    per_class = [corrected(row, seed) for seed, row in enumerate(CLASSES.tolist(), 70)]

    agree(class_means(CLASSES), np.mean(per_class, axis=0))


def test_class_means_have_the_spread_of_independent_classes() -> None:
    """The variance of the mean of n images is estimated with n - 1."""
    rows = CLASSES.tolist()
    variances = [signs(*row).var(ddof=1) / row[0] if row[0] > 1 else pooled_variance(rows) for row in rows]
    spread = sum(variances) ** 0.5 / len(CLASSES)

    drawn = class_means(CLASSES)

    assert drawn.shape == (DRAWS,)
    assert drawn.std() == pytest.approx(spread, rel=0.08)
    assert drawn.mean() == pytest.approx(np.mean([signs(*row).mean() for row in CLASSES.tolist()]), abs=0.1 * spread)


def test_classes_with_equal_counts_are_independent() -> None:
    alike = np.tile([50, 8, 2], (400, 1))

    drawn = class_means(alike)

    assert drawn.mean() == pytest.approx(6 / 50, abs=0.001)
    assert drawn.std() == pytest.approx((signs(50, 8, 2).var(ddof=1) / 50 / 400) ** 0.5, rel=0.08)


def test_classes_with_two_images_have_twice_the_resampled_variance() -> None:
    pairs = np.tile([2, 1, 0], (300, 1))

    drawn = class_means(pairs)

    assert drawn.std() == pytest.approx((0.5 / 2 / 300) ** 0.5, rel=0.08)  # variance of one image: 0.5


@pytest.mark.parametrize("size", [2, 10])
def test_class_with_one_image_has_the_variance_of_other_classes(size: int) -> None:
    single = np.array([[1, 0, 1]] * 60 + [[size, size // 2, 0]] * 2)
    variance = 2 * size * 0.25 / (2 * (size - 1))  # pooled over the degrees of freedom of two classes

    drawn = class_means(single)

    assert drawn.mean() == pytest.approx((-60 + 2 * 0.5) / 62, abs=0.005)
    assert drawn.std() == pytest.approx(((60 + 2 / size) * variance) ** 0.5 / 62, rel=0.08)


@pytest.mark.parametrize(
    ("rows", "has_interval"),
    [
        ([[2, 0, 0]] + [[1, 1, 0]] * 10 + [[1, 0, 0]] * 88, False),
        ([[2, 2, 0]] + [[1, 1, 0]] * 10 + [[1, 0, 0]] * 88, False),
        ([[2, 2, 0]] + [[2, 0, 0]] * 49, False),
        ([[2, 1, 0]] + [[2, 2, 0]] * 49, True),
        ([[2, 0, 0]] + [[1, 0, 0]] * 98, True),
    ],
)
def test_an_observed_change_has_no_interval_of_width_0(rows: list[list[int]], has_interval: bool) -> None:
    """With 88 of 98 classes unchanged, the interval was from -10.1 to -10.1 points."""
    assert (resampled_class_means(*np.array(rows).T) is not None) is has_interval


@pytest.mark.parametrize("number", [0, 1, 30])
def test_classes_with_one_image_alone_have_no_interval(number: int) -> None:
    ones = np.ones(number, dtype=np.int64)

    assert resampled_class_means(ones, ones, 0 * ones) is None


def convolved(size: int, pairs: list[tuple[int, int]], times: list[int]) -> tuple[int, np.ndarray]:
    """Return the least possible difference and the probabilities from there on, by adding one image at a time."""
    result = np.ones(1)
    for (only_a, only_b), count in zip(pairs, times, strict=True):
        for _ in range(size * count):
            result = np.convolve(result, [only_b / size, 1 - (only_a + only_b) / size, only_a / size])
    return -(len(result) // 2), result


@max_examples(100)
@given(st.data())
def test_difference_distribution_agrees_with_a_convolution(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 50))
    row = st.integers(0, size).flatmap(lambda only_a: st.tuples(st.just(only_a), st.integers(0, size - only_a)))
    pairs = data.draw(st.lists(row, min_size=1, max_size=4))
    times = data.draw(st.lists(st.integers(1, 3), min_size=len(pairs), max_size=len(pairs)))
    least, probabilities = convolved(size, pairs, times)

    offset, cumulative = difference_distribution(size, np.array(pairs), np.array(times))

    for difference in range(least - 2, -least + 3):
        expected = probabilities[: max(0, difference - least + 1)].sum()
        place = difference - offset
        actual = 0.0 if place < 0 else cumulative[min(place, len(cumulative) - 1)]
        assert actual == pytest.approx(expected, abs=1e-12)
    assert np.all(np.diff(cumulative) >= 0)
    assert cumulative[-1] == 1


def test_interval_without_differences_is_zero() -> None:
    np.testing.assert_array_equal(class_means(np.array([[1, 0, 0], [50, 0, 0], [900, 0, 0]])), np.zeros(DRAWS))


def test_empty_input_has_empty_intervals() -> None:
    none = np.zeros(0, dtype=np.int64)

    assert resampled_class_means(none, none, none) is None


def test_draws_do_not_depend_on_earlier_draws() -> None:
    first = resampled_cells(TABLE), class_means(CLASSES)
    np.random.default_rng().random(10)
    again = resampled_cells(TABLE), class_means(CLASSES)

    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)
