"""Pages of listings."""

import base64
import hashlib
import json

from errata.errors import InvalidPageToken, InvalidRequest
from errata.json_input import parse_json
from errata.proto_json import to_dict
from google.protobuf.message import Message


def page_token(offset: int, query: Message) -> str:
    """Return the token of the page that starts at `offset` of a listing; it holds only for the same query."""
    return base64.urlsafe_b64encode(json.dumps([offset, _query_key(query)]).encode()).decode()


def page_offset(token: str, query: Message) -> int:
    """Return where a page starts; raise InvalidPageToken if the token isn't one of this query's."""
    if not token:
        return 0
    try:
        offset, key = parse_json(base64.urlsafe_b64decode(token.encode()))
        if key == _query_key(query) and isinstance(offset, int) and offset >= 0:
            return offset
    except (ValueError, TypeError):
        pass
    raise InvalidPageToken(f"expected a page token of this listing, got {token!r:.40}", field="page_token")


def page_size(asked: int, default: int, most: int = 1000, field: str = "page_size") -> int:
    """Return how many a page holds; raise InvalidRequest for a negative number."""
    if asked < 0:
        raise InvalidRequest(f"expected a {field} of 0 or more, got {asked}", field=field)
    return min(asked or default, most)


def _query_key(query: Message) -> str:
    plain = to_dict(query)
    plain.pop("page_token", None)
    plain.pop("page_size", None)
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
