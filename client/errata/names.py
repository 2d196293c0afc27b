"""Names of resources, such as `analyses/*/verdicts/*` and `datasets/*/evidence/*/classes/*`.

An ID is percent-encoded like a segment of a URL's path (RFC 3986, section 3.3).
"""

from collections.abc import Iterable
from itertools import pairwise
from urllib.parse import quote, unquote

from errata.errors import InvalidRequest
from errata.texts import surrogate_problem

ANALYSES, DATASETS, MODELS = "analyses/", "datasets/", "models/"
VERDICTS, EVIDENCE, CLASSES = "/verdicts/", "/evidence/", "/classes/"
IMAGES, REVIEWS = "/images/", "/reviews/"
DEFAULT_EVIDENCE = "default"  # ID of the default bundle of a data set, in requests
MIN_SHORT_ID = 8  # characters of the ID of an analysis; they encode the time of creation to 32 ms
_SEGMENT = "!$&'()*+,;=:@"  # characters besides letters, digits, and `-._~` that a segment can contain


def encode(identifier: str) -> str:
    """Return an ID as a segment of a resource name; raise InvalidRequest if it cannot be sent."""
    try:
        return quote(identifier, safe=_SEGMENT, errors="strict")  # `errors` makes bytes a TypeError
    except UnicodeEncodeError as error:
        raise InvalidRequest(surrogate_problem(identifier)) from error


def dataset_name(identifier: str) -> str:
    """Return the name of a data set from its name or ID."""
    return DATASETS + encode(dataset_id(identifier))


def dataset_id(name: str) -> str:
    """Return the ID of a data set from its name or ID."""
    return _id(name, DATASETS)


def model_name(identifier: str) -> str:
    """Return the name of a model from its name or ID."""
    return MODELS + encode(model_id(identifier))


def model_id(name: str) -> str:
    """Return the ID of a model from its name or ID, such as `timm:resnet50`."""
    return _id(name, MODELS)


def evidence_name(dataset: str, identifier: str) -> str:
    """Return the name of an evidence bundle.

    Args:
        dataset: Name or ID of the data set.
        identifier: The digest, its first digits, or the name of the bundle. Empty text means the default bundle.
    """
    return f"{dataset_name(dataset)}{EVIDENCE}{encode(evidence_id(identifier) or DEFAULT_EVIDENCE)}"


def evidence_id(name: str) -> str:
    """Return the ID of a bundle (its digest or the first digits) from its name or ID; empty for the default bundle."""
    identifier = unquote(name.rpartition(EVIDENCE)[2]) if name.startswith(DATASETS) else name
    return "" if identifier == DEFAULT_EVIDENCE else identifier


def class_name(evidence: str, identifier: int | str) -> str:
    """Return the name of a class.

    Args:
        evidence: Name of the evidence bundle.
        identifier: Index of the class. Requests also accept its ID, or a name that only one class has.
    """
    return f"{evidence}{CLASSES}{encode(str(identifier))}"


def verdict_name(analysis: str, file_name: str) -> str:
    """Return the name of the verdict on an image.

    Args:
        analysis: Name or ID of the analysis.
        file_name: File name of the image.
    """
    return f"{ANALYSES}{analysis.removeprefix(ANALYSES)}{VERDICTS}{encode(file_name)}"


def image_name(dataset: str, file_name: str) -> str:
    """Return the name of an image.

    Args:
        dataset: Name or ID of the data set.
        file_name: File name of the image.
    """
    return f"{dataset_name(dataset)}{IMAGES}{encode(file_name)}"


def review_name(dataset: str, file_name: str, identifier: str) -> str:
    """Return the name of a review.

    Args:
        dataset: Name or ID of the data set.
        file_name: File name of the image.
        identifier: ID of the review.
    """
    return f"{image_name(dataset, file_name)}{REVIEWS}{encode(identifier)}"


def split_child(name: str, collection: str, form: str, field: str = "name") -> tuple[str, str]:
    """Return the parent and the ID of a resource in a collection, such as `/verdicts/`.

    Args:
        name: The name of the resource.
        collection: The collection, with slashes.
        form: The form of names, for the error.
        field: The field of the request, for the error.

    Raises:
        InvalidRequest: The name has another form.
    """
    parent, separator, identifier = name.partition(collection)
    if not separator or not parent or not identifier or "/" in identifier:
        raise InvalidRequest(f"Invalid name {name!r:.120}. Use {form}.", field=field)
    return parent, unquote(identifier)


def _id(name: str, collection: str) -> str:
    return unquote(name.removeprefix(collection)) if name.startswith(collection) else name


def short_id_length(ids: Iterable[str]) -> int:
    """Return the length of the shortest prefixes, at least 8 characters, that distinguish the IDs of analyses."""
    length = MIN_SHORT_ID
    for first, second in pairwise(sorted(ids)):
        while first != second and first[:length] == second[:length]:
            length += 1
    return length
