"""A page of the list of analyses, which begins after a position or ends before a position."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from errata.errors import InvalidRequest
from starlette.requests import Request

from service import wire
from service.analyses import queries
from service.analyses.ports import Stores
from service.analyses.request import MAX_TEXT
from service.domain import NEWEST_FIRST, AnalysisFilter, AnalysisPage, Cursor, State
from service.report.listing_view import MAX_COUNT, ListView, Position, list_query, list_view

PAGE_SIZE = 50  # analyses
_ID_START = re.compile(r"[0-9a-z]{8,64}")  # of at least the length of a short id
PARAMETERS = ("search", "dataset", "model", "label", "state", "owner", "order")
MAX_PARAMETER_LENGTH = 256  # characters
MAX_LABEL_LENGTH = 4 * MAX_TEXT + 2  # characters of a key that is escaped completely, its value, and two equals signs
MAX_TOKEN_LENGTH = 8192  # characters of a position; up to 4,300 with a title of 256 characters


class AnalysisList:
    """The list of the analyses that meet the selected filters, in the selected order.

    Args:
        stores: The stores.
        selection: The parameters of PARAMETERS; empty: not set.
    """

    def __init__(self, stores: Stores, selection: Mapping[str, str]) -> None:
        self._stores = stores
        self._order = queries.parse_order(selection["order"])
        self._selection = {**selection, "order": str(self._order)}
        self._filter = AnalysisFilter(
            _states(selection["state"]),
            dataset=selection["dataset"],
            model=selection["model"],
            labels=_labels(selection["label"]),
            owner=selection["owner"],
            **_search(stores, selection["search"]),
        )
        self._key = wire.fields_key({name: value for name, value in self._selection.items() if value})

    def view(self, request: Request) -> ListView:
        """Return the content of the page at the parameter `after` or `before`, or else of the first page."""
        page, first = self._page(request)
        total = queries.count_analyses(self._stores, self._filter, self._order, limit=MAX_COUNT + 1)
        position = Position(
            # Analyses can be deleted between the two queries.
            total if total > MAX_COUNT else max(total, first + len(page.analyses)),
            first,
            self._link("before", self._order.cursor(page.analyses[0])) if first else "",
            self._link("after", page.next) if page.next else "",
        )
        return list_view(page, position, self._stores.evidence.datasets(), self._selection)

    def _page(self, request: Request) -> tuple[AnalysisPage, int]:
        """Return the analyses of the page, and the number of those before it."""
        before = self._position(request, "before")
        after = self._position(request, "after") if before is None else self._find_start(before)
        if after is not None and (page := self._page_after(after)).analyses:
            return page, queries.count_analyses(self._stores, self._filter, self._order, after, MAX_COUNT + 1)
        return self._page_after(None), 0  # also if no analysis is left after the position

    def _page_after(self, cursor: Cursor | None) -> AnalysisPage:
        return queries.list_analyses(self._stores, self._filter, self._order, cursor, PAGE_SIZE)

    def _find_start(self, before: Cursor) -> Cursor | None:
        """Return the position before the page that ends at `before`; None if that is the first page."""
        backwards = queries.list_analyses(self._stores, self._filter, self._order.reversed, before, PAGE_SIZE + 1)
        return self._order.cursor(backwards.analyses[PAGE_SIZE]) if len(backwards.analyses) > PAGE_SIZE else None

    def _position(self, request: Request, name: str) -> Cursor | None:
        return wire.token_cursor(parameter(request, name, MAX_TOKEN_LENGTH), self._key, self._order)

    def _link(self, name: str, cursor: Cursor) -> str:
        return list_query(self._selection, **{name: wire.cursor_token(cursor, self._key)})


def read_selection(request: Request) -> Mapping[str, str]:
    """Return the parameters of PARAMETERS; empty: not set. The spaces around a label belong to its key and value."""
    label = parameter(request, "label", MAX_LABEL_LENGTH, strip=False)
    return {name: label if name == "label" else parameter(request, name) for name in PARAMETERS}


def parameter(request: Request, name: str, limit: int = MAX_PARAMETER_LENGTH, *, strip: bool = True) -> str:
    """Return a parameter of a request, empty by default; raise InvalidRequest if it has over `limit` characters."""
    value = request.query_params.get(name, "")
    value = value.strip() if strip else value
    if len(value) > limit:
        raise InvalidRequest(
            f"Parameter '{name}' has {len(value)} characters. At most {limit} are allowed.", field=name
        )
    return value


def _search(stores: Stores, text: str) -> dict[str, Any]:
    """Return the conditions of a search: the start of an id, or words.

    The index of ids finds the start of an id. The trigram index would be slow, because most ids share trigrams.
    """
    words = tuple(text.lower().split())
    if len(words) == 1 and _ID_START.fullmatch(words[0]):
        by_id = AnalysisFilter(id_prefix=words[0])
        if queries.list_analyses(stores, by_id, NEWEST_FIRST, None, 1).analyses:
            return {"id_prefix": words[0]}
    return {"words": words}


def _labels(text: str) -> dict[str, str]:
    """Return the label of a parameter that `label_filter` returns."""
    is_escaped = text.startswith("=")
    key, separator, value = text.removeprefix("=").partition("=")
    if text and not separator:
        raise InvalidRequest(f"Invalid label {text!r:.80}. Expected key=value.", field="label")
    return {unquote(key) if is_escaped else key: value} if text else {}


def _states(text: str) -> frozenset[State]:
    states = {state.name.lower(): state for state in tuple(State)[1:]}
    if text and text not in states:
        raise InvalidRequest(f"Unknown state {text!r:.40}. Expected one of: {', '.join(states)}.", field="state")
    return frozenset({states[text]} if text else ())
