"""The identity of the archive: a job store is bound to one archive."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import structlog
from analyses_strategy import make_analysis
from errata.errors import InvalidSetting, Unavailable
from indexed_archive import temporary_files

from service.archive.archive import FileArchive, open_archive
from service.bootstrap.archive_identity import ArchiveIdentity
from service.domain import Predictions
from service.jobs.memory import InMemoryJobStore

PREDICTIONS = Predictions(np.zeros(3, dtype=np.int16))


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
    identity = ArchiveIdentity(second, store, "/second")

    with pytest.raises(InvalidSetting) as refused:
        identity.check()

    message = refused.value.message
    for part in ("/second", first.id(), second.id(), "ERRATA_ARCHIVE", "errata:archive"):
        assert part in message
    assert identity.is_foreign
    assert not identity.allows_judging()


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
    assert ("missing or empty" if replacement is None else replacement) in log[0]["error"]
    assert [*folder.glob("a2*")] == []

    shutil.rmtree(folder, ignore_errors=True)
    aside.rename(folder)
    identity.watch()
    archive.put(make_analysis("a2"), PREDICTIONS)
    assert not identity.is_foreign and archive.ids() == {"a1", "a2"}
