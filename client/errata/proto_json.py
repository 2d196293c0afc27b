"""The proto3 JSON form of messages, as the API and the commands write it."""

import json
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message


def to_dict(message: Any) -> dict[str, Any]:
    """Return the proto3 JSON form of a message, with the proto's field names and with default values.

    Args:
        message: A message, or a result of the client that wraps one.
    """
    if not isinstance(message, Message):
        message = message.message
    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def to_json(message: Any) -> str:
    """Return the proto3 JSON form of a message as text."""
    return json.dumps(to_dict(message), indent=2)
