"""Responses of the model process: valid ones survive encoding, and invalid ones are rejected."""

from collections.abc import Callable, Iterator
from dataclasses import asdict

import numpy as np
import pytest
from errata import errors
from errata.errors import ErrataError, InvalidRow, Violation

from service.domain import ModelInfo, Predictions
from service.predictions.model_process.messages import (
    EXPECTED_ERRORS,
    batch_message,
    check_ready,
    error_message,
    images_message,
    model_info_message,
    raise_error,
    read_batch,
    read_gpu_memory,
    read_images_digest,
    read_model_info,
)
from service.predictions.model_process.protocol import Message, ProtocolError

INFO = ModelInfo("timm:resnet50.a1_in1k", "resnet50", "ab" * 32, "resize 0.950")


def kinds(kind: type[ErrataError]) -> Iterator[type[ErrataError]]:
    yield kind
    for item in kind.__subclasses__():
        yield from kinds(item)


def test_a_description_arrives_as_it_was_sent() -> None:
    assert read_model_info(model_info_message(INFO)) == INFO


def test_a_digest_of_images_arrives_as_it_was_sent() -> None:
    assert read_images_digest(images_message("ab" * 32)) == "ab" * 32


def test_a_batch_arrives_as_it_was_sent() -> None:
    batch = Predictions(np.array([-1, 0, 999], dtype=np.int16), np.array([np.nan, 0, 1], dtype=np.float16))

    read = read_batch(3, 1000, batch_message(batch))

    assert read is not None and read.probability is not None
    assert (read.top1.dtype, read.probability.dtype) == (np.int16, np.float16)
    assert read.top1.tolist() == [-1, 0, 999]
    assert np.isnan(read.probability[0]) and read.probability[1:].tolist() == [0, 1]
    assert read_batch(0, 1000, Message({"kind": "end"})) is None


@pytest.mark.parametrize(
    "kind", [item for branch in EXPECTED_ERRORS for item in kinds(branch) if item.__module__ == ErrataError.__module__]
)
def test_an_error_arrives_as_itself(kind: type[ErrataError]) -> None:
    sent = kind("Not this one.", violations=[Violation("file_name", "unknown", 3)], retry_after=2.5)

    with pytest.raises(kind) as error_info:
        raise_error(error_message(sent))

    assert type(error_info.value) is kind
    assert (error_info.value.message, error_info.value.violations) == (sent.message, sent.violations)
    assert error_info.value.retry_after == 2.5


def test_a_long_error_is_shortened_and_not_rejected() -> None:
    sent = InvalidRow("x" * 10_000, violations=[Violation("row", "bad", line) for line in range(50)])

    with pytest.raises(InvalidRow) as error_info:
        raise_error(error_message(sent))

    assert (len(error_info.value.message), len(error_info.value.violations)) == (2000, 10)


@pytest.mark.parametrize("reason", [errors.PermissionDenied.reason, errors.Cancelled.reason, "NO_SUCH", None, 7, ["x"]])
def test_an_error_of_an_unexpected_class_is_rejected(reason: object) -> None:
    with pytest.raises(ProtocolError):
        raise_error(Message({"kind": "error", "reason": reason, "message": "", "violations": []}))


ERROR = {"kind": "error", "reason": "MODEL_REFUSED", "message": "no", "violations": [], "retry_after": None}
DESCRIPTION = asdict(INFO)


@pytest.mark.parametrize(
    ("read", "header", "body"),
    [
        (read_model_info, {"kind": "end"}, b""),
        (read_model_info, {"kind": "loaded"}, b""),
        (read_model_info, {"kind": "loaded", "info": DESCRIPTION | {"more": ""}}, b""),
        (read_model_info, {"kind": "loaded", "info": DESCRIPTION | {"model": 7}}, b""),
        (read_model_info, {"kind": "loaded", "info": DESCRIPTION | {"transform": "x" * 20_001}}, b""),
        (read_model_info, {"kind": "loaded", "info": DESCRIPTION | {"weights_sha256": "../../etc"}}, b""),
        (check_ready, {"kind": "loaded"}, b""),
        (read_images_digest, {"kind": "ready", "digest": "ab" * 32}, b""),
        (read_images_digest, {"kind": "images", "digest": "../etc"}, b""),
        (read_images_digest, {"kind": "images"}, b""),
        (lambda message: read_batch(2, 1000, message), {"kind": "batch"}, b""),
        (lambda message: read_batch(2, 1000, message), {"kind": "batch"}, b"\0" * 7),
        (lambda message: read_batch(2, 1000, message), {"kind": "batch"}, b"\0" * 12),
        (lambda message: read_batch(2, 1000, message), {"kind": "loaded"}, b"\0" * 8),
        (lambda message: read_batch(2, 1000, message), {"kind": "batch"}, np.array([1000, 0], "<i2").tobytes()),
        (lambda message: read_batch(2, 1000, message), {"kind": "batch"}, np.array([-2, 0], "<i2").tobytes()),
        (lambda message: read_batch(2, 1000, message), {"kind": "batch"}, b"\0\0" + np.array([1.5], "<f2").tobytes()),
        (lambda message: read_batch(2, 1000, message), {"kind": "batch"}, b"\0\0" + np.array([-0.5], "<f2").tobytes()),
        (
            lambda message: read_batch(2, 1000, message),
            {"kind": "batch"},
            b"\0\0" + np.array([np.inf], "<f2").tobytes(),
        ),
        (raise_error, ERROR | {"message": "x" * 2001}, b""),
        (raise_error, ERROR | {"violations": [{}] * 11}, b""),
        (raise_error, ERROR | {"violations": [{"field": "a"}]}, b""),
        (raise_error, ERROR | {"violations": [{"field": "a", "description": "b", "line": "c"}]}, b""),
        (raise_error, ERROR | {"retry_after": "soon"}, b""),
        (raise_error, ERROR | {"retry_after": float("nan")}, b""),
        (read_gpu_memory, {"gpu_memory": []}, b""),
        (read_gpu_memory, {"gpu_memory": {"../x": [1, 2]}}, b""),
        (read_gpu_memory, {"gpu_memory": {"cuda:0": [1]}}, b""),
        (read_gpu_memory, {"gpu_memory": {"cuda:0": [1, -2]}}, b""),
        (read_gpu_memory, {"gpu_memory": {"cuda:0": [1, "2"]}}, b""),
    ],
)
def test_an_invalid_response_is_rejected(
    read: Callable[[Message], object], header: dict[str, object], body: bytes
) -> None:
    with pytest.raises(ProtocolError):
        read(Message(header, body))


def test_the_memory_of_gpus_arrives() -> None:
    assert read_gpu_memory(Message({"gpu_memory": {"cuda:1": [5, 80]}})) == {"cuda:1": (5, 80)}
    assert read_gpu_memory(Message({})) == {}
