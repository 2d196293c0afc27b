"""Listings of open and archived analyses: pages neither repeat nor skip analyses, whatever changes meanwhile."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog
from analyses_strategy import START, archived_analyses, make_analysis
from errata.errors import InvalidRequest, Unavailable
from example_counts import max_examples
from hypothesis import given
from hypothesis import strategies as st

from service.analyses import queries
from service.analyses.image_details import find_newest_analysis
from service.analyses.retention import MAX_CONSECUTIVE_FAILURES, delete_expired
from service.archive.files import FolderFiles
from service.archive.record_log import RecordLog
from service.domain import (
    NEWEST_FIRST,
    ORDERS,
    RETENTION,
    Analysis,
    AnalysisFilter,
    AnalysisRequest,
    AuditAction,
    AuditEvent,
    Cursor,
    Failure,
    Order,
    Predictions,
    Progress,
    State,
)
from service.evidence.repository import EvidenceRepository
from service.jobs import transitions
from service.jobs.transitions import AnalysisRecord, JobSpec

from .conftest import Backend

ALL = AnalysisFilter()
IDS = st.text("abcdef", min_size=1, max_size=3)
PREDICTIONS = Predictions(np.zeros(1, dtype=np.int16))


def archive(backend: Backend, *analyses: Analysis) -> None:
    for analysis in analyses:
        backend.archive.put(analysis, PREDICTIONS)


def submit(backend: Backend, analysis_id: str, minutes: int, title: str = "open") -> None:
    """Create an open analysis."""
    request = AnalysisRequest("demo", "timm:a", title)
    created = (START + timedelta(minutes=minutes)).timestamp()
    spec = JobSpec(f"timm:{analysis_id}", "demo", "e" * 64, "i" * 64, 20, 20)
    backend.store.submit(AnalysisRecord(analysis_id, request, "d", "e" * 64, created=created), spec, limit=100)


def read_page(backend: Backend, order: Order, after: Cursor | None, limit: int) -> tuple[list[str], Cursor | None]:
    page = queries.list_analyses(backend.ports.stores, ALL, order, after, limit)
    assert not page.is_incomplete
    return [analysis.id for analysis in page.analyses], page.next


def read_all(backend: Backend, order: Order, limit: int) -> list[str]:
    ids, after = read_page(backend, order, None, limit)
    while after is not None:
        more, after = read_page(backend, order, after, limit)
        ids += more
    return ids


@pytest.mark.slow
@max_examples(60)
@given(
    archived=st.lists(archived_analyses(IDS.map(lambda text: f"x{text}")), max_size=12, unique_by=lambda item: item.id),
    opened=st.lists(st.tuples(IDS, st.integers(0, 5)), max_size=8, unique_by=lambda item: item[0]),
    added=st.lists(archived_analyses(IDS.map(lambda text: f"y{text}")), max_size=12, unique_by=lambda item: item.id),
    order=st.sampled_from(ORDERS),
    limit=st.integers(1, 4),
)
def test_analyses_that_are_added_between_pages_neither_repeat_nor_hide_others(
    repository: EvidenceRepository,
    archived: list[Analysis],
    opened: list[tuple[str, int]],
    added: list[Analysis],
    order: Order,
    limit: int,
) -> None:
    backend = Backend(repository)
    archive(backend, *archived)
    for analysis_id, minutes in opened:
        submit(backend, analysis_id, minutes)
    existing = slow_list(backend, archived, order)

    ids, after, remaining = [], None, list(added)
    while True:
        page, after = read_page(backend, order, after, limit)
        ids += page
        if after is None:
            break
        if remaining:
            archive(backend, remaining.pop())

    assert len(set(ids)) == len(ids), "an analysis was repeated"
    assert [analysis_id for analysis_id in ids if not analysis_id.startswith("y")] == existing


def slow_list(backend: Backend, archived: Sequence[Analysis], order: Order) -> list[str]:
    """Return the ids of all analyses in order."""
    opened = [queries.to_analysis(snapshot) for snapshot in backend.store.snapshots()]
    analyses = sorted([*archived, *opened], key=order.key, reverse=order.is_descending)
    return [analysis.id for analysis in analyses]


def test_an_analysis_that_ends_between_pages_is_neither_repeated_nor_skipped(backend: Backend) -> None:
    for number in range(6):
        submit(backend, f"a{number}", number)
    first, after = read_page(backend, NEWEST_FIRST, None, 2)
    for number in (5, 2):  # one that was on the first page, and one that was not
        backend.store.cancel(f"a{number}", "")
        backend.store.delete(f"a{number}")
        archive(backend, make_analysis(f"a{number}", number))

    second, after = read_page(backend, NEWEST_FIRST, after, 2)
    third, after = read_page(backend, NEWEST_FIRST, after, 2)

    assert first + second + third == ["a5", "a4", "a3", "a2", "a1", "a0"]
    assert after is None


def test_a_deleted_position_still_separates_the_pages(backend: Backend) -> None:
    archive(backend, *(make_analysis(f"a{number}", number) for number in range(6)))
    _, after = read_page(backend, NEWEST_FIRST, None, 2)
    backend.archive.delete("a4")

    assert read_page(backend, NEWEST_FIRST, after, 2)[0] == ["a3", "a2"]


def test_an_archived_analysis_that_the_store_lists_as_open_is_listed_once(backend: Backend) -> None:
    submit(backend, "a1", 1)
    archive(backend, make_analysis("a1", 1), make_analysis("a0", 0))

    for order in ORDERS:
        assert sorted(read_all(backend, order, 1)) == ["a0", "a1"]
        assert queries.count_analyses(backend.ports.stores, ALL, order) == 2
    open_ones = AnalysisFilter(frozenset({State.QUEUED}))
    assert queries.list_analyses(backend.ports.stores, open_ones, NEWEST_FIRST, None, 9).analyses == []


def test_counts_include_open_analyses(backend: Backend) -> None:
    archive(backend, *(make_analysis(f"a{number}", 2 * number) for number in range(4)))
    submit(backend, "b1", 3)
    page = queries.list_analyses(backend.ports.stores, ALL, NEWEST_FIRST, None, 3)

    assert [analysis.id for analysis in page.analyses] == ["a3", "a2", "b1"]
    assert queries.count_analyses(backend.ports.stores, ALL, NEWEST_FIRST) == 5
    assert queries.count_analyses(backend.ports.stores, ALL, NEWEST_FIRST, page.next) == 3
    assert queries.count_analyses(backend.ports.stores, AnalysisFilter(words=("open",)), NEWEST_FIRST) == 1


def test_a_count_that_stops_at_a_limit_is_the_limit(backend: Backend) -> None:
    """A larger number would mean that this many analyses match."""
    archive(backend, *(make_analysis(f"a{number}", number) for number in range(4)))
    submit(backend, "b1", 5)

    stores, search = backend.ports.stores, AnalysisFilter(words=("e",))
    assert queries.count_analyses(stores, search) == 5
    assert queries.count_analyses(stores, search, limit=3) == 3
    assert queries.count_analyses(stores, search, limit=9) == 5


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({"evidence_prefix": "ee"}, ["b1", "a1"]),
        ({"evidence_prefix": "ef"}, []),
        ({"request_id": "r"}, ["b1", "a1"]),
        ({"request_id": "R"}, []),
        ({"created_after": START + timedelta(minutes=1)}, ["b1", "a1"]),
        ({"created_after": START + timedelta(minutes=1, microseconds=1)}, ["b1"]),
        ({"created_before": START + timedelta(minutes=2)}, ["a1"]),
        ({"created_before": START + timedelta(minutes=1)}, []),
    ],
    ids=str,
)
def test_open_and_archived_analyses_meet_the_same_conditions(
    backend: Backend, conditions: dict[str, Any], expected: list[str]
) -> None:
    request = AnalysisRequest("demo", request_id="r")
    archive(backend, make_analysis("a1", 1, request=request))
    created = (START + timedelta(minutes=2)).timestamp()
    record = AnalysisRecord("b1", request, "d", "e" * 64, created=created)
    backend.store.submit(record, JobSpec("timm:a", "demo", "e" * 64, "i" * 64, 20, 20), limit=100)

    page = queries.list_analyses(backend.ports.stores, AnalysisFilter(**conditions), NEWEST_FIRST, None, 9)

    assert [analysis.id for analysis in page.analyses] == expected


@pytest.mark.parametrize("end", ["cancel", "fail"])
def test_an_analysis_does_not_change_after_its_end(backend: Backend, end: str) -> None:
    store = backend.store
    submit(backend, "a1", 1)
    backend.now += 1
    (job,) = (snapshot.record.job for snapshot in store.snapshots())
    token = store.change_shard(transitions.claim, job, 0, "w1", 60.0).fencing_token
    backend.now += 1
    store.change_shard(transitions.progress, job, 0, token, 5)
    if end == "cancel":
        store.cancel("a1", "")
    else:
        store.change_shard(transitions.fail, job, 0, token, Failure("OOPS", "it broke"))
    ended = queries.get(backend.ports.stores, "a1")
    assert (ended.state.is_final, ended.start_time is None, ended.progress) == (
        True,
        False,
        Progress(5, 20, shards_done=0, shards=1),
    )

    backend.now += 1
    store.heartbeat("w1")

    assert queries.get(backend.ports.stores, "a1") == ended
    assert queries.list_analyses(backend.ports.stores, ALL, NEWEST_FIRST, None, 9).analyses == [ended]


def test_an_incomplete_index_marks_the_page(backend: Backend) -> None:
    backend.archive.index.mark(is_complete=False)  # type: ignore[attr-defined]

    assert queries.list_analyses(backend.ports.stores, ALL, NEWEST_FIRST, None, 3).is_incomplete


def test_a_data_set_has_no_analyses_only_if_the_index_is_complete(backend: Backend) -> None:
    backend.archive.index.mark(is_complete=False)  # type: ignore[attr-defined]
    with pytest.raises(Unavailable, match="missing"):
        find_newest_analysis(backend.ports.stores, "demo")

    backend.archive.index.mark(is_complete=True)  # type: ignore[attr-defined]
    with pytest.raises(InvalidRequest, match="has no analyses"):
        find_newest_analysis(backend.ports.stores, "demo")


def test_an_unavailable_job_store_marks_the_page(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    archive(backend, make_analysis("a1"))

    def fail() -> None:
        raise Unavailable("Redis is unavailable.")

    monkeypatch.setattr(backend.store, "snapshots", fail)
    page = queries.list_analyses(backend.ports.stores, ALL, NEWEST_FIRST, None, 3)

    assert page.is_incomplete
    assert [analysis.id for analysis in page.analyses] == ["a1"]
    assert queries.count_analyses(backend.ports.stores, ALL) == 1


@pytest.mark.parametrize("text", ["odd", "title asc", "create_time  desc", "DESC"])
def test_an_unknown_order_is_rejected(text: str) -> None:
    with pytest.raises(InvalidRequest, match="Expected one of 'create_time desc'"):
        queries.parse_order(text)


def test_every_order_has_a_text() -> None:
    assert [queries.parse_order(str(order)) for order in ORDERS] == list(ORDERS)
    assert queries.parse_order("") == NEWEST_FIRST


def test_a_request_id_is_found_in_the_archive(backend: Backend) -> None:
    analysis = make_analysis("a1", request=AnalysisRequest("demo", request_id="r1"))
    archive(backend, analysis, make_analysis("a2"))

    assert queries.find_by_request_id(backend.ports.stores, "r1") == analysis
    assert queries.find_by_request_id(backend.ports.stores, "r2") is None

    backend.archive.stored.delete("a1")  # by another process, of which this one does not know yet
    backend.archive._cache.clear()
    assert queries.find_by_request_id(backend.ports.stores, "r1") is None


def test_an_analysis_is_available_even_if_the_index_cannot_be_read(backend: Backend) -> None:
    archive(backend, make_analysis("a1"))
    backend.archive.index.close()  # type: ignore[attr-defined]

    assert queries.get(backend.ports.stores, "a1").id == "a1"


def test_expired_analyses_are_deleted_and_their_request_ids_released(backend: Backend) -> None:
    now = (START + timedelta(days=10)).timestamp()
    backend.now = now
    old = [make_analysis(f"a{number:03}", number) for number in range(250)]
    recent = make_analysis("b1", end_time=START + timedelta(days=9))
    archive(backend, *old, recent, replace(recent, id="b2", create_time=START + timedelta(days=9), end_time=None))

    assert delete_expired(backend.ports.stores, timedelta(days=5), set()) == 250

    assert backend.archive.stored.ids() == backend.archive.index.ids() == {"b1", "b2"}


def test_an_expired_analysis_stays_until_its_event_can_be_stored(backend: Backend, tmp_path: Path) -> None:
    folder = tmp_path / "audit-analyses"
    events = RecordLog(FolderFiles(folder), AuditEvent)
    stores = replace(backend.ports.stores, events=events)
    recorded = set[str]()
    backend.now = (START + timedelta(days=10)).timestamp()
    archive(backend, make_analysis("a1"), make_analysis("a2", 1))
    folder.write_text("a file in the place of the folder: no event can be written")

    assert delete_expired(stores, timedelta(days=5), recorded) == 0
    assert backend.archive.stored.ids() == backend.archive.index.ids() == {"a1", "a2"}

    folder.unlink()
    assert delete_expired(stores, timedelta(days=5), recorded) == 2
    assert backend.archive.stored.ids() == set()
    assert {(event.analysis, event.actor, event.action) for event in events.all()} == {
        ("a1", RETENTION, AuditAction.DELETE),
        ("a2", RETENTION, AuditAction.DELETE),
    }


def test_repeated_attempts_to_delete_an_expired_analysis_add_one_event(
    backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: str) -> None:
        raise Unavailable("The archive could not be written: Operation not permitted.")

    events, recorded = RecordLog(FolderFiles(tmp_path), AuditEvent), set[str]()
    stores = replace(backend.ports.stores, events=events)
    backend.now = (START + timedelta(days=10)).timestamp()
    archive(backend, make_analysis("a1"), make_analysis("a2", 1))
    with monkeypatch.context() as patch:
        patch.setattr(backend.archive, "delete", fail)
        for _ in range(3):
            assert delete_expired(stores, timedelta(days=5), recorded) == 0

    assert delete_expired(stores, timedelta(days=5), recorded) == 2
    assert [event.analysis for event in events.all()] == ["a1", "a2"]
    archive(backend, make_analysis("a1"))  # restored from a backup
    assert delete_expired(stores, timedelta(days=5), recorded) == 1
    assert [event.analysis for event in events.all()] == ["a1", "a2", "a1"]


def test_an_expired_analysis_that_is_gone_after_an_error_gets_an_event_if_it_is_restored(
    backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The document was deleted, but not the predictions."""
    delete = backend.archive.delete

    def delete_document(name: str) -> None:
        delete(name)
        raise Unavailable("The archive could not be written: Operation not permitted.")

    events, recorded = RecordLog(FolderFiles(tmp_path), AuditEvent), set[str]()
    stores = replace(backend.ports.stores, events=events)
    backend.now = (START + timedelta(days=10)).timestamp()
    archive(backend, make_analysis("a1"))
    with monkeypatch.context() as patch:
        patch.setattr(backend.archive, "delete", delete_document)
        assert delete_expired(stores, timedelta(days=5), recorded) == 0
    assert delete_expired(stores, timedelta(days=5), recorded) == 0

    archive(backend, make_analysis("a1"))
    assert delete_expired(stores, timedelta(days=5), recorded) == 1
    assert [event.analysis for event in events.all()] == ["a1", "a1"]


def test_the_deletion_of_expired_analyses_ends_while_the_archive_is_unavailable(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend.now = (START + timedelta(days=10)).timestamp()
    archive(backend, *(make_analysis(f"a{number:03}", number) for number in range(150)))
    delete = backend.archive.delete

    def fail(analysis_id: str) -> None:
        if analysis_id != "a005":
            raise Unavailable("The archive could not be written.")
        delete(analysis_id)

    monkeypatch.setattr(backend.archive, "delete", fail)

    with structlog.testing.capture_logs() as logged, pytest.raises(Unavailable):
        delete_expired(backend.ports.stores, timedelta(days=5), set())
    assert {f"a{number:03}" for number in range(150)} - backend.archive.stored.ids() == {"a005"}
    failed = 5 + MAX_CONSECUTIVE_FAILURES
    assert logged[-1] == {"event": "expired analyses deleted", "log_level": "info", "count": 1, "failed": failed}


@pytest.mark.parametrize("failing", ["event", "archive"])
def test_expired_analyses_after_one_that_cannot_be_deleted_are_deleted(
    backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    events = RecordLog(FolderFiles(tmp_path), AuditEvent)
    stores = replace(backend.ports.stores, events=events)
    backend.now = (START + timedelta(days=10)).timestamp()
    archive(backend, *(make_analysis(f"a{number}", number) for number in range(4)))
    append, delete, recorded = events.append, backend.archive.delete, set[str]()

    def fail(analysis_id: str) -> None:
        if analysis_id in ("a0", "a2"):
            raise Unavailable("The archive could not be written.")

    with monkeypatch.context() as patch, structlog.testing.capture_logs() as logged:
        if failing == "event":
            patch.setattr(events, "append", lambda event: (fail(event.analysis), append(event))[1])
        else:
            patch.setattr(backend.archive, "delete", lambda name: (fail(name), delete(name))[1])
        assert delete_expired(stores, timedelta(days=5), recorded) == 2
    assert backend.archive.stored.ids() == {"a0", "a2"}
    warnings = [entry["analysis"] for entry in logged if entry["event"] == "expired analysis not deleted"]
    assert warnings == ["a0", "a2"]
    assert {"event": "expired analyses deleted", "log_level": "info", "count": 2, "failed": 2} in logged

    assert delete_expired(stores, timedelta(days=5), recorded) == 2
    assert backend.archive.stored.ids() == set()
