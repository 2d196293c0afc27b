"""The identity of the archive: a job store is bound to one archive."""

import errno
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
import structlog
from analyses_strategy import make_analysis
from errata.errors import InvalidSetting, Unavailable
from fsspec.implementations.memory import MemoryFileSystem
from indexed_archive import temporary_files

from service.archive.archive import FileArchive, open_archive, open_events
from service.archive.files import FolderFiles, ObjectFiles, open_files
from service.archive.orphaned_files import remove_orphaned_files
from service.archive.publications import ArchivePublications
from service.archive.record_log import RecordLog
from service.bootstrap.archive_identity import ArchiveIdentity
from service.domain import AuditAction, AuditEvent, Predictions, Review, review_keys
from service.jobs.memory import InMemoryJobStore
from service.jobs.transaction import JobTransaction
from service.redact import log_fields, public_message

Value = TypeVar("Value")
PREDICTIONS = Predictions(np.zeros(3, dtype=np.int16))
TIME = datetime(2026, 1, 1, tzinfo=UTC)
EVENT = AuditEvent("1" * 32, TIME, "ann", AuditAction.DELETE, "demo", "", {})
REVIEW = Review("1" * 32, "demo", "a.jpg", "e" * 64, "ann", True, TIME, problematic=True)


@pytest.fixture
def store() -> InMemoryJobStore:
    return InMemoryJobStore(lambda: 0.0)


def test_processes_with_one_archive_share_a_store(store: InMemoryJobStore) -> None:
    archive = FileArchive(temporary_files())
    for _ in range(2):
        identity = ArchiveIdentity(archive, store, "/archive")
        identity.check()
        assert identity.allows_judging()
        assert not identity.is_foreign


def test_another_archive_is_rejected_with_both_ids_and_the_remedy(store: InMemoryJobStore) -> None:
    first, second = FileArchive(temporary_files()), FileArchive(temporary_files())
    ArchiveIdentity(first, store, "/first").check()
    second.id()
    identity = ArchiveIdentity(second, store, "/second")

    with pytest.raises(InvalidSetting) as refused:
        identity.check()

    message = refused.value.message
    for part in ("/second", first.id(), second.id(), "ERRATA_ARCHIVE", "errata:archive"):
        assert part in message
    assert identity.is_foreign
    assert not identity.allows_judging()


def test_an_empty_folder_is_rejected_and_gets_no_id_if_the_store_has_an_archive(
    store: InMemoryJobStore, tmp_path: Path
) -> None:
    """For example, because its volume is not mounted."""
    store.bind_archive("1" * 32)
    identity = ArchiveIdentity(open_archive(str(tmp_path)), store, str(tmp_path))

    with pytest.raises(InvalidSetting, match=f"has no file archive-id, but .* id {'1' * 32}.*errata:archive"):
        identity.check()

    assert identity.is_foreign and not identity.allows_judging()
    assert [*tmp_path.iterdir()] == []


def test_the_first_judging_compares_the_ids(store: InMemoryJobStore) -> None:
    ArchiveIdentity(FileArchive(temporary_files()), store, "/first").check()

    assert not ArchiveIdentity(FileArchive(temporary_files()), store, "/second").allows_judging()


def test_a_replaced_store_is_logged_once_and_recovers() -> None:
    archive = FileArchive(temporary_files())
    stores = [InMemoryJobStore(lambda: 0.0) for _ in range(2)]
    stores[1].bind_archive("0" * 32)
    identity = ArchiveIdentity(archive, stores[0], "/archive")
    identity.check()

    with structlog.testing.capture_logs() as log:
        identity._store = stores[1]
        for _ in range(3):
            identity.watch()
        assert identity.is_foreign
        identity._store = InMemoryJobStore(lambda: 0.0)  # an empty store gets the id again
        identity.watch()

    assert not identity.is_foreign
    assert identity._store.bind_archive("another") == archive.id()
    assert [event["log_level"] for event in log] == ["error", "info"]


@pytest.mark.parametrize("replacement", [None, "0" * 32])
def test_an_archive_that_vanishes_is_noticed_until_it_is_back(
    store: InMemoryJobStore, tmp_path: Path, replacement: str | None
) -> None:
    """For example, because its volume is unmounted."""
    folder, aside = tmp_path / "archive", tmp_path / "aside"
    archive = open_archive(str(folder))
    identity = ArchiveIdentity(archive, store, str(folder))
    identity.check()
    archive.put(make_analysis("a1"), PREDICTIONS)
    folder.rename(aside)
    if replacement is not None:
        folder.mkdir()
        (folder / "archive-id").write_text(replacement)

    with pytest.raises(Unavailable, match="Restore it, for example by mounting its volume again"):
        archive.put(make_analysis("a2"), PREDICTIONS)
    with structlog.testing.capture_logs() as log:
        identity.watch()
    assert identity.is_foreign and not identity.allows_judging()
    assert ("no file archive-id" if replacement is None else replacement) in log[0]["error"]
    assert [*folder.glob("a2*")] == []

    shutil.rmtree(folder, ignore_errors=True)
    aside.rename(folder)
    identity.watch()
    archive.put(make_analysis("a2"), PREDICTIONS)
    assert not identity.is_foreign and archive.ids() == {"a1", "a2"}


class StoppedStore(InMemoryJobStore):
    """A store that cannot be reached until it is started."""

    is_started = False

    def run(self, step: Callable[[JobTransaction], Value]) -> Value:
        if not self.is_started:
            raise Unavailable("The job store is unavailable.")
        return super().run(step)


@pytest.fixture
def stopped_store() -> StoppedStore:
    return StoppedStore(lambda: 0.0)


@pytest.mark.parametrize("mount_point", ["missing", "empty", "another archive"])
@pytest.mark.parametrize("first", ["bound store", "volume and bound store", "volume and empty store"])
def test_an_archive_that_is_mounted_after_the_start_is_used(
    stopped_store: StoppedStore, tmp_path: Path, first: str, mount_point: str
) -> None:
    """After a restart of the machine, a process can start before Redis, and before the volume is mounted."""
    folder, volume = tmp_path / "archive", tmp_path / "volume"
    archive_id = FileArchive(FolderFiles(volume)).id()
    if mount_point != "missing":
        folder.mkdir()
    if mount_point == "another archive":  # earlier versions created an id in the mount point
        FileArchive(FolderFiles(folder)).id()
    content = [*tmp_path.rglob("*")]
    archive = FileArchive(FolderFiles(folder))
    identity = ArchiveIdentity(archive, stopped_store, str(folder))
    with pytest.raises(Unavailable):
        identity.watch()
    assert not identity.is_ready, "the ids were not compared"
    if "volume" not in first:
        stopped_store.is_started = True
        stopped_store.bind_archive(archive_id)
        identity.watch()
        assert not identity.is_ready
    if "volume" not in first or mount_point != "another archive":
        with pytest.raises(Unavailable, match="Restore it, for example by mounting its volume again"):
            archive.put(make_analysis("a1"), PREDICTIONS)
    assert [*tmp_path.rglob("*")] == content
    shutil.rmtree(folder, ignore_errors=True)
    volume.rename(folder)
    if "volume" in first:
        with pytest.raises(Unavailable):
            identity.watch()
        stopped_store.is_started = True
        if "bound" in first:
            stopped_store.bind_archive(archive_id)
    identity.watch()
    assert identity.is_ready and identity.allows_judging()
    assert stopped_store.bind_archive("") == archive_id

    archive.put(make_analysis("a1"), PREDICTIONS)
    assert archive.ids() == {"a1"}

    shutil.rmtree(folder)
    folder.mkdir()
    with pytest.raises(Unavailable, match="Restore it, for example by mounting its volume again"):
        archive.put(make_analysis("a2"), PREDICTIONS)


def test_a_new_archive_gets_its_id_once_the_store_has_responded(stopped_store: StoppedStore, tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    archives = [FileArchive(FolderFiles(folder)) for _ in range(2)]
    identities = [ArchiveIdentity(archive, stopped_store, str(folder)) for archive in archives]
    for archive, identity in zip(archives, identities, strict=True):
        with pytest.raises(Unavailable):
            identity.watch()
        with pytest.raises(Unavailable, match="A new archive can be used once Redis has responded"):
            archive.put(make_analysis("a1"), PREDICTIONS)
    assert not folder.exists()

    stopped_store.is_started = True

    for number, (archive, identity) in enumerate(zip(archives, identities, strict=True)):
        identity.watch()
        assert identity.is_ready
        archive.put(make_analysis(f"a{number}"), PREDICTIONS)
    assert stopped_store.bind_archive("") == archives[0].id()
    assert archives[0].ids() == {"a0", "a1"}


def test_an_archive_with_an_id_is_used_without_the_store_until_it_vanishes(
    stopped_store: StoppedStore, tmp_path: Path
) -> None:
    folder = tmp_path / "archive"
    archive = FileArchive(FolderFiles(folder))
    archive.id()
    identity = ArchiveIdentity(archive, stopped_store, str(folder))
    with pytest.raises(Unavailable, match="another archive is in its place"):
        archive.put(make_analysis("a1"), PREDICTIONS)  # before the first check
    with pytest.raises(Unavailable):
        identity.watch()

    archive.put(make_analysis("a1"), PREDICTIONS)

    assert archive.ids() == {"a1"}
    folder.rename(tmp_path / "unmounted")
    folder.mkdir()
    for _ in range(2):
        with pytest.raises(Unavailable, match="Restore it, for example by mounting its volume again"):
            archive.put(make_analysis("a2"), PREDICTIONS)
        with pytest.raises(Unavailable):
            identity.watch()


@pytest.mark.parametrize(
    ("content", "hint"), [(None, "A new archive can be used once Redis has responded"), (b"", "mounting its volume")]
)
def test_the_error_of_an_archive_with_a_file_for_its_id_does_not_mention_new_archives(
    tmp_path: Path, content: bytes | None, hint: str
) -> None:
    if content is not None:
        (tmp_path / "archive-id").write_bytes(content)
    files = FolderFiles(tmp_path)
    files.expect_id("")

    with pytest.raises(Unavailable, match=hint) as unavailable:
        files.check_id()

    assert ("new archive" in unavailable.value.message) == (content is None)


def test_an_emptied_store_gets_the_id_of_the_archive_and_not_that_of_its_mount_point(tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    archive = FileArchive(FolderFiles(folder))
    stores = [InMemoryJobStore(lambda: 0.0) for _ in range(2)]
    identity = ArchiveIdentity(archive, stores[0], str(folder))
    identity.check()
    archive_id = archive.id()
    folder.rename(tmp_path / "unmounted")
    folder.mkdir()

    identity._store = stores[1]
    identity.watch()

    assert identity.is_foreign
    assert [*folder.iterdir()] == []
    assert stores[1].bind_archive("") == archive_id


CALLS: dict[str, Callable[[str], object]] = {
    "write an analysis": lambda place: open_archive(place).put(make_analysis("a2"), PREDICTIONS, EVENT),
    "write an analysis unless it exists": (
        lambda place: open_archive(place).put(make_analysis("a2"), PREDICTIONS, replaces=False)
    ),
    "delete an analysis": lambda place: open_archive(place).delete("a1"),
    "get an analysis": lambda place: open_archive(place).get("a1"),
    "get predictions": lambda place: open_archive(place).predictions("a1"),
    "write an event": lambda place: open_events(place).append(EVENT),
    "list events": lambda place: [*open_events(place).newest_first("", "g")],
    "write a review": lambda place: open_reviews(place).create(REVIEW),
    "import a review": lambda place: open_reviews(place).append_new(REVIEW),
    "list reviews": lambda place: open_reviews(place).all(),
    "find reviews": lambda place: open_reviews(place).find(("demo",)),
    "write evidence": lambda place: ArchivePublications(place).write("0" * 64, b"content"),
    "read evidence": lambda place: ArchivePublications(place).read("0" * 64),
    "list evidence": lambda place: ArchivePublications(place).sizes(),
    "publish evidence": lambda place: ArchivePublications(place).append(EVENT),
    "list events about evidence": lambda place: ArchivePublications(place).events(),
    "remove orphaned files": lambda place: remove_orphaned_files(open_files(place, "reviews")),
}


def open_reviews(place: str) -> RecordLog[Review]:
    return RecordLog(open_files(place, "reviews"), Review, review_keys)


@pytest.mark.parametrize("replacement", [None, "", "0" * 32], ids=["missing", "empty", "another"])
@pytest.mark.parametrize("is_known", [True, False], ids=["id known", "id unknown"])
@pytest.mark.parametrize("call", CALLS)
def test_no_call_uses_another_folder_in_the_place_of_the_archive(
    tmp_path: Path, call: str, is_known: bool, replacement: str | None
) -> None:
    folder, aside = tmp_path / "archive", tmp_path / "aside"
    archive = open_archive(str(folder))
    archive_id = archive.id()
    archive.put(make_analysis("a1"), PREDICTIONS, EVENT)
    open_reviews(str(folder)).append(REVIEW)
    ArchivePublications(str(folder)).append(EVENT)
    ArchivePublications(str(folder)).write("0" * 64, b"content")
    before = [*folder.rglob("*")]
    archive.expect_id(archive_id if is_known else "")
    folder.rename(aside)
    if replacement is not None:
        folder.mkdir()
    if replacement:
        (folder / "archive-id").write_text(replacement)

    with pytest.raises(Unavailable, match="Restore it, for example by mounting its volume again") as refused:
        CALLS[call](str(folder))

    assert type(refused.value) is Unavailable, "nothing was written"
    assert [path.name for path in folder.rglob("*")] == (["archive-id"] if replacement else [])
    shutil.rmtree(folder, ignore_errors=True)
    aside.rename(folder)
    assert sorted(folder.rglob("*")) == sorted(before)
    archive.expect_id(archive_id)
    CALLS[call](str(folder))


def test_a_restored_archive_with_the_same_id_is_used(tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    archive = open_archive(str(folder))
    archive.expect_id(archive.id())
    archive.put(make_analysis("a1"), PREDICTIONS)
    shutil.copytree(folder, tmp_path / "backup")
    shutil.rmtree(folder)
    shutil.copytree(tmp_path / "backup", folder)

    archive.put(make_analysis("a2"), PREDICTIONS)

    assert archive.ids() == {"a1", "a2"}


def test_an_upload_does_not_read_the_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = open_archive(str(tmp_path / "archive"))
    archive.expect_id(archive.id())
    archive.put(make_analysis("a1"), PREDICTIONS)  # reads it once
    opened = []
    open_file = os.open

    def record(path: str | Path, *args: int) -> int:
        opened.append(str(path))
        return open_file(path, *args)

    monkeypatch.setattr(os, "open", record)
    archive.put(make_analysis("a2"), PREDICTIONS, replaces=False)

    assert opened and not [path for path in opened if path.endswith("archive-id")]


def test_an_archive_that_was_never_reached_is_not_ready_and_its_error_has_the_remedy(
    store: InMemoryJobStore, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.touch()
    place = str(file / "archive")
    identity = ArchiveIdentity(open_archive(place), store, place)

    with pytest.raises(Unavailable) as refused:
        identity.watch()

    assert "could not be written: Not a directory. Check ERRATA_ARCHIVE" in public_message(refused.value)
    assert log_fields(refused.value)["error"].endswith(f"({place})")
    assert not identity.is_ready

    file.unlink()
    identity.watch()
    assert identity.is_ready
    shutil.rmtree(place)
    identity.watch()
    assert not identity.is_ready


@pytest.mark.parametrize("place", ["secret/archive", "it's/secret", "/it's/secret"])
def test_only_the_log_has_the_folder_of_an_archive(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    def refuse(*_: object, **__: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("service.archive.files.read_regular_file", refuse)

    with pytest.raises(Unavailable, match="could not be read: Input/output error") as refused:
        FolderFiles(Path(place)).read("name")
    assert "secret" not in public_message(refused.value)
    assert log_fields(refused.value)["error"].endswith(f"({place})")


def test_only_the_log_has_the_url_of_an_object_store() -> None:
    class Refusing(MemoryFileSystem):
        cachable = False

        def cat_file(self, *_: object, **__: object) -> bytes:
            raise PermissionError(errno.EACCES, "Access denied")

    with pytest.raises(Unavailable, match="could not be read: Access denied") as refused:
        ObjectFiles(Refusing(), "/bucket/pre fix/a").read("name")
    assert "fix" not in public_message(refused.value)
    assert log_fields(refused.value)["error"].endswith("(memory:///bucket/pre fix/a)")
