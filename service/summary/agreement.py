"""Agreement of verdicts with experts: precision, recall, and Cohen's kappa (spec: "agreement with experts")."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from service.domain import (
    MULTI_LABEL_ERROR_TYPES,
    SEVERE_TYPES,
    Agreement,
    ErrorType,
    ExpertJudgment,
    ExpertSeverity,
    TypeAgreement,
    is_among,
)


def measure_agreement(
    types: NDArray[np.uint8], judgments: Sequence[ExpertJudgment], abstained: Sequence[ErrorType]
) -> Agreement:
    """Compare verdicts with the judgments of experts.

    Args:
        types: (J,) IDs of the error types of the judged predictions.
        judgments: (J,) the judgments of these predictions.
        abstained: The types whose rules had no evidence.

    Returns:
        The agreement.
    """
    causes = np.array([judgment.cause.id for judgment in judgments], dtype=np.uint8)
    is_major = np.array([judgment.severity is ExpertSeverity.MAJOR for judgment in judgments], dtype=bool)
    is_severe = is_among(types, SEVERE_TYPES)
    explained = is_among(types, MULTI_LABEL_ERROR_TYPES) & ~is_severe
    own, theirs = _one_cause(types)[explained], _one_cause(causes)[explained]
    agree_in_severity = is_severe == is_major
    return Agreement(
        num_pairs=len(types),
        num_explained=int(explained.sum()),
        num_cause_agreed=int((own == theirs).sum()),
        cause_kappa=cohens_kappa(own, theirs),
        num_severity_agreed=int(agree_in_severity.sum()),
        severity_kappa=cohens_kappa(is_severe, is_major),
        types={
            error_type: _type_agreement(types == error_type.id, causes == error_type.id, agree_in_severity)
            for error_type in MULTI_LABEL_ERROR_TYPES
        },
        abstained=tuple(abstained),
    )


def cohens_kappa(first: NDArray[np.generic], second: NDArray[np.generic]) -> float | None:
    """Return Cohen's kappa of two classifications of n items, (n,) each; None if n = 0 or the chance agreement is 1."""
    if not len(first):
        return None
    values = np.union1d(first, second)
    chance = sum(float((first == value).mean() * (second == value).mean()) for value in values)
    return None if chance == 1 else (float((first == second).mean()) - chance) / (1 - chance)


def _type_agreement(
    own: NDArray[np.bool_], theirs: NDArray[np.bool_], agree_in_severity: NDArray[np.bool_]
) -> TypeAgreement:
    is_constant = not own.any() or not theirs.any()
    return TypeAgreement(
        num_judged=int(own.sum()),
        num_experts=int(theirs.sum()),
        num_agreed=int((own & theirs).sum()),
        kappa=None if is_constant else cohens_kappa(own, theirs),
        num_severity_agreed=int((own & agree_in_severity).sum()),
    )


def _one_cause(types: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return IDs in which the two fine-grained types are one; see `Agreement`."""
    return np.where(types == ErrorType.FINE_GRAINED_OOV.id, np.uint8(ErrorType.FINE_GRAINED.id), types)
