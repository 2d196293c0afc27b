"""Select the images of a comparison by transition, class, and superclass."""

import numpy as np
from errata.errors import InvalidRequest

from service.analyses.compare import align_verdicts, changed_images, check_comparable, pair_sides, to_side
from service.analyses.judge import JudgedAnalysis
from service.domain import (
    BROKEN,
    ERROR_TYPES,
    FIXED,
    ChangeQuery,
    ErrorType,
    ImageChanges,
    LabelSpace,
    Mask,
    SelectedImages,
)
from service.summary.compare import Pair, count_transitions

_MAX_SHOWN = 80  # characters of a value in a message


def compare_images(a: JudgedAnalysis, b: JudgedAnalysis, query: ChangeQuery, max_images: int) -> ImageChanges:
    """Select the images of a comparison; each selection contains at most `max_images` images.

    Raises:
        InvalidRequest: The query has an unknown change, class, or superclass.
        NotComparable: The analyses differ in data set or evidence.
    """
    check_comparable(a.analysis, b.analysis)
    changes = [query.change] if query.change else [BROKEN, FIXED]
    types = {change: _parse_change(change) for change in changes}
    label_space = a.bundle.label_space
    classes = _select_classes(label_space, query)
    first, second = align_verdicts(to_side(a).verdicts, to_side(b).verdicts)
    pair = pair_sides(first, second)
    selected = pair.counted & classes[pair.targets]
    selections = []
    for change in changes:
        mask = selected & _has_change(pair, change, types[change])
        severity = pair.types_b if change == BROKEN else pair.types_a
        images = changed_images(first, second, pair, (mask, severity), max_images)
        selections.append(SelectedImages(change, int(mask.sum()), images))
    changed = np.unique(pair.targets[pair.fixed | pair.broken]).tolist()
    return ImageChanges(
        query,
        count_transitions(pair, selected),
        tuple(selections),
        tuple(label_space.ids[index] for index in changed),
    )


def _parse_change(change: str) -> tuple[ErrorType, ErrorType] | None:
    """Return the error types of a transition; None for fixed and broken images."""
    if change in (FIXED, BROKEN):
        return None
    types = {error_type.key: error_type for error_type in ERROR_TYPES}
    in_a, _, in_b = change.partition(":")
    if in_a not in types or in_b not in types:
        raise InvalidRequest(
            f"Unknown change {change!r:.{_MAX_SHOWN}}. Expected 'fixed', 'broken', or two error types such as "
            f"'{ErrorType.CORRECT.key}:{ErrorType.MODEL_FAILURE.key}'. The error types are {', '.join(types)}.",
            field="change",
        )
    return types[in_a], types[in_b]


def _has_change(pair: Pair, change: str, types: tuple[ErrorType, ErrorType] | None) -> Mask:
    if types is None:
        return pair.fixed if change == FIXED else pair.broken
    in_a, in_b = types
    mask: Mask = (pair.types_a == in_a.id) & (pair.types_b == in_b.id)
    return mask


def _select_classes(label_space: LabelSpace, query: ChangeQuery) -> Mask:
    """Return the classes that meet the conditions of a query, (C,)."""
    selected = np.ones(label_space.num_classes, dtype=bool)
    if query.class_id:
        if query.class_id not in label_space.ids:
            raise InvalidRequest(
                f"Unknown class {query.class_id!r:.{_MAX_SHOWN}}. Expected the ID of a class of the data set, such as "
                f"{label_space.ids[0]!r:.{_MAX_SHOWN}}.",
                field="class",
            )
        selected &= np.arange(label_space.num_classes) == label_space.ids.index(query.class_id)
    if query.superclass:
        members = label_space.superclasses.mask(query.superclass)
        if members is None:
            raise InvalidRequest(
                f"Unknown superclass {query.superclass!r:.{_MAX_SHOWN}}. Expected a superclass of the data set, such "
                f"as {label_space.superclasses.ids[0]!r:.{_MAX_SHOWN}}.",
                field="superclass",
            )
        selected &= members
    return selected
