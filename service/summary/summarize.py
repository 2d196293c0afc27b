"""The aggregates of one analysis, per group, over samples that aren't problematic (spec: "Aggregates")."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from service.domain import (
    CLASS_GROUPS,
    ERROR_TYPES,
    NUM_CLASSES,
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
    targets: Classes,
    problematic: Mask,
    groups: Mask,
    abstained: tuple[ErrorType, ...],
    predictions: Predictions,
    all_targets: Classes,
    imagenet_m: Mask | None = None,
) -> Summary:
    """Return the summary of N verdicts.

    types, targets, problematic, imagenet_m: (N,); groups: (3, N) in the order of CLASS_GROUPS; predictions and
    all_targets: the A images of the data set. Samples whose type is 0 have no prediction and count nowhere.
    """
    counted = ~problematic & (types != ErrorType.UNSPECIFIED)
    masks = {Group.ALL: counted} | {group: counted & row for group, row in zip(CLASS_GROUPS, groups, strict=True)}
    predicted = predictions.top1 >= 0
    complete = bool(len(predicted)) and bool(predicted.all())
    return Summary(
        groups={group: summarize_group(types[mask], targets[mask]) for group, mask in masks.items()},
        abstained=abstained,
        num_problematic=int((problematic & (types != ErrorType.UNSPECIFIED)).sum()),
        num_images=len(all_targets),
        num_predicted=int(predicted.sum()),
        top1_accuracy_all_images=float((predictions.top1 == all_targets).mean()) if complete else None,
        imagenet_m_errors=None
        if imagenet_m is None
        else int((types[imagenet_m & counted] >= ErrorType.FINE_GRAINED).sum()),
    )


def summarize_group(types: Bytes, targets: Classes) -> GroupSummary:
    """Return the aggregates of one group's samples, types and targets (n,)."""
    by_class = types_by_class(types, targets)
    totals = by_class.sum(axis=0)
    counts = {error_type: int(totals[error_type]) for error_type in ERROR_TYPES}
    num_samples = len(types)
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


def types_by_class(types: Bytes, targets: Classes) -> NDArray[np.int64]:
    """Return how many samples of each target class got each type, shape (C, 9)."""
    keys = targets.astype(np.int32) * NUM_TYPES + types
    return np.bincount(keys, minlength=NUM_CLASSES * NUM_TYPES).reshape(NUM_CLASSES, NUM_TYPES)


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


def _portions(counts: Mapping[ErrorType, int], types: tuple[ErrorType, ...]) -> Mapping[ErrorType, float]:
    total = sum(counts[each] for each in types)
    return {each: counts[each] / total for each in types} if total else {}
