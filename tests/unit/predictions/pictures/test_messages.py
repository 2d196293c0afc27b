"""Messages to and from a decoder: any split of the bytes, the end of the stream, and answers that are too long."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.predictions.pictures.messages import (
    ANSWER,
    INVALID,
    MAX_ANSWER,
    OK,
    PictureRequest,
    encode_answer,
    encode_request,
    read_answer,
    read_request,
)


@given(st.binary(max_size=300), st.integers(1, 50), st.integers(1, 65_535), st.integers(1, 95), st.booleans())
def test_messages_arrive_in_parts_of_any_size(content: bytes, part: int, size: int, quality: int, small: bool) -> None:
    request = PictureRequest(size, quality, small)
    stream = io.BytesIO(encode_request(request, content) + encode_answer(INVALID, content))

    def read(most: int) -> bytes:
        return stream.read(min(most, part))

    assert read_request(read) == (request, content)
    assert read_answer(read) == (INVALID, content)
    with pytest.raises(EOFError):
        read_answer(read)


def test_a_message_that_ends_early_is_the_end() -> None:
    with pytest.raises(EOFError):
        read_answer(io.BytesIO(encode_answer(OK, b"picture")[:-1]).read)


@pytest.mark.parametrize(("state", "size"), [(2, 1), (OK, MAX_ANSWER + 1)])
def test_an_invalid_answer_is_refused_before_it_is_read(state: int, size: int) -> None:
    with pytest.raises(ValueError, match="invalid"):
        read_answer(io.BytesIO(ANSWER.pack(state, size)).read)
