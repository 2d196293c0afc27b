"""Pages of listings."""

import base64
import hashlib
import json
from typing import Any, Protocol, TypeVar

from errata.errors import InvalidPageToken, InvalidRequest
from errata.json_input import parse_json
from errata.proto_json import to_dict
from google.protobuf.message import Message


class Sliceable(Protocol):
    """A sequence or an array."""

    def __len__(self) -> int:
        """Return the number of items."""

    def __getitem__(self, key: slice, /) -> Any:
        """Return a part."""


Items = TypeVar("Items", bound=Sliceable)


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
    raise InvalidPageToken(
        f"Invalid page token {token!r:.40}. Use the token of the previous response, with the same filters.",
        field="page_token",
    )


def page_of(items: Items, request: Any, default: int = 100) -> tuple[Items, str]:
    """Return the page of a list that a request selects, and the token of the next page, which is empty for the last.

    Args:
        items: The whole list.
        request: The request, with `page_size` and `page_token`.
        default: The default size of a page.
    """
    start = page_offset(request.page_token, request)
    end = start + page_size(request.page_size, default)
    page: Items = items[start:end]
    return page, page_token(end, request) if end < len(items) else ""


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
        raise InvalidRequest(f"Invalid {field} {requested}. Use 0 for the default, or a positive number.", field=field)
    return min(requested or default, limit)


def _query_key(query: Message) -> str:
    fields = to_dict(query)
    fields.pop("page_token", None)
    fields.pop("page_size", None)
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
