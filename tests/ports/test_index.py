"""The suite of an index: every query gives the result of a slow search in a list, also after changes."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import structlog
from analyses_strategy import (
    LABELS,
    START,
    TITLES,
    archived_analyses,
    make_analysis,
    make_record,
    make_summary,
    unique_analyses,
)
from example_counts import max_examples
from hypothesis import given
from hypothesis import strategies as st
from indexed_archive import temporary_index

from service.archive.archive import FileArchive
from service.archive.files import open_files
from service.archive.index import SqliteIndex, conditions
from service.archive.index.comparison import Comparison
from service.archive.indexed import IndexedArchive
from service.domain import (
    ALL,
    NEWEST_FIRST,
    ORDERS,
    Analysis,
    AnalysisFilter,
    AnalysisRequest,
    Cursor,
    ModelVersion,
    Order,
    Predictions,
    State,
    StoredResult,
)
from service.taxonomy.imagenet_1k import GROUPS

SOME = max_examples(100)
TIMES = st.none() | st.integers(0, 5).map(lambda minutes: START + timedelta(minutes=minutes))


@pytest.fixture
def index() -> SqliteIndex:
    return temporary_index()


def filled(analyses: Sequence[Analysis]) -> SqliteIndex:
    index = temporary_index()
    index.add([make_record(analysis) for analysis in analyses])
    return index


@st.composite
def filters(draw: st.DrawFn) -> AnalysisFilter:
    """Generate a filter with up to three conditions."""
    conditions = {
        "states": st.frozensets(st.sampled_from(State), max_size=3),
        "dataset": st.sampled_from(["demo", "imagenet", "none"]),
        "model": st.sampled_from(["timm:a", "timm:b"]),
        "labels": st.dictionaries(st.sampled_from(LABELS), st.sampled_from(LABELS), max_size=3),
        "id_prefix": st.text("ab01", max_size=2),
        "display_name": st.sampled_from([*TITLES, "upload", "timm:a"]),
        "evidence": st.sampled_from(["e" * 64, "f" * 64]),
        "evidence_prefix": st.sampled_from(["e", "ee", "f", "a", "ef" * 32]),
        "request_id": st.sampled_from(["r1", "r3"]),
        "owner": st.sampled_from(["me", "registry:prod"]),
        "computation": st.sampled_from(["c1", "c3"]),
        "words": st.lists(
            st.sampled_from(
                ["net", "net 2", "2", "ärger", "ss", "z\0", "z\ufffdz", "x", "timm:", "a=b", 'n"t', "registry", "ab0"]
            ),
            max_size=2,
        ).map(tuple),
        "ended_before": TIMES,
        "created_after": TIMES,
        "created_before": TIMES,
    }
    names = draw(st.lists(st.sampled_from(sorted(conditions)), max_size=3, unique=True))
    return AnalysisFilter(**{name: draw(conditions[name]) for name in names})


def search(analyses: Sequence[Analysis], analysis_filter: AnalysisFilter, order: Order) -> list[Analysis]:
    """Return the matching analyses in order, from a list."""
    matching = [analysis for analysis in analyses if analysis_filter.matches(analysis)]
    return sorted(matching, key=order.key, reverse=order.is_descending)


def read_pages(
    index: SqliteIndex, analysis_filter: AnalysisFilter, order: Order, size: int
) -> tuple[list[Analysis], list[Cursor]]:
    """Return all analyses page by page, and the positions at which the pages end."""
    analyses: list[Analysis] = []
    cursors: list[Cursor] = []
    while page := index.find(analysis_filter, order, cursors[-1] if cursors else None, size):
        assert len(page) <= size
        analyses += page
        cursors.append(order.cursor(page[-1]))
    return analyses, cursors


@pytest.mark.parametrize("counted", [0, 3, conditions.MAX_COUNTED])
@SOME
@given(unique_analyses(), filters(), st.sampled_from(ORDERS), st.integers(1, 5))
def test_pages_and_counts_are_those_of_a_slow_search(
    counted: int, analyses: list[Analysis], analysis_filter: AnalysisFilter, order: Order, size: int
) -> None:
    index, expected = filled(analyses), search(analyses, analysis_filter, order)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conditions, "MAX_COUNTED", counted)  # a condition with fewer analyses is rare
        actual, cursors = read_pages(index, analysis_filter, order, size)

    assert actual == expected
    assert index.count(analysis_filter) == len(expected)
    for number, cursor in enumerate(cursors, 1):
        position = min(number * size, len(expected))
        assert index.count(analysis_filter, order, until=cursor) == position
        assert min(index.count(analysis_filter, order, until=cursor, limit=2), 2) == min(position, 2)


@pytest.mark.slow
@SOME
@given(
    st.lists(st.tuples(st.sampled_from(["add", "remove"]), archived_analyses(st.sampled_from("abcdef"))), max_size=20),
    filters(),
)
def test_an_index_has_the_latest_analysis_of_each_id(
    changes: list[tuple[str, Analysis]], analysis_filter: AnalysisFilter
) -> None:
    index, expected = temporary_index(), dict[str, Analysis]()
    for change, analysis in changes:
        if change == "add":
            index.add([make_record(analysis)])
            expected[analysis.id] = analysis
        else:
            index.remove([analysis.id])
            expected.pop(analysis.id, None)

    analyses = list(expected.values())
    assert index.ids() == set(expected)
    assert index.contained(["a", "x", "b"]) == {"a", "b"} & set(expected)
    assert index.find(analysis_filter, NEWEST_FIRST, None, 100) == search(analyses, analysis_filter, NEWEST_FIRST)
    datasets = [analysis.request.dataset for analysis in analyses]
    assert index.num_by_dataset() == {dataset: datasets.count(dataset) for dataset in datasets}
    for states in (frozenset[State](), frozenset({State.SUCCEEDED}), frozenset({State.FAILED, State.QUEUED})):
        matching = search(analyses, AnalysisFilter(states, dataset="demo"), NEWEST_FIRST)
        assert index.count(AnalysisFilter(states, dataset="demo")) == len(matching)


@pytest.mark.slow
@SOME
@given(unique_analyses(), st.sampled_from((ALL, *GROUPS)))
def test_results_have_the_numbers_of_the_summaries(analyses: list[Analysis], group: str) -> None:
    chosen = AnalysisFilter(frozenset({State.SUCCEEDED}), dataset="demo", evidence="e" * 64)

    results = filled(analyses).results("demo", "e" * 64, group)

    plausible = [analysis for analysis in search(analyses, chosen, NEWEST_FIRST) if not analysis.implausible]
    assert list(results) == [StoredResult.of(analysis, group) for analysis in plausible]


def test_a_version_has_its_newest_successful_analysis(index: SqliteIndex) -> None:
    def named(analysis_id: str, name: str, version: str, minutes: int = 0, **changes: object) -> Analysis:
        labels = {"model": name, "version": version}
        return make_analysis(analysis_id, minutes, request=AnalysisRequest("demo", "timm:x", labels=labels), **changes)

    index.add(
        [
            make_record(analysis)
            for analysis in (
                named("a1", "net", "1"),
                named("a2", "net", "1"),
                named("a3", "net", "1", state=State.FAILED, summary=None),
                named("a4", "net", "2"),
                named("a5", "", ""),
                make_analysis("a6", request=AnalysisRequest("demo")),
                named("a7", "net", "2", implausible=True),
                named("a0", "net", "3", minutes=1),
                named("a8", "net", "3"),
            )
        ]
    )

    assert index.newest_versions() == [
        ModelVersion("net", "3", "demo", "a0"),  # its id is older than its creation time
        ModelVersion("timm:x", "", "demo", "a5"),
        ModelVersion("net", "2", "demo", "a4"),
        ModelVersion("net", "1", "demo", "a2"),
    ]


@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_an_index_is_built_from_an_archive(request: pytest.FixtureRequest, tmp_path: Path, kind: str) -> None:
    place = str(tmp_path) if kind == "folder" else f"{request.getfixturevalue('bucket')}/{tmp_path.name}"
    analyses = [make_analysis(f"a{number:02}", number) for number in range(25)]
    for analysis in analyses:
        FileArchive(open_files(place)).put(analysis, Predictions(np.zeros(3, dtype=np.int16)))
    open_files(place).write({"a07.json": b"damaged"})
    index = SqliteIndex(tmp_path / "index" / "0.sqlite")
    compare = Comparison(IndexedArchive(FileArchive(open_files(place)), index))

    with structlog.testing.capture_logs() as log:
        compare()
        compare()

    expected = [analysis for analysis in reversed(analyses) if analysis.id != "a07"]
    assert index.find(AnalysisFilter(), NEWEST_FIRST, None, 100) == expected
    assert index.is_complete
    assert [event["event"] for event in log] == ["archived analysis unreadable"]
    index.close()


def test_an_added_analysis_is_found_at_once_and_so_is_its_replacement(index: SqliteIndex) -> None:
    index.add([make_record(make_analysis("a1", owner="alice")), make_record(make_analysis("a2", owner="bob"))])
    assert index.contained(["a1", "a3"]) == {"a1"}
    assert index.find(AnalysisFilter(owner="carol"), NEWEST_FIRST, None, 9) == []
    assert [record.id for record in index.find(AnalysisFilter(owner="alice"), NEWEST_FIRST, None, 9)] == ["a1"]

    index.add([make_record(make_analysis("a1", owner="carol"))])
    assert index.find(AnalysisFilter(owner="alice"), NEWEST_FIRST, None, 9) == []
    assert [record.owner for record in index.find(AnalysisFilter(owner="carol"), NEWEST_FIRST, None, 9)] == ["carol"]
    index.add([make_record(make_analysis("a1", owner="bob"))])
    assert index.count(AnalysisFilter(owner="bob")) == 2
    index.add([make_record(make_analysis("a3"))])
    index.remove(["a3"])
    assert index.ids() == {"a1", "a2"}


def test_the_version_grows_with_each_change(index: SqliteIndex) -> None:
    versions = [index.version]
    index.add([make_record(make_analysis("a1"))])
    versions.append(index.version)
    index.find(AnalysisFilter(), NEWEST_FIRST, None, 1)
    assert index.version == versions[-1]
    index.remove(["a1"])
    versions.append(index.version)

    assert versions == sorted(set(versions))


def test_a_listed_analysis_has_all_its_values(index: SqliteIndex) -> None:
    analysis = replace(
        make_analysis("a1"), warnings=("one", "two"), owner="me", summary=make_summary(1 / 3, 12), cached=True
    )
    index.add([make_record(analysis)])

    assert index.find(AnalysisFilter(), NEWEST_FIRST, None, 1) == [analysis]
