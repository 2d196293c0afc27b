"""Views of the list and of unfinished analyses in every state."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from errata.messages import STATE_NAMES
from example_counts import max_examples
from hypothesis import given
from hypothesis import strategies as st

from service.domain import (
    ALL,
    ERROR_TYPES,
    Analysis,
    AnalysisPage,
    AnalysisRequest,
    ErrorType,
    Failure,
    GroupSummary,
    Progress,
    State,
    Summary,
)
from service.report.listing_view import FilterLink, ListView, Position, list_view, pending_view
from service.report.messages.pages import ORDER_NAMES, progress_text
from service.taxonomy.imagenet_1k import GROUPS

SELECTION = {"search": "", "dataset": "", "model": "", "label": "", "state": "", "owner": ""}
SELECTION |= {"order": "create_time desc"}
STATES = tuple(State)[1:]


def summary(wrong: int = 1200) -> Summary:
    counts = dict.fromkeys(ERROR_TYPES, 0) | {
        ErrorType.CORRECT: 6000,
        ErrorType.FINE_GRAINED: wrong,
        ErrorType.MODEL_FAILURE: wrong,
    }
    errors = 2 * wrong
    whole = GroupSummary(6000 + errors, counts, errors, 0.75, 0.8125, 0.9, 0.9, {}, {}, {}, {})
    return Summary(dict.fromkeys((ALL, *GROUPS), whole), (), 0, 8, 8, None, None, None)


def analysis(**changes: Any) -> Analysis:
    default = Analysis(
        id="a1",
        request=AnalysisRequest("demo", "timm:net", labels={"size": "big", "family": "cnn"}),
        state=State.SUCCEEDED,
        evidence="e" * 64,
        create_time=datetime(2024, 2, 29, 23, 59, tzinfo=UTC),
        summary=summary(),
    )
    return replace(default, **changes)


def running(**changes: Any) -> Analysis:
    return analysis(state=State.RUNNING, summary=None, progress=Progress(5, 20), **changes)


def view_of(
    *analyses: Analysis, total: int = 120, first: int = 50, is_incomplete: bool = False, **changes: Any
) -> ListView:
    page = AnalysisPage(analyses, None, is_incomplete)
    position = Position(total, first, "before=1", "after=3")
    return list_view(page, position, ["demo", "imagenet"], {**SELECTION, **changes})


def test_row_of_a_finished_analysis_shows_its_result() -> None:
    (row,) = view_of(analysis()).rows

    assert (row.id, row.title, row.dataset, row.created) == ("a1", "timm:net", "demo", "2024-02-29 23:59")
    assert (row.state, row.css_class, row.has_result, row.progress) == ("succeeded", "state-succeeded", True, "")
    assert (row.top1, row.multi_label, row.severe) == ("75.0 %", "81.2 %", "14.3 %")  # 1,200 of 8,400
    assert [(segment.css_class, segment.x, segment.width) for segment in row.segments] == [
        ("type-4", 0, 50),
        ("type-8", 50, 50),
    ]
    assert row.labels == (
        FilterLink("family=cnn", "label=family%3Dcnn&order=create_time+desc"),
        FilterLink("size=big", "label=size%3Dbig&order=create_time+desc"),
    )
    assert row.model == FilterLink("timm:net", "model=timm%3Anet&order=create_time+desc")
    assert row.owner.text == "" and row.is_final


@pytest.mark.parametrize(
    ("key", "value", "query"),
    [
        ("a%", "b=c", "a%25%3Db%3Dc"),
        ("a=%b", "c", "%3Da%253D%2525b%3Dc"),
        ("", "c", "%3D%3Dc"),
        ("a ", " ", "a+%3D+"),
    ],
)
def test_the_link_of_a_label_is_unambiguous(key: str, value: str, query: str) -> None:
    (row,) = view_of(analysis(request=AnalysisRequest("demo", labels={key: value}))).rows

    assert row.labels == (FilterLink(f"{key}={value}", f"label={query}&order=create_time+desc"),)


def test_row_of_an_unfinished_analysis_shows_its_progress() -> None:
    (row,) = view_of(running()).rows

    assert (row.state, row.has_result, row.progress) == ("running", False, "5 of 20 images")
    assert (row.top1, row.multi_label, row.severe, row.segments) == ("–", "–", "–", ())
    assert not row.is_final


def test_analysis_without_errors_has_no_bar() -> None:
    (row,) = view_of(analysis(summary=summary(0))).rows

    assert (row.segments, row.severe) == ((), "0.0 %")


@pytest.mark.parametrize("state", STATES)
def test_every_state_has_a_name_and_a_css_class(state: State) -> None:
    (row,) = view_of(analysis(state=state, summary=None)).rows

    assert (row.state, row.css_class) == (STATE_NAMES[state], f"state-{state.name.lower()}")


def test_list_shows_its_range_and_total() -> None:
    result = view_of(analysis(), analysis(id="a2"))

    assert result.caption == "Analyses 51 to 52 of 120"
    assert (result.previous, result.next) == ("before=1", "after=3")
    nothing = view_of(total=0, first=0)
    assert (nothing.caption, nothing.rows) == ("Analyses 0 to 0 of 0", ())


@pytest.mark.parametrize(
    ("first", "total", "caption"),
    [
        (0, 1000, "Analyses 1 to 1 of 1,000"),
        (1000, 1001, "Analyses 1,001 to 1,001 of more than 1,000"),
        (0, 1001, "Analyses 1 to 1 of more than 1,000"),
        (0, 100_000, "Analyses 1 to 1 of 100,000"),
        (1001, 100_000, "1 analysis of 100,000"),
        (1001, 1002, "1 analysis of 1,002"),
    ],
)
def test_caption_has_only_the_numbers_that_were_counted(first: int, total: int, caption: str) -> None:
    assert view_of(analysis(), first=first, total=total).caption == caption


def test_short_ids_are_as_long_as_they_must_be_to_differ() -> None:
    rows = view_of(analysis(id="12345678ab1"), analysis(id="12345678ab2"), analysis(id="9" * 21)).rows

    assert [row.short_id for row in rows] == ["12345678ab1", "12345678ab2", "9" * 11]
    assert [row.short_id for row in view_of(analysis(id="1" * 21), analysis(id="2" * 21)).rows] == ["1" * 8, "2" * 8]


def test_a_filter_link_keeps_the_other_filters_and_begins_at_the_first_page() -> None:
    (row,) = view_of(analysis(owner="me & co"), dataset="demo", search="net", owner="other").rows

    assert row.owner.query == "search=net&dataset=demo&owner=me+%26+co&order=create_time+desc"


@pytest.mark.parametrize(
    ("order", "name", "next_order", "direction"),
    [
        ("create_time desc", "create_time", "create_time", "descending"),
        ("create_time", "create_time", "create_time+desc", "ascending"),
        ("create_time desc", "top1_accuracy", "top1_accuracy+desc", ""),
        ("create_time desc", "display_name", "display_name", ""),
        ("display_name", "display_name", "display_name+desc", "ascending"),
        ("display_name desc", "display_name", "display_name", "descending"),
        ("severe_error_rate desc", "severe_error_rate", "severe_error_rate", "descending"),
    ],
)
def test_a_column_sorts_the_list(order: str, name: str, next_order: str, direction: str) -> None:
    column = view_of(order=order).columns[name]

    assert (column.query, column.direction) == (f"order={next_order}", direction)
    assert f"{name} desc" in ORDER_NAMES and name in ORDER_NAMES


def test_list_is_live_while_an_analysis_is_unfinished() -> None:
    assert not view_of(analysis(), analysis(state=State.FAILED, summary=None)).is_live
    assert view_of(analysis(), running()).is_live
    assert view_of(analysis(state=State.QUEUED, summary=None)).is_live
    assert not view_of().is_live
    assert view_of(is_incomplete=True).is_live, "analyses appear while the index is built"


def test_list_shows_the_selected_filters() -> None:
    result = view_of(state="failed", dataset="demo", search="net", order="display_name")

    chosen = {"state": "failed", "dataset": "demo", "search": "net", "order": "display_name"}
    assert result.selection == {**SELECTION, **chosen}
    assert result.is_filtered and not view_of(order="display_name").is_filtered
    assert result.datasets == (("demo", "demo"), ("imagenet", "imagenet"))
    assert [value for value, _ in result.states] == ["queued", "running", "succeeded", "failed", "cancelled"]


def test_unfinished_analysis_shows_state_and_progress() -> None:
    result = pending_view(running())

    assert (result.id, result.title, result.dataset, result.state) == ("a1", "timm:net", "demo", "running")
    assert (result.progress, result.done, result.total, result.is_live, result.failure) == (
        "5 of 20 images",
        5,
        20,
        True,
        "",
    )


def test_page_of_an_analysis_says_who_owns_it() -> None:
    assert pending_view(running()).identity == "analyses/a1"
    assert pending_view(running(owner="me")).identity == "analyses/a1, owner: me"


def test_failed_analysis_shows_the_reason_and_is_not_live() -> None:
    result = pending_view(
        analysis(state=State.FAILED, summary=None, failure=Failure("MODEL_NOT_FOUND", "There is none."))
    )

    assert (result.state, result.failure, result.is_live) == ("failed", "MODEL_NOT_FOUND: There is none.", False)
    assert result.progress == ""


@pytest.mark.parametrize(
    ("state", "progress", "sentence"),
    [
        (State.QUEUED, Progress(), ""),
        (State.QUEUED, Progress(live_workers=0, queue_position=3), "no worker is available"),
        (State.QUEUED, Progress(live_workers=2, queue_position=0), "0 analyses ahead in the queue"),
        (State.QUEUED, Progress(live_workers=2, queue_position=1200), "1,200 analyses ahead in the queue"),
        (State.RUNNING, Progress(1200, 50_000), "1,200 of 50,000 images"),
        (
            State.RUNNING,
            Progress(1200, 50_000, images_per_second=1234.5, eta_seconds=40.4),
            "1,200 of 50,000 images, 1,234 images/s, about 40 s left",
        ),
        (State.RUNNING, Progress(1, 20, eta_seconds=600), "1 of 20 images, about 10 min left"),
        (State.SUCCEEDED, Progress(20, 20, 5.0, 0.0), ""),
        (State.FAILED, Progress(5, 20, 5.0, 3.0), ""),
        (State.CANCELLED, Progress(5, 20), ""),
    ],
)
def test_progress_text_describes_unfinished_analyses(state: State, progress: Progress, sentence: str) -> None:
    assert progress_text(state, progress) == sentence


@given(
    state=st.sampled_from(STATES),
    progress=st.builds(
        Progress,
        done=st.integers(0, 10**6),
        total=st.integers(0, 10**6),
        images_per_second=st.none() | st.floats(0, 1e5),
        eta_seconds=st.none() | st.floats(0, 1e6),
        queue_position=st.none() | st.integers(0, 10**4),
        live_workers=st.none() | st.integers(0, 9),
    ),
)
@max_examples(200)
def test_progress_text_is_complete(state: State, progress: Progress) -> None:
    sentence = progress_text(state, progress)

    assert sentence == sentence.strip()
    assert not [item for item in ("None", "nan", "  ", ", ,", "-") if item in sentence]
    assert not sentence or not state.is_final


def test_row_of_a_partial_analysis_shows_its_coverage() -> None:
    partial = replace(summary(), num_judged=10_000)

    (row,) = view_of(analysis(summary=partial)).rows

    assert row.coverage == "84.0 %"  # (6000 + 2 * 1200) / 10,000
    assert view_of(analysis(summary=replace(partial, num_judged=8400))).rows[0].coverage == ""
    assert view_of(running()).rows[0].coverage == ""
