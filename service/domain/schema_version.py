"""Schema versions of stored records. Another version of Errata may have written a record.

A new field with a default value does not change the schema number: older versions ignore the field, and newer versions
use the default if the field is missing. A change that older versions would misinterpret increments the schema number,
so that older versions refuse the record.
"""

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

import numpy as np
from errata.errors import NewerRecord

from service.domain.answers import NO_CLASS
from service.domain.evidence import Predictions
from service.domain.label_space import MAX_CLASSES

FIRST_YEAR, LAST_YEAR = 1970, 9998


def known_fields(kind: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return those values whose names are fields of a dataclass."""
    return {field.name: values[field.name] for field in fields(kind) if field.name in values}


def check_schema(record: str, schema: object, newest: int) -> None:
    """Check that this version can read the schema of a record.

    Args:
        record: Description of the record, for messages.
        schema: Schema number of the record.
        newest: Newest schema number that this version knows.

    Raises:
        NewerRecord: If the schema is newer.
        ValueError: If the schema is not a positive integer.
    """
    if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
        raise ValueError(f"{record}: expected schema {newest}, got {schema!r:.40}")
    if schema > newest:
        raise NewerRecord(
            f"{record}: a newer version of Errata wrote this record (schema {schema}; this version reads up to "
            f"{newest}). Upgrade Errata to read it."
        )


def check_time(time: datetime) -> None:
    """Raise ValueError for a time without a zone, or in a year in which it cannot be converted to all zones."""
    if time.tzinfo is None or not FIRST_YEAR <= time.year <= LAST_YEAR:
        raise ValueError(f"expected a time from {FIRST_YEAR} to {LAST_YEAR} with a time zone, got {time}")


def checked_predictions(predictions: Predictions) -> Predictions:
    """Return stored predictions; raise ValueError if the shape or type of an array is wrong.

    This function does not check whether the data set has the predicted classes. The evaluation checks that.
    """
    top1 = predictions.top1
    if (
        top1.ndim != 1
        or top1.dtype != np.int16
        or (top1.size and not NO_CLASS <= top1.min() <= top1.max() < MAX_CLASSES)
    ):
        raise ValueError(
            f"expected top1 (A,) int16 from {NO_CLASS} to {MAX_CLASSES - 1}, got {top1.dtype} {top1.shape}"
        )
    optional = (
        (predictions.probability, np.float16),
        (predictions.top1_restricted, np.int16),
        (predictions.subset, np.bool_),
    )
    for array, kind in optional:
        if array is not None and (array.shape != top1.shape or array.dtype != kind):
            raise ValueError(f"expected (A,) {np.dtype(kind)} beside top1, got {array.dtype} {array.shape}")
    return predictions
