"""Aggregates over evaluated samples and McNemar's test. Slow by intention, and written from the specification only.

A rate without samples, or a share without errors, is None.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import comb

from oracle.verdicts import Sample, Verdict

ALL_TYPES = range(1, 9)
TOP1_ERRORS = range(2, 9)
MULTI_LABEL_ERRORS = range(4, 9)

MULTI_LABEL_CORRECT = {1, 2, 3}
FORGIVING_MINOR = {1, 2, 3, 4, 5}
FORGIVING_EXPLAINABLE = {1, 2, 3, 4, 5, 6, 7}


@dataclass(frozen=True)
class Aggregates:
    num_samples: int
    counts: dict[int, int]  # type 1..8 -> number
    top1_errors: int
    top1_accuracy: float | None
    mla: float | None
    mla_minor: float | None
    mla_explainable: float | None
    portions_top1: dict[int, float | None]  # type 2..8 -> share of verdicts 2 to 8
    portions_multi_label: dict[int, float | None]  # type 4..8 -> share of the multi-label errors
    accuracy_against_labels: float | None
    image_level_mla: float | None


def counted_rows(samples: list[Sample], group: set[int] | None) -> list[int]:
    """Return the rows that are not problematic and that have a multi-label in the group, if there is one."""
    rows: list[int] = []
    for row, sample in enumerate(samples):
        if sample.problematic:
            continue
        if group is None or any(label in group for label in sample.multi_labels):
            rows.append(row)
    return rows


def share(part: int, whole: int) -> float | None:
    return None if whole == 0 else part / whole


def mean_over_target_classes(
    samples: list[Sample], verdicts: list[Verdict], rows: list[int], types: set[int]
) -> float | None:
    """Return the mean, over the target classes with rows, of the share of their rows with these types.

    With a rejected target, the class of a row is its first label.
    """
    rows_of_class: dict[int, list[int]] = {}
    for row in rows:
        rows_of_class.setdefault(samples[row].e, []).append(row)
    if not rows_of_class:
        return None
    total = Fraction(0)  # exact, so the order of the classes has no effect
    for class_rows in rows_of_class.values():
        hits = sum(1 for row in class_rows if verdicts[row].error_type in types)
        total += Fraction(hits, len(class_rows))
    return float(total / len(rows_of_class))


def aggregate(
    samples: list[Sample], predictions: list[int], verdicts: list[Verdict], group: set[int] | None
) -> Aggregates:
    if not len(samples) == len(predictions) == len(verdicts):
        raise ValueError("samples, predictions, and verdicts must have the same length")
    rows = counted_rows(samples, group)
    counts = {k: sum(1 for row in rows if verdicts[row].error_type == k) for k in ALL_TYPES}
    # count top-1 errors from the predictions, so that the check of the sums is independent of the verdicts
    top1_errors = sum(1 for row in rows if predictions[row] != samples[row].target)
    errors = sum(counts[k] for k in TOP1_ERRORS)
    has_rejected_targets = any(samples[row].is_rejected for row in rows)
    if len(rows) != counts[1] + errors or (top1_errors != errors and not has_rejected_targets):
        raise ValueError("the verdicts do not add up")
    multi_label_errors = sum(counts[k] for k in MULTI_LABEL_ERRORS)
    return Aggregates(
        num_samples=len(rows),
        counts=counts,
        top1_errors=top1_errors,
        top1_accuracy=share(len(rows) - top1_errors, len(rows)),
        mla=mean_over_target_classes(samples, verdicts, rows, MULTI_LABEL_CORRECT),
        mla_minor=mean_over_target_classes(samples, verdicts, rows, FORGIVING_MINOR),
        mla_explainable=mean_over_target_classes(samples, verdicts, rows, FORGIVING_EXPLAINABLE),
        portions_top1={k: share(counts[k], errors) for k in TOP1_ERRORS},
        portions_multi_label={k: share(counts[k], multi_label_errors) for k in MULTI_LABEL_ERRORS},
        accuracy_against_labels=share(sum(predictions[row] in samples[row].multi_labels for row in rows), len(rows)),
        image_level_mla=share(sum(counts[k] for k in MULTI_LABEL_CORRECT), len(rows)),
    )


def imagenet_m_errors(
    rows: set[int], samples: list[Sample], verdicts: list[Verdict], group: set[int] | None = None
) -> int:
    """Count verdicts 4 to 8 among the rows of ImageNet-M that are not problematic."""
    counted = [row for row in counted_rows(samples, group) if row in rows]
    return sum(1 for row in counted if verdicts[row].error_type in MULTI_LABEL_ERRORS)


def gain_if_fixed_top1(
    samples: list[Sample], verdicts: list[Verdict], group: set[int] | None = None
) -> dict[int, float | None]:
    """Return counts[k] / n, k = 2 to 8; nothing if the labels of the data set reject targets."""
    rows = counted_rows(samples, group)
    gains: dict[int, float | None] = {}
    if any(samples[row].is_rejected for row in counted_rows(samples, None)):
        return dict.fromkeys(TOP1_ERRORS)
    for k in TOP1_ERRORS:
        gains[k] = share(sum(1 for row in rows if verdicts[row].error_type == k), len(rows))
    return gains


def gain_if_fixed_mla(
    samples: list[Sample],
    verdicts: list[Verdict],
    group: set[int] | None = None,
    superclass: set[int] | None = None,
) -> dict[int, float | None]:
    """Return the mean over target classes of (verdicts k) / (samples), k = 4 to 8; 0 for 2 and 3.

    For a superclass, over the samples with a target in it, so the mean is over its target classes.
    """
    rows = counted_rows(samples, group)
    if superclass is not None:
        rows = [row for row in rows if samples[row].e in superclass]
    gains: dict[int, float | None] = {}
    for k in TOP1_ERRORS:
        if k in MULTI_LABEL_ERRORS:
            gains[k] = mean_over_target_classes(samples, verdicts, rows, {k})
        else:
            gains[k] = 0.0 if rows else None
    return gains


def mcnemar(b: int, c: int) -> float:
    """Return min(1, 2 · P(Binomial(b + c, 1/2) ≤ min(b, c))), 1 if b + c = 0."""
    n = b + c
    if n == 0:
        return 1.0
    tail = sum(comb(n, i) for i in range(min(b, c) + 1))
    return float(min(Fraction(1), Fraction(2 * tail, 2**n)))
