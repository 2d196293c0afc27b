"""Fisher's exact test, compared with scipy."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats

from service.summary.fisher import fisher_exact

sizes = st.integers(1, 400)


@st.composite
def tables(draw: st.DrawFn) -> tuple[tuple[int, int], tuple[int, int]]:
    first, second = draw(sizes), draw(sizes)
    return (draw(st.integers(0, first)), first), (draw(st.integers(0, second)), second)


@given(tables())
@example(((1, 7), (7, 9)))  # rounding makes the probabilities of two equally probable tables differ
def test_p_values_equal_those_of_scipy(table: tuple[tuple[int, int], tuple[int, int]]) -> None:
    (hits, size), (other_hits, other_size) = table
    expected = stats.fisher_exact([[hits, size - hits], [other_hits, other_size - other_hits]]).pvalue

    assert fisher_exact(*table) == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_p_value_of_a_large_data_set() -> None:
    """ImageNet-X: 37.1 % of 1,355 images with smaller objects are errors, and 19.4 % of the 41,670 others."""
    expected = stats.fisher_exact([[503, 852], [8084, 33586]]).pvalue

    assert fisher_exact((503, 1355), (8084, 41670)) == pytest.approx(expected, rel=1e-6)
