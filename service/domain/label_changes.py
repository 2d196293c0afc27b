"""Counts of the changes of labels between a bundle and its base."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LabelChangeCounts:
    """Numbers of changes. Except for `not_evaluated`, they count only images that both bundles evaluate."""

    changed: int  # images whose labels changed, or that are set aside or no longer set aside
    added: int  # labels
    removed: int  # labels
    set_aside: int  # images
    restored: int  # images that are no longer set aside
    not_evaluated: int  # images that only the base evaluates
