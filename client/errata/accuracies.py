"""Accuracies of the analyses A and B in a comparison."""

from math import nan

from errata import v1 as pb


def find_class_accuracy(group: pb.GroupComparison) -> pb.Interval | None:
    """Return the multi-label accuracies as class means; None without samples.

    Without an interval, its limits are NaN.
    """
    if group.HasField("multi_label_accuracy"):
        return group.multi_label_accuracy
    if not group.HasField("multi_label_accuracy_a"):
        return None
    a, b = group.multi_label_accuracy_a, group.multi_label_accuracy_b
    return pb.Interval(a=a, b=b, difference=b - a, low=nan, high=nan)
