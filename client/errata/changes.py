"""Changes in a comparison: `Change` for error types, classes, and superclasses, and the multi-label accuracy."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import nan

from errata import v1 as pb
from errata.errors import InvalidRequest

KINDS = ("error_type", "superclass", "class")


@dataclass(frozen=True)
class Change:
    """The samples that have a property in only one of the analyses A and B.

    The property is an error type, or an error in a class or superclass.
    """

    name: str
    num_samples: int
    only_a: int
    only_b: int
    share: pb.Interval  # share of the samples with the property
    test: pb.AdjustedTest


def changes_of(group: pb.GroupComparison, kind: str) -> Iterator[Change]:
    """Yield the changes in a group, the smallest adjusted p-value first.

    Args:
        group: The changes in one group.
        kind: One of KINDS.

    Raises:
        InvalidRequest: If the kind is unknown.
    """
    if kind not in KINDS:
        raise InvalidRequest(f"Unknown kind of changes {kind!r:.80}. Use one of: {', '.join(KINDS)}.", field="by")
    if kind == "error_type":
        for change in group.type_changes:
            yield Change(change.error_type, group.num_samples, change.only_a, change.only_b, change.share, change.test)
        return
    for row in group.classes if kind == "class" else group.superclasses:
        yield Change(row.display_name, row.num_samples, row.fixed, row.broken, row.errors, row.test)


def class_accuracy(group: pb.GroupComparison) -> pb.Interval | None:
    """Return the multi-label accuracies as class means; None without samples.

    Without an interval, its limits are NaN.
    """
    if group.HasField("multi_label_accuracy"):
        return group.multi_label_accuracy
    if not group.HasField("multi_label_accuracy_a"):
        return None
    a, b = group.multi_label_accuracy_a, group.multi_label_accuracy_b
    return pb.Interval(a=a, b=b, difference=b - a, low=nan, high=nan)
