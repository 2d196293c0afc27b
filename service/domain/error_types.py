"""Error types in arrays of stored verdicts, which contain the ID of each type.

IDs are in no particular order. Positions follow the order of the rules.

An array with one element for each possible ID is a lookup table: `POSITIONS[types]`.
"""

from collections.abc import Iterable

import numpy as np
from errata.error_types import ERROR_TYPES, MAX_ID, ErrorType
from numpy.typing import NDArray

NUM_IDS = 1 + max(error_type.id for error_type in ERROR_TYPES)  # length of counts by ID
NO_TYPE = 0  # ID of a sample without a prediction
IDS = np.array([error_type.id for error_type in ERROR_TYPES], dtype=np.uint8)  # (T,) in the order of the rules
POSITIONS: NDArray[np.int64] = np.full(MAX_ID + 1, -1, dtype=np.int64)  # in the order of the rules; -1: no type
POSITIONS[IDS] = np.arange(len(IDS))


def is_among(types: NDArray[np.uint8], among: Iterable[ErrorType]) -> NDArray[np.bool_]:
    """Return whether each ID belongs to one of the given error types. IDs can have any shape."""
    mask = np.zeros(MAX_ID + 1, dtype=bool)
    mask[[error_type.id for error_type in among]] = True
    result: NDArray[np.bool_] = mask[types]
    return result
