"""The order of the errors of a report."""

from pathlib import Path
from typing import cast

import numpy as np
from example_counts import max_examples
from hypothesis import given
from hypothesis import strategies as st
from unit.evidence.small_label_space import own_inputs

from service.analyses.error_table import ReportKind, error_table, sort_by_severity
from service.analyses.explain import explain_prediction
from service.analyses.judge import JudgedAnalysis, compute_verdicts
from service.analyses.ports import Ports
from service.domain import ERROR_TYPES, TOP1_ERROR_TYPES, Analysis, CoOccurrence, Predictions
from service.evidence.build import write_bundle
from service.evidence.bundle import open_bundle
from service.report.error_table import ClassPair

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


def test_the_examples_of_a_pair_of_classes_are_the_images_with_both(tmp_path: Path) -> None:
    """A bundle has places for three examples, and the pair occurs in two images."""
    write_bundle(own_inputs(), tmp_path / "bundle")
    bundle = open_bundle(tmp_path / "bundle")
    predictions = Predictions(np.full(len(bundle.all_targets), 6, dtype=np.int16))
    judged = JudgedAnalysis(cast(Analysis, None), bundle, predictions, compute_verdicts(bundle, predictions))
    examples = ("кадр_7.jpg", "кадр_8.jpg")

    table = error_table(cast(Ports, None), judged, np.array([1]), ReportKind.FILE)
    verdict = explain_prediction(bundle, "кадр_1.jpg", 6)

    assert table.pairs == {(2, 6): ClassPair(2, examples)}
    assert verdict.evidence is not None
    assert verdict.evidence.co_occurrences == (CoOccurrence(2, 2, examples),)
