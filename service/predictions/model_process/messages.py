"""Encoding and decoding of the responses of the process that runs models. The decoders check every field."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from typing import Any

import numpy as np
from errata.errors import ErrataError, InvalidInput, NotFound, PermanentError, Unavailable, Violation

from service.domain import ModelInfo, Predictions
from service.predictions.model_process.protocol import Message, ProtocolError

BYTES_PER_IMAGE = 4  # per image: int16 class, float16 probability
MAX_ERROR_TEXT = 2000  # characters of each text of an error
MAX_INFO_TEXT = 20_000  # characters of each field of a ModelInfo
MAX_VIOLATIONS = 10
MAX_GPUS = 1024
EXPECTED_ERRORS = (InvalidInput, NotFound, PermanentError, Unavailable)  # base classes of predictor errors


def model_info_message(info: ModelInfo) -> Message:
    """Return the response that describes a loaded model."""
    return Message({"kind": "loaded", "info": asdict(info)})


def read_model_info(message: Message) -> ModelInfo:
    """Return the description of a loaded model; raise ProtocolError for any other response."""
    raw = message.header.get("info")
    names = [field.name for field in fields(ModelInfo)]
    if message.header.get("kind") != "loaded" or not isinstance(raw, dict) or raw.keys() != set(names):
        raise ProtocolError("Expected the description of a model.")
    values = {name: _text(raw[name], MAX_INFO_TEXT) for name in names}
    _check_digest(values["weights_sha256"])
    return ModelInfo(**values)


def images_message(digest: str) -> Message:
    """Return the response with the digest of images."""
    return Message({"kind": "images", "digest": digest})


def read_images_digest(message: Message) -> str:
    """Return the digest of images; raise ProtocolError for any other response."""
    digest = message.header.get("digest")
    if message.header.get("kind") != "images":
        raise ProtocolError("Expected the digest of images.")
    return _check_digest(digest)


def check_ready(message: Message) -> None:
    """Raise ProtocolError unless a response is `ready`."""
    if message.header.get("kind") != "ready":
        raise ProtocolError("Expected 'ready'.")


def batch_message(batch: Predictions) -> Message:
    """Return the response that contains one batch: all classes, then all probabilities, little-endian."""
    assert batch.probability is not None, "This is a bug: a model's predictions have probabilities."
    body = batch.top1.astype("<i2").tobytes() + batch.probability.astype("<f2").tobytes()
    return Message({"kind": "batch"}, body)


def read_batch(limit: int, num_classes: int, message: Message) -> Predictions | None:
    """Return a batch of at most `limit` images, or None for `end`; raise ProtocolError for any other response."""
    if message.header.get("kind") == "end":
        return None
    if message.header.get("kind") != "batch" or not 0 < len(message.body) <= BYTES_PER_IMAGE * limit:
        raise ProtocolError(f"Expected a batch of at most {limit} predictions.")
    if len(message.body) % BYTES_PER_IMAGE:
        raise ProtocolError("Expected a batch of predictions.")
    images = len(message.body) // BYTES_PER_IMAGE
    top1 = np.frombuffer(message.body, "<i2", images).astype(np.int16)
    probability = np.frombuffer(message.body, "<f2", images, offset=2 * images).astype(np.float16)
    not_nan = probability[~np.isnan(probability)]
    if ((top1 < -1) | (top1 >= num_classes)).any() or ((not_nan < 0) | (not_nan > 1)).any():
        raise ProtocolError(f"Expected classes from -1 to {num_classes - 1} and probabilities from 0 to 1.")
    return Predictions(top1, probability)


def error_message(error: ErrataError) -> Message:
    """Return the response that reports an error."""
    return Message(
        {
            "kind": "error",
            "reason": error.reason,
            "message": error.message[:MAX_ERROR_TEXT],
            "violations": [asdict(violation) for violation in error.violations[:MAX_VIOLATIONS]],
            "retry_after": error.retry_after,
        }
    )


def raise_error(message: Message) -> None:
    """Raise the error that a response reports, if any; raise ProtocolError if the response is malformed."""
    header = message.header
    if header.get("kind") != "error":
        return
    error_class = _ERRORS.get(_text(header.get("reason"), MAX_ERROR_TEXT))
    violations, retry_after = header.get("violations"), header.get("retry_after")
    if error_class is None or not isinstance(violations, list) or len(violations) > MAX_VIOLATIONS:
        raise ProtocolError("Expected an error that a predictor raises.")
    if retry_after is not None and not (isinstance(retry_after, int | float) and math.isfinite(retry_after)):
        raise ProtocolError("Expected a number of seconds.")
    raise error_class(
        _text(header.get("message"), MAX_ERROR_TEXT),
        violations=[_violation(violation) for violation in violations],
        retry_after=retry_after,
    )


def read_gpu_memory(message: Message) -> Mapping[str, tuple[int, int]]:
    """Return the used and total bytes of each GPU in a response; raise ProtocolError if it is malformed."""
    raw = message.header.get("gpu_memory", {})
    if not isinstance(raw, dict) or len(raw) > MAX_GPUS:
        raise ProtocolError("Expected the memory of GPUs.")
    memory = {}
    for device, sizes in raw.items():
        if not re.fullmatch(r"cuda:\d{1,4}", device) or not isinstance(sizes, list) or len(sizes) != 2:
            raise ProtocolError("Expected used and total bytes of a GPU.")
        if not all(isinstance(size, int) and 0 <= size < 1 << 63 for size in sizes):
            raise ProtocolError("Expected used and total bytes of a GPU.")
        memory[device] = (sizes[0], sizes[1])
    return memory


def _check_digest(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[0-9a-f]{64}", value):
        raise ProtocolError("Expected a SHA-256.")
    return value


def _violation(raw: Any) -> Violation:
    if not isinstance(raw, dict) or raw.keys() != {"field", "description", "line", "unit"}:
        raise ProtocolError("Expected a violation.")
    if not (raw["line"] is None or isinstance(raw["line"], int)):
        raise ProtocolError("Expected the line of a violation.")
    field, description = _text(raw["field"], MAX_ERROR_TEXT), _text(raw["description"], MAX_ERROR_TEXT)
    return Violation(field, description, raw["line"], _text(raw["unit"], MAX_ERROR_TEXT))


def _text(value: object, limit: int) -> str:
    if not isinstance(value, str) or len(value) > limit:
        raise ProtocolError(f"Expected a text of at most {limit} characters.")
    return value


def _with_subclasses(error_class: type[ErrataError]) -> Iterator[type[ErrataError]]:
    yield error_class
    for subclass in error_class.__subclasses__():
        yield from _with_subclasses(subclass)


_ERRORS = {
    error_class.reason: error_class
    for base in EXPECTED_ERRORS
    for error_class in _with_subclasses(base)
    if error_class.__module__ == ErrataError.__module__  # others share their reason with a base class
}
