"""Aggregates of an analysis per group, over samples that are not problematic (spec: "Aggregates").

Each aggregate is a weighted sum over samples. The weight is 1 in counts, and 1 / (target classes * samples of the
class) in multi-label accuracies. One histogram per model is therefore enough.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.domain import (
    ALL,
    CORRECT_TYPES,
    ERROR_TYPES,
    MULTI_LABEL_ERROR_TYPES,
    NO_PREDICTION,
    NO_TYPE,
    NUM_IDS,
    TOP1_ERROR_TYPES,
    Bytes,
    Classes,
    ErrorType,
    GroupSummary,
    Mask,
    Predictions,
    Severity,
    Strata,
    Summary,
    is_among,
)

MINOR_TYPES, EXPLAINABLE_TYPES = (
    tuple(error_type for error_type in ERROR_TYPES if error_type.severity is severity)
    for severity in (Severity.MINOR, Severity.EXPLAINABLE)
)
_IDS, _CORRECT_IDS, _MINOR_IDS, _EXPLAINABLE_IDS = (
    np.array([error_type.id for error_type in types], dtype=np.intp)
    for types in (ERROR_TYPES, CORRECT_TYPES, MINOR_TYPES, EXPLAINABLE_TYPES)
)


@dataclass(frozen=True)
class SampleResults:
    """Results of one model on N evaluated samples."""

    types: Bytes  # (N,) ID of the error type; 0: no prediction
    is_target: Mask  # (N,) the prediction is the original label
    is_label: Mask  # (N,) the prediction is one of the labels
    rejected: Mask  # (N,) the labels reject the original label


@dataclass(frozen=True)
class Tally:
    """Verdict counts of one model. The first row counts all samples, each other row one group; columns are type IDs."""

    counts: NDArray[np.int64]  # (G + 1, NUM_IDS) number of samples
    class_shares: NDArray[np.float64]  # (G + 1, NUM_IDS) mean over target classes of the share of samples with the type
    problematic: int  # number of problematic samples, which count in no group


def tally_types(types: Bytes, strata: Strata) -> Tally:
    """Count the verdicts of N samples in one pass; types: (N,) ID of the error type of each sample."""
    num_strata = len(strata.problematic)
    keys = strata.sample_strata * NUM_IDS
    keys += types
    table = np.bincount(keys, minlength=num_strata * NUM_IDS).reshape(num_strata, NUM_IDS)
    counts, class_shares = np.tensordot(strata.weights, table, axes=1)  # (G + 1, NUM_IDS)
    return Tally(counts.astype(np.int64), class_shares, problematic=int(table[strata.problematic, 1:].sum()))


def summarize(
    results: SampleResults,
    strata: Strata,
    abstained: tuple[ErrorType, ...],
    predictions: Predictions,
    all_targets: Classes,
    imagenet_m: Mask | None = None,
) -> Summary:
    """Return the summary of an analysis.

    Args:
        results: Results on the N evaluated samples.
        strata: Strata of the N samples.
        abstained: Error types whose rules abstained.
        predictions: Predictions for the A images of the data set.
        all_targets: (A,) original labels.
        imagenet_m: (N,) samples of ImageNet-M; None: unknown. Errors on these samples are counted only if all of them
            have a prediction.
    """
    tally = tally_types(results.types, strata)
    num_rejected = int(np.count_nonzero(strata.members[0] & results.rejected))
    predicted = predictions.top1 != NO_PREDICTION
    num_predicted = int(np.count_nonzero(predicted))
    top1_restricted = predictions.top1_restricted
    is_complete = 0 < num_predicted == len(predicted)
    if imagenet_m is not None and (results.types[imagenet_m] == NO_TYPE).any():
        imagenet_m = None
    return Summary(
        groups=_groups(tally, results, strata, num_rejected),
        abstained=abstained,
        num_problematic=tally.problematic,
        num_images=len(all_targets),
        num_predicted=num_predicted,
        top1_accuracy_all_images=int(np.count_nonzero(predictions.top1 == all_targets)) / num_predicted
        if is_complete
        else None,
        top1_accuracy_among_classes=float((top1_restricted == all_targets)[predicted].mean())
        if top1_restricted is not None and num_predicted
        else None,
        imagenet_m_errors=None if imagenet_m is None else _errors_among(results.types, strata, imagenet_m),
        num_judged=len(results.types),
        num_rejected_targets=num_rejected,
    )


def _groups(tally: Tally, results: SampleResults, strata: Strata, num_rejected: int) -> dict[str, GroupSummary]:
    """Return the aggregates of each group, and check them."""
    groups, masks = {}, (results.is_target, results.is_label)
    for row, (group, member) in enumerate(zip((ALL, *strata.groups), strata.members, strict=True)):
        num_targets, num_labels = (int(np.count_nonzero(member & mask)) for mask in masks)
        groups[group] = _group(tally.counts[row], tally.class_shares[row], (num_targets, num_labels), num_rejected > 0)
        check_totals(groups[group], num_rejected > 0)
    return groups


def check_totals(summary: GroupSummary, has_rejected_targets: bool = False) -> None:
    """Assert that the type counts sum to the number of samples, and so do correct samples and top-1 errors.

    If targets are rejected, only the first condition is checked.
    """
    correct, total = summary.counts[ErrorType.CORRECT], sum(summary.counts.values())
    assert summary.num_samples == total, f"This is a bug: {summary.num_samples} samples, {total} verdicts"
    assert has_rejected_targets or total == correct + summary.top1_errors, (
        f"This is a bug: {total} samples, {correct} correct, {summary.top1_errors} errors"
    )


def _group(
    counts: NDArray[np.int64], class_shares: NDArray[np.float64], matches: tuple[int, int], has_rejected_targets: bool
) -> GroupSummary:
    """Return the aggregates of a group.

    Args:
        counts: (NUM_IDS,) row of the tally.
        class_shares: (NUM_IDS,) row of the tally.
        matches: Number of predictions that are the original label, and that are any label.
        has_rejected_targets: Whether the labels of the data set reject targets. If so, there are no gains in top-1
            accuracy, because their sum would not be the share of top-1 errors.
    """
    by_type = dict(zip(ERROR_TYPES, counts.take(_IDS).tolist(), strict=True))
    num_samples = int(counts.sum())
    correct, minor, explainable = (
        float(class_shares.take(ids).sum()) for ids in (_CORRECT_IDS, _MINOR_IDS, _EXPLAINABLE_IDS)
    )
    return GroupSummary(
        num_samples=num_samples,
        counts=by_type,
        top1_errors=num_samples - matches[0],
        top1_accuracy=matches[0] / num_samples if num_samples else None,
        multi_label_accuracy=min(correct, 1.0) if num_samples else None,
        multi_label_accuracy_forgiving_minor=min(correct + minor, 1.0) if num_samples else None,
        multi_label_accuracy_forgiving_explainable=min(correct + minor + explainable, 1.0) if num_samples else None,
        portions_of_top1_errors=_portions(by_type, TOP1_ERROR_TYPES),
        portions_of_multi_label_errors=_portions(by_type, MULTI_LABEL_ERROR_TYPES),
        gain_if_fixed_top1={error_type: by_type[error_type] / num_samples for error_type in TOP1_ERROR_TYPES}
        if num_samples and not has_rejected_targets
        else {},
        gain_if_fixed_multi_label=multi_label_gains(class_shares) if num_samples else {},
        accuracy_against_labels=matches[1] / num_samples if num_samples else None,
    )


def multi_label_gains(class_shares: NDArray[np.float64]) -> dict[ErrorType, float]:
    """Return the gain in multi-label accuracy of fixing each type, from class shares (NUM_IDS,); 0 if correct."""
    shares = class_shares.tolist()
    return {
        error_type: 0.0 if error_type in CORRECT_TYPES else shares[error_type.id] for error_type in TOP1_ERROR_TYPES
    }


def _errors_among(types: Bytes, strata: Strata, samples: Mask) -> int:
    counted = samples & strata.members[0]
    return int(is_among(types[counted], MULTI_LABEL_ERROR_TYPES).sum())


def _portions(counts: dict[ErrorType, int], types: tuple[ErrorType, ...]) -> dict[ErrorType, float]:
    total = sum(counts[error_type] for error_type in types)
    return {error_type: counts[error_type] / total for error_type in types} if total else {}
