"""An archive with an index: an analysis that is removed during a read is not cached, and deletions are known."""

import time
from collections.abc import Callable

import numpy as np
import pytest
from analyses_strategy import make_analysis
from indexed_archive import temporary_files, temporary_index

from service.archive.archive import FileArchive
from service.archive.indexed import IndexedArchive
from service.domain import Analysis, Predictions


class SlowArchive(FileArchive):
    """An archive in which other threads act while an analysis is read."""

    def __init__(self) -> None:
        super().__init__(temporary_files())
        self.actions: list[Callable[[], object]] = []
        self.put(make_analysis("a1"), Predictions(np.zeros(3, dtype=np.int16)))

    def get(self, analysis_id: str) -> Analysis | None:
        analysis = super().get(analysis_id)
        if self.actions:
            self.actions.pop()()
        return analysis


@pytest.fixture
def slow() -> SlowArchive:
    return SlowArchive()


@pytest.fixture
def archive(slow: SlowArchive) -> IndexedArchive:
    return IndexedArchive(slow, temporary_index())


def test_an_analysis_is_read_once(slow: SlowArchive, archive: IndexedArchive) -> None:
    assert archive.get("a1") == make_analysis("a1")

    slow.delete("a1")

    assert archive.get("a1") == make_analysis("a1")


def test_an_analysis_that_is_deleted_during_a_read_is_not_cached(slow: SlowArchive, archive: IndexedArchive) -> None:
    slow.actions = [lambda: archive.delete("a1")]

    assert archive.get("a1") is not None  # the read began before
    assert archive.get("a1") is None


def test_an_analysis_that_another_process_deletes_during_a_read_is_not_cached(
    slow: SlowArchive, archive: IndexedArchive
) -> None:
    slow.actions = [lambda: (slow.delete("a1"), archive.refresh("a1"))]

    assert archive.get("a1") is not None
    assert archive.get("a1") is None


def test_a_deletion_is_known_to_readers_that_began_before(archive: IndexedArchive) -> None:
    before = time.monotonic()
    assert not archive.was_deleted_after("a1", before)

    archive.delete("a1")

    assert archive.was_deleted_after("a1", before)
    assert not archive.was_deleted_after("a1", time.monotonic() + 1)


def test_only_the_last_deletions_are_known(archive: IndexedArchive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.archive.indexed.MAX_DELETED", 2)
    ids, before = ["a1", "a2", "a3"], time.monotonic()

    archive.forget(ids)

    assert [archive.was_deleted_after(id, before) for id in ids] == [False, True, True]
