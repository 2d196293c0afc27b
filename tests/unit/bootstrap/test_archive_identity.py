"""The identity of the archive: a job store is bound to one archive."""

import pytest
import structlog
from errata.errors import InvalidSetting

from service.archive.memory import InMemoryArchive
from service.bootstrap.archive_identity import ArchiveIdentity
from service.jobs.memory import InMemoryJobStore


@pytest.fixture
def store() -> InMemoryJobStore:
    return InMemoryJobStore(lambda: 0.0)


def test_processes_with_one_archive_share_a_store(store: InMemoryJobStore) -> None:
    archive = InMemoryArchive()
    for _ in range(2):
        identity = ArchiveIdentity(archive, store, "/archive")
        identity.check()
        assert identity.allows_judging()
        assert not identity.is_foreign


def test_another_archive_is_rejected_with_both_ids_and_the_remedy(store: InMemoryJobStore) -> None:
    first, second = InMemoryArchive(), InMemoryArchive()
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
    ArchiveIdentity(InMemoryArchive(), store, "/first").check()

    assert not ArchiveIdentity(InMemoryArchive(), store, "/second").allows_judging()


def test_a_replaced_store_is_logged_once_and_recovers() -> None:
    archive = InMemoryArchive()
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
