"""Label spaces of any number of classes, for the tests of uploads and models."""

import functools
import json
from collections.abc import Sequence

from service.domain import LabelSpace, parse_class_lines


@functools.cache
def label_space(num_classes: int) -> LabelSpace:
    """Return classes `id-N` with the name `name N` and the synonym `synonym N`."""
    return label_space_of([(f"id-{number}", f"name {number}", f"synonym {number}") for number in range(num_classes)])


def label_space_of(classes: Sequence[Sequence[str]]) -> LabelSpace:
    """Return a label space called `own`; each class is its ID, its name, and its synonyms."""
    return parse_class_lines("own", [json.dumps([*texts]) for texts in classes])
