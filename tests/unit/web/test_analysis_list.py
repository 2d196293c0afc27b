"""The links of the list."""

from types import SimpleNamespace
from typing import cast
from urllib.parse import urlencode

import numpy as np
import pytest
from analyses_strategy import make_analysis
from errata.errors import InvalidRequest
from indexed_archive import InMemoryIndexedArchive
from starlette.requests import Request

from service import wire
from service.analyses.ports import Stores
from service.analyses.request import MAX_TEXT
from service.domain import AnalysisRequest, Cursor, Predictions
from service.jobs.memory import InMemoryJobStore
from service.report import listing_view
from service.report.listing_view import ListView
from service.web import analysis_list
from service.web.analysis_list import MAX_TOKEN_LENGTH, PARAMETERS, AnalysisList, read_selection


def view_of(labels: dict[str, str], query: str = "") -> ListView:
    """Return the list of an analysis with labels and another analysis."""
    archive = InMemoryIndexedArchive()
    for analysis_id, some_labels in (("labeled", labels), ("other", {"family": "net"})):
        analysis = make_analysis(analysis_id, request=AnalysisRequest("demo", labels=some_labels))
        archive.put(analysis, Predictions(np.zeros(3, dtype=np.int16)))
    evidence = SimpleNamespace(datasets=lambda: ["demo"])
    stores = SimpleNamespace(
        archive=archive, index=archive.index, jobs=InMemoryJobStore(lambda: 0.0), evidence=evidence
    )
    request = Request({"type": "http", "query_string": query.encode(), "headers": []})
    return AnalysisList(cast(Stores, stores), read_selection(request)).view(request)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("k" * MAX_TEXT, "v" * MAX_TEXT),
        ("=" * MAX_TEXT, "=" * MAX_TEXT),
        ("%" * MAX_TEXT, "%3D"),
        ("lr=1e-3", "yes"),
        ("=", ""),
        ("a%3D=", "="),
        (" size", "big \t"),
        ("", "no key"),
    ],
)
def test_the_link_of_a_label_finds_its_analysis(key: str, value: str) -> None:
    row = next(row for row in view_of({key: value}).rows if row.id == "labeled")

    view = view_of({key: value}, row.labels[0].query)

    assert [row.id for row in view.rows] == ["labeled"]


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("a=b", {"a": "b"}),
        ("a=b=c", {"a": "b=c"}),
        ("a==b", {"a": "=b"}),
        ("a%3D=b", {"a%3D": "b"}),
        ("a=", {"a": ""}),
    ],
)
def test_a_label_is_split_at_the_first_equals_sign(text: str, labels: dict[str, str]) -> None:
    assert [row.id for row in view_of(labels, urlencode({"label": text})).rows] == ["labeled"]


@pytest.mark.parametrize("text", ["a", "=", "=a"])
def test_a_label_without_a_key_or_a_value_is_rejected(text: str) -> None:
    with pytest.raises(InvalidRequest, match="Expected key=value"):
        view_of({}, urlencode({"label": text}))


def test_the_position_after_the_longest_title_fits_into_a_link() -> None:
    selection = {"state": "", "dataset": "", "search": "😀" * 256, "order": "display_name"}

    token = wire.cursor_token(Cursor("😀" * MAX_TEXT, "a" * 64), wire.fields_key(selection))

    assert 4096 < len(token) <= MAX_TOKEN_LENGTH


def test_the_link_of_a_page_is_valid_for_a_version_with_a_further_parameter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analysis_list, "PAGE_SIZE", 1)
    first = view_of({})

    monkeypatch.setattr(analysis_list, "PARAMETERS", (*PARAMETERS, "later"))
    second = view_of({}, first.next)

    assert {first.rows[0].id, second.rows[0].id} == {"labeled", "other"}


def test_each_page_has_the_same_number_of_analyses_if_they_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analysis_list, "PAGE_SIZE", 1)
    for module in (analysis_list, listing_view):
        monkeypatch.setattr(module, "MAX_COUNT", 0)

    labels = {"family": "net"}
    first = view_of(labels, "label=family%3Dnet&search=a")

    assert first.caption == "Analyses 1 to 1 of more than 0"
    assert view_of(labels, first.next).caption == "1 analysis of more than 0"
