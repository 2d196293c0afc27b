"""Parse encoded request messages."""

from collections.abc import Callable
from typing import TypeVar

from errata.errors import InvalidRequest
from google.protobuf.message import DecodeError

Request = TypeVar("Request")


def parse_message(parse: Callable[[bytes], Request], content: bytes) -> Request:
    """Return a message; raise InvalidRequest if it can't be parsed."""
    try:
        return parse(content)
    except DecodeError as error:
        raise InvalidRequest(
            "The message can't be parsed. Send a message of the type that the method expects.", field="request"
        ) from error
