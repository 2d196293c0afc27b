"""Resource names, enum values, and maps keyed by error types."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from errata.error_types import find_error_type
from errata.errors import InvalidRequest
from errata.names import (
    ANALYSES,
    CLASSES,
    DATASETS,
    EVIDENCE,
    IMAGES,
    REVIEWS,
    VERDICTS,
    dataset_id,
    evidence_id,
    split_child,
)
from google.protobuf.message import Message

from service.analyses.class_names import class_named
from service.analyses.request import missing_dataset
from service.domain import ERROR_TYPES, ErrorType, LabelSpace

Number = TypeVar("Number", int, float)

MAX_ID = 64  # characters


def is_id(text: str) -> bool:
    """Return whether a text can be the ID of an analysis."""
    return text.isascii() and text.isalnum() and len(text) <= MAX_ID


def analysis_name(analysis_id: str) -> str:
    """Return the resource name of an analysis."""
    return ANALYSES + analysis_id


def analysis_id(name: str, field: str = "name") -> str:
    """Return the ID of an analysis.

    Args:
        name: `analyses/ID` or the ID.
        field: The field of the request, for the error.

    Raises:
        InvalidRequest: The name has another form.
    """
    identifier = name.removeprefix(ANALYSES)
    if not is_id(identifier):
        raise InvalidRequest(
            f"Invalid analysis name {name!r:.80}. Use {ANALYSES}ID or the ID. 'errata list' shows the IDs of all "
            "analyses with their display names.",
            field=field,
        )
    return identifier


def verdict_ids(name: str) -> tuple[str, str]:
    """Return the analysis ID and the file name in the name of a verdict; raise InvalidRequest for another form."""
    analysis, file_name = split_child(name, VERDICTS, "analyses/ID/verdicts/FILE_NAME")
    return analysis_id(analysis), file_name


def required_dataset(name: str, field: str = "name") -> str:
    """Return the ID of a data set from its name or ID; raise InvalidRequest if it is empty."""
    identifier = dataset_id(name)
    if not identifier:
        raise missing_dataset(field)
    return identifier


def evidence_ids(name: str, field: str = "name") -> tuple[str, str]:
    """Return the data set and the digest prefix in the name of a bundle; raise InvalidRequest for another form."""
    form = "datasets/DATASET/evidence/DIGEST, where `default` means the default bundle"
    dataset, identifier = split_child(name, EVIDENCE, form, field)
    return required_dataset(dataset, field), evidence_id(identifier)


def class_ids(name: str) -> tuple[str, str, str]:
    """Return the data set, the digest prefix of the bundle, and the text that identifies a class of the bundle."""
    evidence, text = split_child(name, CLASSES, "datasets/DATASET/evidence/DIGEST/classes/INDEX")
    return *evidence_ids(evidence), text


def image_ids(name: str, field: str = "name") -> tuple[str, str]:
    """Return the data set and the file name of an image."""
    dataset, file_name = split_child(name, IMAGES, "datasets/DATASET/images/FILE_NAME", field)
    return required_dataset(dataset, field), file_name


def review_ids(name: str, field: str = "name") -> tuple[str, str, str]:
    """Return the data set, the file name of the image, and the ID of a review."""
    image, review = split_child(name, REVIEWS, "datasets/DATASET/images/FILE_NAME/reviews/REVIEW", field)
    return *image_ids(image, field), review


def evidence_of(dataset: str, name: str, field: str = "evidence") -> str:
    """Return the digest prefix of a bundle of a data set.

    Args:
        dataset: The ID of the data set; empty: any data set.
        name: The name, the digest, or its first digits; empty: the default bundle.
        field: The field of the request, for the error.

    Raises:
        InvalidRequest: The bundle belongs to another data set.
    """
    if name.startswith(DATASETS) and dataset and evidence_ids(name, field)[0] != dataset:
        raise InvalidRequest(
            f"The bundle {name!r:.120} is not of the data set {dataset!r:.80}. Name a bundle of this data set.",
            field=field,
        )
    return evidence_id(name)


def optional_class(text: str, field: str, label_space: LabelSpace) -> int | None:
    """Return the class that a text identifies, as `class_named` does; None for an empty text."""
    return class_named(text, field, label_space) if text else None


def check_enum(enum: Any, value: int, field: str) -> None:
    """Raise InvalidRequest if a value is not in an enumeration of the protos."""
    if value not in enum.values():
        name = enum.DESCRIPTOR.name
        raise InvalidRequest(f"Unknown {name} {value}. Expected a value of the enum.", field=field)


def enum_of(enum: Any, value: int, field: str) -> Any:
    """Return the member of an enumeration; raise InvalidRequest for an unknown value."""
    try:
        return enum(value)
    except ValueError as error:
        raise InvalidRequest(
            f"Unknown {field} {value}. Use a value of the enum {enum.__name__}.", field=field
        ) from error


def error_type_of(key: str, field: str) -> ErrorType:
    """Return the error type of a name in the API; raise InvalidRequest for an unknown name."""
    error_type = find_error_type(key)
    if error_type is None:
        raise InvalidRequest(
            f"Unknown error type {key!r:.80}. Expected one of: {', '.join(known.key for known in ERROR_TYPES)}.",
            field=field,
        )
    return error_type


def by_key(values: Mapping[ErrorType, Number]) -> dict[str, Number]:
    """Replace error types by their names in the API."""
    return {error_type.key: value for error_type, value in values.items()}


def from_keys(values: Mapping[str, Number], required: Sequence[ErrorType] = ()) -> dict[ErrorType, Number]:
    """Replace names in the API by error types; raise InvalidRequest for an unknown name or a missing required type."""
    missing = [error_type.key for error_type in required if error_type.key not in values]
    if missing:
        raise InvalidRequest(
            f"The values of {', '.join(missing)} are missing. Include every error type.", field="counts"
        )
    return {error_type_of(key, "counts"): value for key, value in values.items()}


def optional(message: Message, field: str) -> Any:
    """Return the value of a field, or None if it is not set."""
    return getattr(message, field) if message.HasField(field) else None


def to_class_index(predicted: int) -> int:
    """Return the index of a predicted class; -1 for an answer without a class."""
    return max(predicted, -1)
