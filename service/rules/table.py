"""The verdict table: one byte per (sample, class). One array lookup then returns the verdicts of a model.

bits 0-3  ID of the error type
bits 4-6  first tag of a problematic sample: 0 none, 1 EMPTY_CORRECT, 2 EMPTY_CORRECT_BY_OVERLAP, 3 EMPTY_WRONG,
          4 CORRECT_BUT_WRONG_LABEL
bit 7     decided by an additional rule of problematic samples, which compares the prediction with the target:
          OOV_SIMILAR_TO_TARGET for FINE_GRAINED_OOV, CO_OCCURRENCE_WITH_TARGET for SPURIOUS_CORRELATION

A separate mask marks problematic samples. The verdict of a sample without a prediction is 0.
"""

import numpy as np
from numpy.typing import NDArray

from service.domain import NUM_IDS, Bytes, Classes, ErrorType, ProblematicTag

TYPE_BITS = 0x0F
TAG_BITS = 0x70
TAG_SHIFT = 4
STOPPED_AT_TARGET = 0x80


def add_first_tags(verdicts: Bytes, tags: Bytes) -> Bytes:
    """Return verdicts with their first tags, any shape."""
    return verdicts | (tags << np.uint8(TAG_SHIFT))


def judge(table: Bytes, rows: NDArray[np.intp], top1: Classes) -> Bytes:
    """Return the verdict of each prediction.

    Args:
        table: (N, C) verdict table.
        rows: (K,) samples.
        top1: (K,) predicted class of each of these samples, less than C; negative: no predicted class.

    Returns:
        (K,) verdicts; 0 without a predicted class.
    """
    positions = rows * table.shape[1]
    positions += top1
    verdicts: Bytes = table.reshape(-1).take(positions, mode="wrap")  # does not check each position
    verdicts[top1 < 0] = 0
    return verdicts


def error_types(verdicts: Bytes) -> Bytes:
    """Return the ID of the error type of each verdict."""
    return verdicts & np.uint8(TYPE_BITS)


def error_type(verdict: int) -> ErrorType:
    """Return the error type of one verdict."""
    return ErrorType(verdict & TYPE_BITS)


def tags(verdict: int, problematic: bool) -> tuple[ProblematicTag, ...]:
    """Return the tags of one verdict, the first tag first; empty if the sample is not problematic."""
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
    """Count the verdicts of each type by its ID, shape (NUM_IDS,). Element 0 counts samples without a prediction."""
    return np.bincount(error_types(verdicts), minlength=NUM_IDS)
