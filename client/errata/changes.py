"""Changes in a comparison: of error types, superclasses, and classes."""

from collections.abc import Iterator
from dataclasses import dataclass

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
    class_index: int | None = None  # of a class


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
        index = row.class_index if row.HasField("class_index") else None
        yield Change(row.display_name, row.num_samples, row.fixed, row.broken, row.errors, row.test, index)
