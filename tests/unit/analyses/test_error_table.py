"""The order of the errors of a report."""

import numpy as np
from example_counts import max_examples
from hypothesis import given
from hypothesis import strategies as st

from service.analyses.error_table import sort_by_severity
from service.domain import ERROR_TYPES, TOP1_ERROR_TYPES

SAMPLES = st.lists(
    st.tuples(st.sampled_from(ERROR_TYPES), st.booleans(), st.sampled_from([0.0, 0.25, 0.5, float("nan")])), max_size=12
)


@max_examples(200)
@given(SAMPLES, st.booleans())
def test_errors_are_sorted_by_severity_and_confidence(samples: list[tuple], has_probabilities: bool) -> None:
    """A slow sort by problematic images, the order of the rules, confidence, and the order of the images."""
    types = np.array([error_type.id for error_type, _, _ in samples], dtype=np.uint8)
    problematic = np.array([is_problematic for _, is_problematic, _ in samples], dtype=bool)
    probability = np.array([value for _, _, value in samples]) if has_probabilities else None

    rows = sort_by_severity(types, problematic, probability).tolist()

    def key(row: int) -> tuple[bool, int, float, int]:
        error_type, is_problematic, value = samples[row]
        confidence = value if has_probabilities and value == value else 0.0
        return is_problematic, -ERROR_TYPES.index(error_type), -confidence, row

    errors = [row for row, (error_type, _, _) in enumerate(samples) if error_type in TOP1_ERROR_TYPES]
    assert rows == sorted(errors, key=key)
