"""The verdict table: one byte for every (sample, class), so that a model is judged by one gather.

bits 0-3  error type, 1 to 8
bits 4-6  first tag of a problematic sample: 0 none, 1 EMPTY_CORRECT, 2 EMPTY_CORRECT_BY_OVERLAP, 3 EMPTY_WRONG,
          4 CORRECT_BUT_WRONG_LABEL
bit 7     stopped at the target: OOV_SIMILAR_TO_TARGET where the type is 5, CO_OCCURRENCE_WITH_TARGET where it is 6

Whether a row is problematic stands once for the row. A sample without a prediction has byte 0 when judged.
"""

import numpy as np
from numpy.typing import NDArray

from service.domain import NUM_CLASSES, Bytes, Classes, ErrorType, ProblematicTag

TYPE_BITS = 0x0F
TAG_BITS = 0x70
TAG_SHIFT = 4
STOPPED_AT_TARGET = 0x80


def with_first_tag(verdicts: Bytes, tags: Bytes) -> Bytes:
    """Return the bytes with their first tag written in, any shape."""
    return verdicts | (tags << np.uint8(TAG_SHIFT))


def judge(table: Bytes, top1: Classes) -> Bytes:
    """Return the verdict of each sample's prediction, shape (N,): `table` is (N, C), -1 in `top1` gives 0."""
    rows = np.arange(len(top1), dtype=np.int64) * NUM_CLASSES
    verdicts = np.take(table.reshape(-1), rows + np.maximum(top1, 0))
    return np.where(top1 < 0, np.uint8(0), verdicts)


def error_types(verdicts: Bytes) -> Bytes:
    """Return the error type of each byte."""
    return verdicts & np.uint8(TYPE_BITS)


def error_type(verdict: int) -> ErrorType:
    """Return the error type of one byte."""
    return ErrorType(verdict & TYPE_BITS)


def tags(verdict: int, problematic: bool) -> tuple[ProblematicTag, ...]:
    """Return the tags of one byte in the order in which they were given; empty for a sample that isn't problematic."""
    if not problematic:
        return ()
    first = ProblematicTag((verdict & TAG_BITS) >> TAG_SHIFT)
    result = [first] if first else []
    if verdict & STOPPED_AT_TARGET:
        at_target = {
            ErrorType.FINE_GRAINED_OOV: ProblematicTag.OOV_SIMILAR_TO_TARGET,
            ErrorType.SPURIOUS_CORRELATION: ProblematicTag.CO_OCCURRENCE_WITH_TARGET,
        }
        result.append(at_target[ErrorType(verdict & TYPE_BITS)])
    return tuple(result) or (ProblematicTag.UNTAGGED,)


def counts(verdicts: Bytes) -> NDArray[np.int64]:
    """Return how many verdicts of each type there are, shape (9,); [0] counts samples without a prediction."""
    return np.bincount(error_types(verdicts), minlength=len(ErrorType))
