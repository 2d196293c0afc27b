"""Page tokens and page sizes of listings, and the proto3 JSON form of messages."""

import base64
import hashlib
import json
from typing import Any

from errata.errors import InvalidPageToken, InvalidRequest
from errata.json_input import parse_json
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message


def page_token(offset: int, query: Message) -> str:
    """Return the token of the page that starts at `offset`; the token is valid only for the same query."""
    return base64.urlsafe_b64encode(json.dumps([offset, _query_key(query)]).encode()).decode()


def page_offset(token: str, query: Message) -> int:
    """Return the offset of a page; raise InvalidPageToken if the token was not issued for this query."""
    if not token:
        return 0
    try:
        offset, key = parse_json(base64.urlsafe_b64decode(token.encode()))
        if key == _query_key(query) and isinstance(offset, int) and offset >= 0:
            return offset
    except (ValueError, TypeError):
        pass
    raise InvalidPageToken(f"expected a page token of this listing, got {token!r:.40}", field="page_token")


def page_size(requested: int, default: int, limit: int = 1000, field: str = "page_size") -> int:
    """Return the size of a page.

    Args:
        requested: The size in the request; 0: the default.
        default: The default size.
        limit: The maximum size; larger requests get pages of this size.
        field: The field of the request, for the error.

    Raises:
        InvalidRequest: The requested size is negative.
    """
    if requested < 0:
        raise InvalidRequest(f"expected a {field} of 0 or more, got {requested}", field=field)
    return min(requested or default, limit)


def to_dict(message: Message) -> dict[str, Any]:
    """Return the proto3 JSON form of a message, with the field names of the proto and with default values."""
    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def to_json(message: Message, indent: int | None = 2) -> str:
    """Return the proto3 JSON form of a message as text."""
    return json.dumps(to_dict(message), indent=indent)


def _query_key(query: Message) -> str:
    fields = to_dict(query)
    fields.pop("page_token", None)
    fields.pop("page_size", None)
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
