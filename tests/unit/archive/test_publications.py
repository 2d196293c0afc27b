"""Published files and the audit log of an archive, in a folder and in an object store."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from errata.errors import Unavailable

from service.archive.publications import ArchivePublications
from service.domain import AuditAction, AuditEvent

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def event(number: int) -> AuditEvent:
    time = NOW + timedelta(minutes=number)
    return AuditEvent(f"{number:032x}", time, "ann", AuditAction.IMPORT, "street", "", {"reviews": str(number)})


@pytest.fixture(params=["folder", "object store"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "archive") if request.param == "folder" else f"memory://{tmp_path}/archive"


def test_events_of_two_processes_are_ordered_by_time(location: str) -> None:
    one, two = (ArchivePublications(location, refresh_seconds=0.0) for _ in range(2))
    one.append(event(2))
    two.append(event(1))
    one.append(event(3))

    assert [*one.events()] == [*two.events()] == [event(1), event(2), event(3)]


def test_events_of_other_processes_are_read_once_per_interval_or_after_a_refresh(location: str) -> None:
    one, two = ArchivePublications(location), ArchivePublications(location, refresh_seconds=3600.0)
    assert not two.events()
    one.append(event(1))

    assert not two.events()
    two.refresh()
    assert [*two.events()] == [event(1)]
    two.append(event(2))
    assert [*two.events()] == [event(1), event(2)]


def test_known_events_stay_in_effect_while_the_archive_is_unavailable(
    location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    publications = ArchivePublications(location, refresh_seconds=0.0)
    publications.append(event(1))
    before = publications.events()

    def fail() -> None:
        raise Unavailable("no network")

    monkeypatch.setattr(publications._audit, "all", fail)

    assert publications.events() == before
    started_now = ArchivePublications(location, refresh_seconds=0.0)
    monkeypatch.setattr(started_now._audit, "all", fail)
    with pytest.raises(Unavailable):
        started_now.events()


def test_files_are_read_as_they_were_written(location: str) -> None:
    publications = ArchivePublications(location)
    publications.write("a.0000", b"content")

    assert publications.read("a.0000") == b"content"
    assert publications.read("b.0000") is None
    assert publications.sizes() == {"a.0000": 7}


def test_an_unreadable_event_hides_only_itself(tmp_path: Path) -> None:
    publications = ArchivePublications(str(tmp_path), refresh_seconds=0.0)
    publications.append(event(1))
    (tmp_path / "audit" / f"{2:032x}.json").write_text('{"schema": 1, "action": "of a newer version"}')
    (tmp_path / "audit" / f"{3:032x}.json").write_bytes(b"\x80\x04")
    (tmp_path / "audit" / f"{4:032x}.json").symlink_to(f"{4:032x}.json")
    for number, time in enumerate(("0001-01-01T00:00:00+10:00", "9999-12-31T23:59:59-10:00", "2026-01-01"), start=5):
        record = json.loads((tmp_path / "audit" / f"{1:032x}.json").read_text()) | {"id": f"{number:032x}"}
        (tmp_path / "audit" / f"{number:032x}.json").write_text(json.dumps(record | {"time": time}))

    assert [*publications.events()] == [event(1)]
