"""Select the images of a comparison by change, class, and superclass."""

from dataclasses import replace

import numpy as np

from service.analyses.changes import change_mask
from service.analyses.class_names import find_class
from service.analyses.compare import align_verdicts, changed_images, check_comparable, pair_sides, to_side
from service.analyses.judge import JudgedAnalysis
from service.analyses.verdicts import superclass_mask
from service.domain import BROKEN, FIXED, ChangeQuery, ImageChanges, SelectedImages
from service.summary.compare import count_transitions


def compare_images(a: JudgedAnalysis, b: JudgedAnalysis, query: ChangeQuery, max_images: int) -> ImageChanges:
    """Select the images of a comparison; each selection contains at most `max_images` images.

    Raises:
        InvalidRequest: The query has an unknown change, class, or superclass.
        NotComparable: The analyses differ in data set or evidence.
    """
    check_comparable(a.analysis, b.analysis)
    label_space = a.bundle.label_space
    first, second = align_verdicts(to_side(a).verdicts, to_side(b).verdicts)
    pair = pair_sides(first, second)
    selected = pair.counted
    if query.class_id:
        index = find_class(query.class_id, "class", label_space)
        query = replace(query, class_id=label_space.ids[index])
        selected = selected & (pair.targets == index)
    if query.superclass:
        selected = selected & superclass_mask(a.bundle, query.superclass, "superclass")[pair.targets]
    if query.change:
        selected = selected & change_mask(query.change, pair.types_a, pair.types_b)
    selections = []
    for change in [query.change] if query.change else [BROKEN, FIXED]:
        mask = selected & change_mask(change, pair.types_a, pair.types_b)
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
