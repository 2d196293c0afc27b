"""The aggregates of one analysis, per group, over samples that aren't problematic (spec: "Aggregates")."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from service.domain import (
    CLASS_GROUPS,
    ERROR_TYPES,
    NUM_CLASSES,
    NUM_STRATA,
    SET_ASIDE,
    Bytes,
    Classes,
    ErrorType,
    Group,
    GroupSummary,
    Mask,
    Predictions,
    Summary,
)

NUM_TYPES = len(ErrorType)  # with UNSPECIFIED: a sample without a prediction
CORRECT_TYPES = (ErrorType.CORRECT, ErrorType.CLASS_OVERLAP, ErrorType.MULTI_LABEL)
MINOR_TYPES = (ErrorType.FINE_GRAINED, ErrorType.FINE_GRAINED_OOV)
EXPLAINABLE_TYPES = (ErrorType.SPURIOUS_CORRELATION, ErrorType.NON_PROTOTYPICAL)
TOP1_ERROR_TYPES = ERROR_TYPES[1:]
MULTI_LABEL_ERROR_TYPES = ERROR_TYPES[3:]


def summarize(
    types: Bytes,
    strata: NDArray[np.int64],
    abstained: tuple[ErrorType, ...],
    predictions: Predictions,
    all_targets: Classes,
    imagenet_m: Mask | None = None,
) -> Summary:
    """Return the summary of N verdicts.

    types, strata (domain.strata), imagenet_m: (N,); predictions and all_targets: the A images of the data set.
    Samples whose type is 0 have no prediction and count nowhere.
    """
    tally = tally_types(types, strata)
    predicted = predictions.top1 >= 0
    complete = bool(len(predicted)) and bool(predicted.all())
    return Summary(
        groups={group: summarize_group(by_class) for group, by_class in tables_by_group(tally).items()},
        abstained=abstained,
        num_problematic=int(tally[SET_ASIDE].sum()),
        num_images=len(all_targets),
        num_predicted=int(predicted.sum()),
        top1_accuracy_all_images=float((predictions.top1 == all_targets).mean()) if complete else None,
        imagenet_m_errors=None if imagenet_m is None else _errors_among(types, strata, imagenet_m),
    )


def tally_types(types: Bytes, strata: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many samples of each stratum and target class got each type, (9, C, 9), in one pass; type 0 is 0."""
    keys = strata * NUM_TYPES + types
    tally = np.bincount(keys, minlength=NUM_STRATA * NUM_CLASSES * NUM_TYPES)
    tally = tally.reshape(NUM_STRATA, NUM_CLASSES, NUM_TYPES)
    tally[:, :, ErrorType.UNSPECIFIED] = 0
    return tally


def tables_by_group(tally: NDArray[np.int64]) -> dict[Group, NDArray[np.int64]]:
    """Return how many samples of each target class got each type, (C, 9), for each group."""
    tables = {Group.ALL: tally[:SET_ASIDE].sum(axis=0)}
    for place, group in enumerate(CLASS_GROUPS):
        tables[group] = tally[[each for each in range(SET_ASIDE) if each >> place & 1]].sum(axis=0)
    return tables


def summarize_group(by_class: NDArray[np.int64]) -> GroupSummary:
    """Return the aggregates of one group from its (C, 9) table of target classes and types."""
    totals = by_class.sum(axis=0)
    counts = {error_type: int(totals[error_type]) for error_type in ERROR_TYPES}
    num_samples = int(totals.sum())
    top1_errors = sum(counts[each] for each in TOP1_ERROR_TYPES)
    summary = GroupSummary(
        num_samples=num_samples,
        counts=counts,
        top1_errors=top1_errors,
        top1_accuracy=counts[ErrorType.CORRECT] / num_samples if num_samples else None,
        multi_label_accuracy=mean_share(by_class, CORRECT_TYPES),
        multi_label_accuracy_forgiving_minor=mean_share(by_class, CORRECT_TYPES + MINOR_TYPES),
        multi_label_accuracy_forgiving_explainable=mean_share(
            by_class, CORRECT_TYPES + MINOR_TYPES + EXPLAINABLE_TYPES
        ),
        portions_of_top1_errors=_portions(counts, TOP1_ERROR_TYPES),
        portions_of_multi_label_errors=_portions(counts, MULTI_LABEL_ERROR_TYPES),
    )
    balance(summary)
    return summary


def mean_share(by_class: NDArray[np.int64], accepted: tuple[ErrorType, ...]) -> float | None:
    """Return the mean, over target classes with samples, of the share of samples with an accepted type."""
    samples = by_class.sum(axis=1)
    present = samples > 0
    if not present.any():
        return None
    return float((by_class[present][:, list(accepted)].sum(axis=1) / samples[present]).mean())


def balance(summary: GroupSummary) -> None:
    """Check that the books balance: samples = correct + top-1 errors = the sum of all types."""
    correct, total = summary.counts[ErrorType.CORRECT], sum(summary.counts.values())
    assert summary.num_samples == correct + summary.top1_errors == total, (
        f"this is a bug: {summary.num_samples} samples, {correct} correct, "
        f"{summary.top1_errors} errors, {total} verdicts"
    )


def _errors_among(types: Bytes, strata: NDArray[np.int64], samples: Mask) -> int:
    counted = samples & (strata < SET_ASIDE * NUM_CLASSES)
    return int((types[counted] >= ErrorType.FINE_GRAINED).sum())


def _portions(counts: Mapping[ErrorType, int], types: tuple[ErrorType, ...]) -> Mapping[ErrorType, float]:
    total = sum(counts[each] for each in types)
    return {each: counts[each] / total for each in types} if total else {}
