"""Validate the fields of a request, and compute its digest and the id of its analysis."""

import hashlib
import json
import secrets
from dataclasses import asdict
from datetime import datetime

from errata.errors import InvalidRequest

from service.analyses.policy import check_baseline, check_coverage, check_groups, parse_policy
from service.domain import REGISTRY_OWNER, AnalysisRequest
from service.evidence.bundle import Bundle

MAX_TEXT = 256  # characters of a name, a label, or a request ID
MAX_LABELS = 64
MAX_LABEL_BYTES = 16 << 10  # a page of analyses must fit into a message
HOOK_PREFIX = "hook:"  # prefix of the request IDs of registries
# Fields of a request that earlier versions do not have.
_LATER_FIELDS = "accept_implausible", "min_coverage", "subset", "answers_mapping"
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32, without letters that look alike


def missing_dataset(field: str) -> InvalidRequest:
    """Return the error of a request without a data set, with the field that should have it."""
    return InvalidRequest(f"The data set is missing. Set `{field}`; ListDatasets returns the names.", field=field)


def check_label_count(count: int, noun: str, field: str) -> None:
    """Raise InvalidRequest if an analysis or a filter, the `noun`, has too many labels."""
    if count > MAX_LABELS:
        raise InvalidRequest(f"The {noun} has {count} labels. Use at most {MAX_LABELS}.", field=field)


def check(request: AnalysisRequest, owner: str = "") -> None:
    """Raise InvalidRequest for a field that is missing or too long, or a request ID that is reserved for registries."""
    if request.request_id.startswith(HOOK_PREFIX) and not owner.startswith(REGISTRY_OWNER):
        raise InvalidRequest(
            f"Invalid request ID {request.request_id!r:.80}: the prefix {HOOK_PREFIX!r} is reserved for registries. "
            "Use another request ID.",
            field="request_id",
        )
    if not request.dataset:
        raise missing_dataset("dataset")
    check_label_count(len(request.labels), "analysis", "labels")
    check_coverage(request.min_coverage)
    texts = [
        ("dataset", request.dataset),
        ("display_name", request.display_name),
        ("evidence", request.evidence),
        ("request_id", request.request_id),
        *((f"labels[{key:.40}]", value) for key, value in request.labels.items()),
        *((f"labels key {key:.40}", key) for key in request.labels),
    ]
    for name, text in texts:
        if len(text) > MAX_TEXT:
            raise InvalidRequest(f"The field {name} has {len(text)} characters. Use at most {MAX_TEXT}.", field=name)
    if request.gate_policy:
        check_baseline(parse_policy(request.gate_policy), request.gate_baseline)
    elif request.gate_baseline:
        raise InvalidRequest("A gate baseline needs a gate policy. Pass both or neither.", field="gate_baseline")
    size = sum(len(key.encode()) + len(value.encode()) for key, value in request.labels.items())
    if size > MAX_LABEL_BYTES:
        raise InvalidRequest(f"The labels have {size} bytes. Use at most {MAX_LABEL_BYTES} bytes.", field="labels")


def check_policy_groups(request: AnalysisRequest, bundle: Bundle) -> None:
    """Raise InvalidPolicy if the gate policy has a bound on a group that the bundle does not have."""
    if request.gate_policy:
        check_groups(parse_policy(request.gate_policy), bundle.label_space.groups)


def digest(request: AnalysisRequest, content: str = "") -> str:
    """Return the SHA-256 of a request's body: its fields except the request ID, and the digest of an upload."""
    body = asdict(request) | {"request_id": "", "content": content}
    for field in _LATER_FIELDS:
        if not body[field]:  # versions without this field compute the same digest
            del body[field]
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def creation_time(analysis_id: str) -> float:
    """Return the time at which an id was created, in seconds since the epoch."""
    number = 0
    for character in analysis_id:
        number = (number << 5) | _ALPHABET.index(character)
    return (number >> 60) / 1000


def new_id(now: datetime) -> str:
    """Return an id that sorts by time: milliseconds since the epoch, then 60 random bits, in base 32."""
    return _to_id(now, secrets.randbits(60))


def derive_id(now: datetime, content: str) -> str:
    """Return an id as `new_id` does, but with bits of a text's SHA-256: equal times and texts have equal ids."""
    return _to_id(now, int.from_bytes(hashlib.sha256(content.encode()).digest()[:8]) >> 4)


def _to_id(now: datetime, bits: int) -> str:
    number = (int(now.timestamp() * 1000) << 60) | bits
    return "".join(_ALPHABET[(number >> shift) & 31] for shift in range(100, -1, -5))
