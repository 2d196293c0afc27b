"""Messages are read as they were written, and invalid messages are rejected before they use memory."""

import io

import pytest

from service.predictions.model_process.protocol import PREFIX, Message, ProtocolError, read_message, write_message


def written(message: Message) -> io.BytesIO:
    stream = io.BytesIO()
    write_message(stream, message)
    stream.seek(0)
    return stream


def test_frames_are_read_as_they_were_written_one_after_another() -> None:
    stream = io.BytesIO()
    messages = [
        Message({"command": "load", "model": "timm:ü\udc80"}),
        Message({}, b"\0\1\2"),
        Message({"names": ["a"] * 1000}),
    ]
    for message in messages:
        write_message(stream, message)
    stream.seek(0)

    assert [read_message(stream, 1 << 20, 3) for _ in messages] == messages


def test_a_closed_pipe_is_the_end() -> None:
    whole = written(Message({"command": "load"}, b"body")).getvalue()
    for size in range(len(whole)):
        with pytest.raises(EOFError):
            read_message(io.BytesIO(whole[:size]), 1 << 20, 4)


@pytest.mark.parametrize(("header", "body"), [(2**32 - 1, 0), (101, 0), (100, 11), (0, 2**63)])
def test_a_frame_that_is_too_large_is_rejected_before_it_is_read(header: int, body: int) -> None:
    stream = io.BytesIO(PREFIX.pack(header, body) + b"{}")

    with pytest.raises(ProtocolError, match="Message too large"):
        read_message(stream, 100, 10)

    assert stream.read() == b"{}"


@pytest.mark.parametrize(
    "header", [b"", b"no json", b"\xff", b"[1]", b"1", b"null", b"[" * 100_000, b'{"a":' * 100_000, b"9" * 5000]
)
def test_a_header_that_is_not_an_object_is_rejected(header: bytes) -> None:
    with pytest.raises(ProtocolError):
        read_message(io.BytesIO(PREFIX.pack(len(header), 0) + header), 1 << 20)
