"""Parse encoded request messages, and write the messages of streams."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import grpc
from errata.errors import InvalidRequest
from google.protobuf.message import DecodeError

Context = grpc.aio.ServicerContext[Any, Any]
Request = TypeVar("Request")


def parse_message(parse: Callable[[bytes], Request], content: bytes) -> Request:
    """Return a message; raise InvalidRequest if it can't be parsed."""
    try:
        return parse(content)
    except DecodeError as error:
        raise InvalidRequest(
            "The message can't be parsed. Send a message of the type that the method expects.", field="request"
        ) from error


async def write_message(context: Context, message: object) -> None:
    """Write a message of a stream; raise CancelledError if the client canceled the call or closed its connection."""
    try:
        await context.write(message)
    except grpc.aio.InternalError:
        raise asyncio.CancelledError from None
