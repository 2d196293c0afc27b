"""Agreement with experts: counts by hand, and Cohen's kappa of its definition."""

import numpy as np
import pytest

from service.domain import ErrorType, ExpertJudgment, ExpertSeverity
from service.summary.agreement import cohens_kappa, measure_agreement

FINE, OOV, SPURIOUS, FAILURE = (
    ErrorType.FINE_GRAINED,
    ErrorType.FINE_GRAINED_OOV,
    ErrorType.SPURIOUS_CORRELATION,
    ErrorType.MODEL_FAILURE,
)
MINOR, MAJOR = ExpertSeverity.MINOR, ExpertSeverity.MAJOR
PAIRS = [  # verdict, experts' cause, experts' severity
    (FINE, FINE, MINOR),
    (FINE, OOV, MINOR),
    (FINE, SPURIOUS, MAJOR),
    (SPURIOUS, SPURIOUS, ExpertSeverity.BORDERLINE),
    (SPURIOUS, FINE, MAJOR),
    (FAILURE, SPURIOUS, MAJOR),
    (FAILURE, FINE, MINOR),
    (ErrorType.MULTI_LABEL, FINE, MINOR),
]


def measured() -> tuple[np.ndarray, list[ExpertJudgment]]:
    types = np.array([verdict.id for verdict, _, _ in PAIRS], dtype=np.uint8)
    return types, [ExpertJudgment(cause, severity) for _, cause, severity in PAIRS]


def test_agreement_about_causes_counts_explained_errors_and_one_fine_grained_cause() -> None:
    result = measure_agreement(*measured(), (OOV,))

    assert (result.num_pairs, result.num_explained, result.num_cause_agreed) == (8, 5, 3)
    assert result.cause_kappa == pytest.approx((3 / 5 - (3 * 3 + 2 * 2) / 25) / (1 - (3 * 3 + 2 * 2) / 25))
    assert result.abstained == (OOV,)


def test_agreement_about_severity_compares_severe_with_major() -> None:
    result = measure_agreement(*measured(), ())

    assert result.num_severity_agreed == 5  # severe and major: 1; neither: 4
    chance = (2 * 3 + 6 * 5) / 64
    assert result.severity_kappa == pytest.approx((5 / 8 - chance) / (1 - chance))


def test_each_type_has_its_precision_recall_and_kappa() -> None:
    types = measure_agreement(*measured(), ()).types

    spurious = types[SPURIOUS]
    assert (spurious.num_judged, spurious.num_experts, spurious.num_agreed) == (2, 3, 1)
    assert (spurious.precision, spurious.recall) == (1 / 2, 1 / 3)
    chance = (2 * 3 + 6 * 5) / 64
    assert spurious.kappa == pytest.approx((5 / 8 - chance) / (1 - chance))
    assert spurious.num_severity_agreed == 1
    assert [error_type.id for error_type in types] == [4, 5, 6, 7, 8]


def test_missing_sides_have_no_rates() -> None:
    types = measure_agreement(*measured(), ()).types

    assert types[OOV].precision is None  # no verdict
    assert types[OOV].kappa is None
    assert types[FAILURE].recall is None  # experts always name a cause
    assert types[FAILURE].num_severity_agreed == 1


@pytest.mark.parametrize(
    ("first", "second", "kappa"),
    [
        ([1, 1, 2, 2], [1, 1, 2, 2], 1),
        ([1, 1, 2, 2], [2, 2, 1, 1], -1),
        ([1, 1, 2, 2], [1, 2, 1, 2], 0),
        ([1] * 45 + [2] * 15 + [1] * 25 + [2] * 15, [1] * 60 + [2] * 40, 0.1304),  # Cohen 1960, two raters
        ([1, 1], [1, 1], None),
        ([], [], None),
    ],
)
def test_cohens_kappa(first: list[int], second: list[int], kappa: float | None) -> None:
    result = cohens_kappa(np.array(first), np.array(second))

    assert result == (None if kappa is None else pytest.approx(kappa, abs=5e-5))
