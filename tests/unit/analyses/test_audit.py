"""The audit log of analyses: which changes add an event, what an event has, filters, pages, and its cost."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import structlog
from errata.errors import Unavailable

from service.analyses import audit
from service.analyses.audit import AuditFilter, list_events, record_change, record_gate
from service.analyses.lru_cache import LruCache
from service.analyses.ports import Stores
from service.archive.files import FolderFiles
from service.archive.record_log import RecordLog
from service.caller import CALLER, Caller, restricted_to
from service.domain import Analysis, AnalysisRequest, AuditAction, AuditEvent, GateDecision, GateResult, State
from service.evidence.publications import InMemoryPublications

START = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


def make_stores(folder: Path, clock: Clock) -> Stores:
    """Return the stores that the audit log uses."""
    fields: dict[str, Any] = {
        "events": RecordLog(FolderFiles(folder), AuditEvent),
        "evidence": SimpleNamespace(published=SimpleNamespace(publications=InMemoryPublications())),
        "clock": clock,
        "gate_decisions": LruCache(10),
    }
    return cast(Stores, SimpleNamespace(**fields))


@pytest.fixture
def stores(tmp_path: Path) -> Stores:
    return make_stores(tmp_path / "audit-analyses", Clock())


@contextmanager
def caller(name: str) -> Iterator[None]:
    token = CALLER.set(Caller(name))
    try:
        yield
    finally:
        CALLER.reset(token)


def analysis(id: str = "a1", dataset: str = "demo") -> Analysis:
    request = AnalysisRequest(dataset, display_name=f"net {id}")
    return Analysis(id, request, State.SUCCEEDED, "e" * 64, START, owner="alice")


def events(stores: Stores, **conditions: Any) -> list[AuditEvent]:
    return [*list_events(stores, AuditFilter(**conditions), None, 1000)[0]]


def test_an_event_has_its_actor_action_and_analysis(stores: Stores) -> None:
    with caller("bob"):
        record_change(stores, AuditAction.DELETE, analysis(), {"create_time": "2026"})

    (event,) = events(stores)
    assert (event.actor, event.action, event.analysis, event.dataset) == ("bob", AuditAction.DELETE, "a1", "demo")
    assert (event.digest, event.time) == ("e" * 64, START + timedelta(seconds=1))
    assert event.details == {"owner": "alice", "title": "net a1", "create_time": "2026"}


def test_a_call_without_a_token_is_unauthenticated(stores: Stores) -> None:
    record_change(stores, AuditAction.CREATE, analysis())

    assert [event.actor for event in events(stores)] == ["unauthenticated"]


def test_another_process_reads_the_events_and_those_of_evidence_newest_first(tmp_path: Path) -> None:
    clock = Clock()
    first = make_stores(tmp_path, clock)
    record_change(first, AuditAction.CREATE, analysis("a1"))
    second = make_stores(tmp_path, clock)
    published = AuditEvent("0" * 32, clock(), "root", AuditAction.PUBLISH, "demo", "d" * 64)
    second.evidence.published.publications.append(published)
    record_change(second, AuditAction.CANCEL, analysis("a2"))

    actions = [event.action for event in events(second)]
    assert actions == [AuditAction.CANCEL, AuditAction.PUBLISH, AuditAction.CREATE]


def test_filters_select_events_that_meet_all_conditions(stores: Stores) -> None:
    for number in range(6):
        with caller("alice" if number % 2 else "bob"):
            action = AuditAction.CREATE if number < 3 else AuditAction.DELETE
            record_change(stores, action, analysis(f"a{number}", "demo" if number < 5 else "other"))

    def ids(**conditions: Any) -> list[str]:
        return [event.analysis for event in events(stores, **conditions)]

    assert ids() == ["a5", "a4", "a3", "a2", "a1", "a0"]
    assert ids(actor="alice") == ["a5", "a3", "a1"]
    assert ids(action=AuditAction.CREATE) == ["a2", "a1", "a0"]
    assert ids(dataset="other") == ids(analysis="a5") == ["a5"]
    assert ids(start=START + timedelta(seconds=3), end=START + timedelta(seconds=5)) == ["a3", "a2"]
    assert ids(actor="alice", action=AuditAction.CREATE) == ["a1"]
    assert ids(actor="nobody") == []


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8])
def test_pages_have_all_events_once_while_others_are_added(stores: Stores, size: int) -> None:
    for number in range(7):
        record_change(stores, AuditAction.CREATE, analysis(f"a{number}"))
        if number % 3 == 0:
            publish(stores, number)
    expected, paged, position = events(stores), list[AuditEvent](), None
    while True:
        page, position = list_events(stores, AuditFilter(), position, size)
        paged += page
        record_change(stores, AuditAction.CREATE, analysis("later"))
        if position is None:
            break
    assert paged == expected


def test_a_page_reads_a_bounded_number_of_events(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "MAX_SCANNED", 4)
    for number in range(10):
        record_change(stores, AuditAction.CREATE, analysis(f"a{number}"))

    page, position = list_events(stores, AuditFilter(analysis="a1"), None, 5)
    assert (page, position is None) == ([], False)
    analyses, pages = list[str](), 1
    while position is not None:
        page, position = list_events(stores, AuditFilter(analysis="a1"), position, 5)
        analyses += [event.analysis for event in page]
        pages += 1
    assert analyses == ["a1"]
    assert pages >= 3


def publish(stores: Stores, number: int) -> None:
    event = AuditEvent(f"{number:032x}", cast(Clock, stores.clock)(), "root", AuditAction.PUBLISH, "demo")
    stores.evidence.published.publications.append(event)


def test_a_page_is_full_after_many_events_of_evidence(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "MAX_SCANNED", 4)
    for number in range(5):
        record_change(stores, AuditAction.CREATE, analysis(f"a{number}"))
    end = cast(Clock, stores.clock).now + timedelta(seconds=1)
    for number in range(10):
        publish(stores, number)

    page, position = list_events(stores, AuditFilter(end=end), None, 2)
    assert [event.analysis for event in page] == ["a4", "a3"]
    page, _ = list_events(stores, AuditFilter(), position, 2)
    assert [event.analysis for event in page] == ["a2", "a1"]


def test_a_page_reads_no_events_of_evidence_before_its_start(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "MAX_SCANNED", 4)
    for number in range(10):
        publish(stores, number)
    record_change(stores, AuditAction.CREATE, analysis("a1"))

    page, position = list_events(stores, AuditFilter(start=stores.clock() - timedelta(seconds=1)), None, 5)

    assert [event.analysis for event in page] == ["a1"]
    assert position is None


def test_a_page_reads_only_its_own_files(tmp_path: Path) -> None:
    read: list[str] = []

    class Counting(FolderFiles):
        def read(self, name: str) -> bytes | None:
            read.append(name)
            return super().read(name)

    stores = make_stores(tmp_path, Clock())
    for number in range(50):
        record_change(stores, AuditAction.CREATE, analysis(f"a{number}"))
    counted = cast(Stores, SimpleNamespace(**{**vars(stores), "events": RecordLog(Counting(tmp_path), AuditEvent)}))

    page, _ = list_events(counted, AuditFilter(), None, 5)

    assert [event.analysis for event in page] == ["a49", "a48", "a47", "a46", "a45"]
    assert len(read) <= 7


def test_a_polled_gate_adds_an_event_when_its_decision_changes(stores: Stores) -> None:
    def evaluate(decision: GateDecision, policy: str = "p", name: str = "ci") -> None:
        with caller(name):
            record_gate(stores, analysis(), policy, GateResult(decision, "release", "a1", "", ()))

    for _ in range(100):
        evaluate(GateDecision.PENDING)
    assert events(stores) == []
    for _ in range(100):
        evaluate(GateDecision.FAIL)
    assert [event.details["decision"] for event in events(stores)] == ["fail"]
    evaluate(GateDecision.PASS)
    evaluate(GateDecision.FAIL, policy="another")
    evaluate(GateDecision.PASS, name="alice")
    assert [(event.actor, event.details["decision"]) for event in events(stores)] == [
        ("alice", "pass"),
        ("ci", "fail"),
        ("ci", "pass"),
        ("ci", "fail"),
    ]


class Full(FolderFiles):
    """A folder that cannot be written."""

    def write(self, contents: object) -> None:
        raise Unavailable("The archive could not be written: no space left.")


def test_only_a_required_event_fails_its_call(tmp_path: Path) -> None:
    stores = make_stores(tmp_path, Clock())
    full = cast(Stores, SimpleNamespace(**{**vars(stores), "events": RecordLog(Full(tmp_path), AuditEvent)}))

    record_change(full, AuditAction.CANCEL, analysis())
    with pytest.raises(Unavailable):
        record_change(full, AuditAction.DELETE, analysis(), required=True)


def test_events_of_an_unreadable_file_are_skipped_and_logged_once(stores: Stores, tmp_path: Path) -> None:
    record_change(stores, AuditAction.CREATE, analysis("a1"))
    folder = tmp_path / "audit-analyses"
    (folder / f"{'f' * 32}.json").write_text("{")
    (folder / "notes.txt").write_text("x")

    with structlog.testing.capture_logs() as entries:
        for _ in range(3):
            assert [event.analysis for event in events(stores)] == ["a1"]
    assert [entry["name"] for entry in entries] == [f"{'f' * 32}.json"]


def test_ids_begin_with_the_time(stores: Stores) -> None:
    record_change(stores, AuditAction.CREATE, analysis())

    (event,) = events(stores)
    assert int(event.id[:12], 16) == int((START + timedelta(seconds=1)).timestamp() * 1000)
    assert len(event.id) == 32


def test_a_restricted_block_ends() -> None:
    with restricted_to("alice"):
        assert CALLER.get() == Caller(visible_owner="alice")
    assert CALLER.get() == Caller()
    with restricted_to(None):
        assert replace(CALLER.get(), name="") == Caller()
