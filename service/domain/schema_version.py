"""Kept: what is read from a record that another version may have written.

A record has a schema's number. A field that is added, with a default, leaves the number as it is: older versions read
over it, newer ones do without. What older versions would misunderstand gets the next number, and they refuse it.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
from errata.errors import NewerRecord

from service.domain.evidence import NUM_CLASSES, Predictions


def known_fields(kind: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that a record of this kind has a field for."""
    return {field.name: values[field.name] for field in fields(kind) if field.name in values}


def check_schema(what: str, found: object, newest: int) -> None:
    """Raise NewerRecord for a schema that comes after the newest known one, ValueError for what is none."""
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise ValueError(f"{what}: expected schema {newest}, got {found!r:.40}")
    if found > newest:
        raise NewerRecord(
            f"{what}: expected schema {newest} at most, got {found}: a newer version of Errata wrote it, and reads it"
        )


def checked_predictions(predictions: Predictions) -> Predictions:
    """Return predictions as they were kept; raise ValueError for arrays of another form."""
    top1 = predictions.top1
    if top1.ndim != 1 or top1.dtype != np.int16 or (top1.size and not -1 <= top1.min() <= top1.max() < NUM_CLASSES):
        raise ValueError(f"expected top1 (A,) int16 from -1 to {NUM_CLASSES - 1}, got {top1.dtype} {top1.shape}")
    for array, kind in ((predictions.probability, np.float16), (predictions.top1_restricted, np.int16)):
        if array is not None and (array.shape != top1.shape or array.dtype != kind):
            raise ValueError(f"expected (A,) {np.dtype(kind)} beside top1, got {array.dtype} {array.shape}")
    return predictions
