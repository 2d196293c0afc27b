"""Pages of listings."""

import base64
import hashlib
import json
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeVar

from errata.errors import InvalidPageToken, InvalidRequest
from errata.json_input import parse_json
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from service.archive.record_log import Dated
from service.domain import Cursor, Order
from service.domain.listing import SortValue
from service.wire.names import is_id

DEFAULT_SIZE = 100  # items on a page
MAX_TOKEN = 16 << 10  # characters of a page token; the longest ones, with 256 characters of a display name, have 4,300
MAX_INTEGER = (1 << 63) - 1  # the largest sort value


class Sliceable(Protocol):
    """A sequence or an array."""

    def __len__(self) -> int:
        """Return the number of items."""

    def __getitem__(self, key: slice, /) -> Any:
        """Return a part."""


Items = TypeVar("Items", bound=Sliceable)
Record = TypeVar("Record", bound=Dated)


def page_token(offset: int, query: Message) -> str:
    """Return the token of the page that starts at `offset`; the token is valid only for the same query."""
    return _encode([offset, query_key(query)])


def page_offset(token: str, query: Message) -> int:
    """Return the offset of a page; raise InvalidPageToken if the token was not issued for this query."""
    if not token:
        return 0
    match _decode(token):
        case [int(offset), str(key)] if key == query_key(query) and offset >= 0:
            return offset
    raise _invalid_token(token)


def cursor_token(cursor: Cursor | None, key: str) -> str:
    """Return the token of the page after a position; empty if there is no such page.

    Args:
        cursor: The position.
        key: Identifies the query; the token is valid only for this query. See `query_key`.
    """
    return "" if cursor is None else _encode([cursor.value, cursor.id, key])


def token_cursor(token: str, key: str, order: Order) -> Cursor | None:
    """Return the position of a token; None for an empty token.

    Args:
        token: The token.
        key: Identifies the query.
        order: The order of the query.

    Raises:
        InvalidPageToken: The token was not issued for this query.
    """
    if not token:
        return None
    match _decode(token):
        case [str() | int() | float() as value, str(name), str(actual_key)] if (
            actual_key == key and _is_sort_value(value, order) and is_id(name)
        ):
            return Cursor(value, name)
    raise _invalid_token(token)


def query_key(query: Message) -> str:
    """Return a digest of a query without its paging fields; equal queries of the same type have the same digest.

    Fields that are not set are left out, so that a version with further fields accepts the tokens of this version.
    """
    fields = MessageToDict(query, preserving_proto_field_name=True)
    fields.pop("page_token", None)
    fields.pop("page_size", None)
    return fields_key(fields | {"@type": query.DESCRIPTOR.full_name})  # requests of several lists have equal fields


def fields_key(fields: Mapping[str, Any]) -> str:
    """Return a digest of the fields of a query."""
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def page_of(items: Items, request: Any) -> tuple[Items, str]:
    """Return the requested page of a list, and the token of the next page; the last page has an empty token.

    Args:
        items: The whole list.
        request: The request, with `page_size` and `page_token`.
    """
    start = page_offset(request.page_token, request)
    end = start + page_size(request.page_size, DEFAULT_SIZE)
    page: Items = items[start:end]
    return page, page_token(end, request) if end < len(items) else ""


def page_of_records(records: Sequence[Record], request: Any) -> tuple[Sequence[Record], str]:
    """Return the requested page of records, newest first, and the token of the next page.

    If records are added between two requests, the next page neither repeats nor skips other records.

    Args:
        records: All records, newest first.
        request: The request, with `page_size` and `page_token`.
    """
    key, start = query_key(request), 0
    if request.page_token:
        position = _position_of(request.page_token, key)
        start = bisect_left(records, True, key=lambda record: (record.time, record.id) < position)
    page = records[start : start + page_size(request.page_size, DEFAULT_SIZE)]
    if not page or start + len(page) == len(records):
        return page, ""
    return page, _encode([page[-1].time.isoformat(), page[-1].id, key])


def page_of_query(
    query: Callable[[tuple[datetime, str] | None, int], tuple[Sequence[Record], tuple[datetime, str] | None]],
    request: Any,
) -> tuple[Sequence[Record], str]:
    """Return the requested page of the records of a query, newest first, and the token of the next page.

    Args:
        query: Gets a position and a limit. Returns at most `limit` records after the position, and the position of
            the next page.
        request: The request, with `page_size` and `page_token`.
    """
    key = query_key(request)
    position = _position_of(request.page_token, key) if request.page_token else None
    page, after = query(position, page_size(request.page_size, DEFAULT_SIZE))
    return page, "" if after is None else _encode([after[0].isoformat(), after[1], key])


def _position_of(token: str, key: str) -> tuple[datetime, str]:
    """Return the time and the ID of a token; raise InvalidPageToken if it was not issued for this query."""
    try:
        match _decode(token):
            case [str(text), str(name), str(actual_key)] if actual_key == key:
                time = datetime.fromisoformat(text)
                if time.tzinfo is not None:
                    return time, name
    except ValueError:
        pass
    raise _invalid_token(token)


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


def _is_sort_value(value: SortValue, order: Order) -> bool:
    """Return whether a value can be a sort value of an order."""
    if isinstance(value, str):
        is_utf8 = value.encode(errors="replace").decode() == value
        return order.name == "display_name" and is_utf8
    return order.name != "display_name" and abs(value) <= MAX_INTEGER


def _encode(values: list[Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode()


def _decode(token: str) -> object:
    """Return the content of a token; None if it is malformed."""
    if len(token) > MAX_TOKEN:
        return None
    try:
        return parse_json(base64.urlsafe_b64decode(token.encode()))
    except (ValueError, TypeError):
        return None


def _invalid_token(token: str) -> InvalidPageToken:
    return InvalidPageToken(
        f"Invalid page token {token!r:.40}. Use the token of the previous response, with the same filters.",
        field="page_token",
    )
