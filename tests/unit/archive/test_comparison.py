"""The comparison of an index with its archive: builds, partial results, damaged documents, and bounded reads."""

from collections.abc import Collection, Iterator, Set
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog
from analyses_strategy import make_analysis
from errata.errors import Unavailable
from indexed_archive import temporary_files, temporary_index

from service.archive.archive import FileArchive
from service.archive.document import encode_document
from service.archive.files import FolderFiles
from service.archive.index import SqliteIndex, comparison
from service.archive.index.comparison import BATCH, Comparison
from service.archive.indexed import MAX_CACHED, IndexedArchive
from service.archive.port import Record
from service.domain import NEWEST_FIRST, AnalysisFilter, Predictions

ALL = AnalysisFilter()
PREDICTIONS = Predictions(np.zeros(5, dtype=np.int16))


class ObservedArchive(FileArchive):
    """An archive that counts reads, has damaged documents, and can be unavailable."""

    def __init__(self) -> None:
        super().__init__(temporary_files())
        self.reads: list[list[str]] = []
        self.damaged: set[str] = set()
        self.is_available = True
        self.before_read: Any = lambda ids: None

    def ids(self) -> Set[str]:
        if not self.is_available:
            raise Unavailable("The archive is unavailable.")
        return super().ids()

    def find_id(self) -> str:
        if not self.is_available:
            raise Unavailable("The archive is unavailable.")
        return super().find_id()

    def records(self, analysis_ids: Collection[str]) -> Iterator[Record]:
        if not self.is_available:
            raise Unavailable("The archive is unavailable.")
        self.reads.append([*analysis_ids])
        self.before_read(analysis_ids)
        return super().records([analysis_id for analysis_id in analysis_ids if analysis_id not in self.damaged])


class Setup:
    """An archive with analyses of another process, and an index that does not have them yet."""

    def __init__(self, count: int) -> None:
        self.archive = ObservedArchive()
        for number in range(count):
            self.add(number)
        self.index = temporary_index()
        self.index.mark(is_complete=False)
        self.indexed = IndexedArchive(self.archive, self.index)
        self.pending: list[int] = []
        self.compare = Comparison(self.indexed, self.pending.append)

    def add(self, number: int) -> None:
        self.archive.put(make_analysis(f"a{number:05}", number), PREDICTIONS)

    def listed(self) -> set[str]:
        return {analysis.id for analysis in self.index.find(ALL, NEWEST_FIRST, None, 10_000)}


@pytest.mark.parametrize("count", [0, 1, BATCH, 3 * BATCH + 7])
def test_an_empty_index_is_built_in_batches_from_the_newest_analysis_on(count: int) -> None:
    setup = Setup(count)

    setup.compare()

    assert setup.index.is_complete
    assert setup.listed() == setup.archive.ids()
    read = [analysis_id for batch in setup.archive.reads for analysis_id in batch]
    assert read == sorted(setup.archive.ids(), reverse=True)
    assert max(map(len, setup.archive.reads), default=0) <= BATCH
    assert setup.pending[-1] == 0


def test_a_build_serves_marked_partial_results_and_reports_its_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "PROGRESS_SECONDS", 0.0)
    setup, seen = Setup(3 * BATCH), list[tuple[int, bool]]()
    setup.archive.before_read = lambda _: seen.append((len(setup.listed()), setup.index.is_complete))

    with structlog.testing.capture_logs() as log:
        setup.compare()

    assert seen == [(0, False), (BATCH, False), (2 * BATCH, False)]
    assert [(event["event"], event["count"], event["total"]) for event in log] == [
        ("index build started", 0, 3 * BATCH),
        ("index build in progress", BATCH, 3 * BATCH),
        ("index build in progress", 2 * BATCH, 3 * BATCH),
        ("index build in progress", 3 * BATCH, 3 * BATCH),
        ("index build ended", 3 * BATCH, 3 * BATCH),
    ]
    assert setup.pending == [3 * BATCH, 2 * BATCH, BATCH, 0]


def test_an_interrupted_build_continues_where_it_stopped() -> None:
    setup = Setup(5 * BATCH)

    def stop_third(_: object) -> None:
        if len(setup.archive.reads) == 3:
            setup.compare.stop()

    setup.archive.before_read = stop_third
    setup.compare()
    assert not setup.index.is_complete
    assert len(setup.listed()) == 3 * BATCH

    setup.archive.reads.clear()
    Comparison(setup.indexed)()

    assert sum(map(len, setup.archive.reads)) == 2 * BATCH
    assert setup.index.is_complete


def test_changes_of_other_processes_are_found_and_each_document_is_read_once() -> None:
    setup = Setup(5)
    setup.compare()
    setup.add(7)
    setup.archive.delete("a00002")
    setup.archive.reads.clear()

    setup.compare()
    setup.compare()

    assert setup.archive.reads == [["a00007"]]
    assert setup.listed() == {"a00000", "a00001", "a00003", "a00004", "a00007"}
    assert setup.indexed.get("a00002") is None


def test_a_deleted_analysis_leaves_the_cache() -> None:
    setup = Setup(2)
    assert setup.indexed.get("a00001") is not None
    setup.compare()
    setup.archive.delete("a00001")

    setup.compare()

    assert setup.indexed.get("a00001") is None


def test_an_analysis_that_is_deleted_before_it_is_indexed_leaves_the_cache() -> None:
    setup = Setup(1)
    assert setup.indexed.get("a00000") is not None
    setup.archive.delete("a00000")  # by another process, whose announcements of the analysis are lost

    setup.compare()

    assert setup.indexed.get("a00000") is None


def test_a_deleted_analysis_that_could_not_be_removed_is_removed_by_the_next_comparison() -> None:
    setup = Setup(2)
    setup.compare()
    setup.archive.delete("a00001")
    setup.index._database._writer.execute("PRAGMA query_only = 1")  # as if the disk were full
    with structlog.testing.capture_logs() as log:
        setup.compare()
    assert [event["event"] for event in log] == ["analyses not removed from the index"]
    assert setup.listed() == {"a00000", "a00001"}

    setup.index._database._writer.execute("PRAGMA query_only = 0")
    setup.compare()

    assert setup.listed() == {"a00000"}


def test_a_damaged_document_is_read_again_only_after_a_change_and_hides_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("service.archive.files.SETTLED_NS", 0)
    setup = Setup(2 * BATCH)
    setup.archive.damaged = {"a00003", "a00150"}
    setup.compare()
    assert setup.index.is_complete
    assert setup.listed() == setup.archive.ids() - setup.archive.damaged
    setup.archive.reads.clear()
    setup.compare()
    assert setup.archive.reads == []
    setup.add(5000)

    setup.compare()

    assert setup.archive.reads == [["a05000"], ["a00150", "a00003"]]


def test_a_repaired_document_is_listed(tmp_path: Path) -> None:
    files = FolderFiles(tmp_path / "archive")
    archive = FileArchive(files)
    document = archive.put(make_analysis("a1"), PREDICTIONS).document
    files.write({"a1.json": document[:100]})
    index = SqliteIndex(tmp_path / "0.sqlite")
    compare = Comparison(IndexedArchive(archive, index))
    compare()
    assert index.ids() == set()

    files.write({"a1.json": document})
    compare()

    assert index.is_complete
    assert index.ids() == {"a1"}


def test_a_comparison_reads_a_limited_number_of_damaged_documents_again() -> None:
    setup = Setup(2 * BATCH)
    setup.archive.damaged = {*setup.archive.ids()}
    setup.compare()
    setup.archive.reads.clear()
    setup.add(5000)
    setup.archive.before_read = lambda _: completeness.append(setup.index.is_complete)
    completeness: list[bool] = []

    setup.compare()

    assert [*map(len, setup.archive.reads)] == [1, BATCH]
    assert completeness == [True, True]


def test_an_unavailable_archive_leaves_the_index_usable_and_marked() -> None:
    setup = Setup(5)
    setup.compare()
    setup.archive.is_available = False

    with pytest.raises(Unavailable):
        setup.compare()
    assert not setup.index.is_complete
    assert len(setup.listed()) == 5

    setup.archive.is_available = True
    setup.compare()
    assert setup.index.is_complete


def test_a_start_without_the_archive_is_marked_until_the_archive_is_available() -> None:
    setup = Setup(5)
    setup.archive.is_available = False
    with pytest.raises(Unavailable):
        setup.compare()
    assert setup.compare.first_ended.is_set()
    assert not setup.index.is_complete

    setup.archive.is_available = True
    setup.compare()

    assert len(setup.listed()) == 5


def test_an_archive_gets_no_id_from_a_comparison_and_a_later_id_keeps_the_index(tmp_path: Path) -> None:
    archive = FileArchive(FolderFiles(tmp_path / "archive"))
    archive.put(make_analysis("a1"), PREDICTIONS)
    for _ in range(2):
        index = SqliteIndex(tmp_path / "0.sqlite")
        Comparison(IndexedArchive(archive, index))()
        assert [analysis.id for analysis in index.find(ALL, NEWEST_FIRST, None, 9)] == ["a1"]
        index.close()
    assert not (tmp_path / "archive" / "archive-id").exists()

    archive.id()
    index = SqliteIndex(tmp_path / "0.sqlite")
    index.bind(archive.id())

    assert index.ids() == {"a1"}


def test_an_archive_that_gets_its_id_after_the_first_comparison_stays_indexed(tmp_path: Path) -> None:
    """Given an index of another archive, and an archive without an id."""
    index = SqliteIndex(tmp_path / "0.sqlite")
    index.bind("f" * 32)
    index.add([Record(make_analysis("other"), encode_document(make_analysis("other")))])
    index.close()
    archive = FileArchive(FolderFiles(tmp_path / "archive"))
    archive.put(make_analysis("a1"), PREDICTIONS)
    index = SqliteIndex(tmp_path / "0.sqlite")
    compare = Comparison(IndexedArchive(archive, index))

    compare()
    archive.id()
    compare()
    compare()

    assert index.is_complete
    assert index.ids() == {"a1"}


def test_an_archive_that_disappears_or_is_replaced_keeps_its_index_until_it_is_back(tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    archive = FileArchive(FolderFiles(folder))
    archive.put(make_analysis("a1"), PREDICTIONS)
    archive.id()
    index = SqliteIndex(tmp_path / "0.sqlite")
    compare = Comparison(IndexedArchive(archive, index))
    compare()
    folder.rename(tmp_path / "unmounted")

    with pytest.raises(Unavailable, match="archive is missing"):
        compare()
    FileArchive(FolderFiles(folder)).id()
    with pytest.raises(Unavailable, match="another one is in its place"):
        compare()
    assert not index.is_complete
    assert index.ids() == {"a1"}

    (folder / "archive-id").unlink()
    folder.rmdir()
    (tmp_path / "unmounted").rename(folder)
    compare()

    assert index.is_complete
    assert index.ids() == {"a1"}


@pytest.mark.parametrize("is_mount_point", [False, True])
def test_an_archive_without_an_id_that_disappears_keeps_its_index_until_it_is_back(
    tmp_path: Path, is_mount_point: bool
) -> None:
    folder = tmp_path / "archive"
    archive = FileArchive(FolderFiles(folder))
    archive.put(make_analysis("a1"), PREDICTIONS)
    index = SqliteIndex(tmp_path / "0.sqlite")
    compare = Comparison(IndexedArchive(archive, index))
    compare()
    folder.rename(tmp_path / "unmounted")
    if is_mount_point:
        folder.mkdir()

    for _ in range(2):
        with pytest.raises(Unavailable, match="missing or empty"):
            compare()
    assert not index.is_complete
    assert index.ids() == {"a1"}

    (tmp_path / "unmounted").rename(folder)
    compare()

    assert index.is_complete
    assert index.ids() == {"a1"}


def test_all_analyses_of_an_archive_without_an_id_can_be_deleted(tmp_path: Path) -> None:
    archive = FileArchive(FolderFiles(tmp_path / "archive"))
    index = SqliteIndex(tmp_path / "0.sqlite")
    indexed = IndexedArchive(archive, index)
    indexed.put(make_analysis("a1"), PREDICTIONS)
    compare = Comparison(indexed)
    compare()

    indexed.delete("a1")
    compare()
    assert index.is_complete

    indexed.put(make_analysis("a2"), PREDICTIONS)
    compare()
    archive.delete("a2")  # by an operator, who then restarts the service
    Comparison(indexed)()

    assert index.is_complete
    assert index.ids() == set()


def test_all_analyses_of_an_archive_with_an_id_can_be_deleted_by_another_process(tmp_path: Path) -> None:
    archive = FileArchive(FolderFiles(tmp_path / "archive"))
    archive.id()
    archive.put(make_analysis("a1"), PREDICTIONS)
    index = SqliteIndex(tmp_path / "0.sqlite")
    compare = Comparison(IndexedArchive(archive, index))
    compare()

    archive.delete("a1")
    compare()

    assert index.is_complete
    assert index.ids() == set()


def test_an_analysis_that_is_deleted_while_it_is_read_does_not_come_back() -> None:
    setup = Setup(3)
    setup.archive.before_read = lambda _: setup.indexed.delete("a00001")
    read = setup.archive.records

    def read_before_the_deletion(analysis_ids: Collection[str]) -> Iterator[Record]:
        records = [*FileArchive.records(setup.archive, analysis_ids)]
        read(analysis_ids)
        return iter(records)

    setup.archive.records = read_before_the_deletion  # type: ignore[method-assign]
    setup.compare()

    assert setup.listed() == {"a00000", "a00002"}


def test_a_deleted_analysis_that_another_process_archives_again_is_listed() -> None:
    setup = Setup(3)
    setup.compare()
    setup.indexed.delete("a00001")
    setup.compare()
    setup.add(1)

    setup.compare()

    assert setup.index.is_complete
    assert setup.listed() == {"a00000", "a00001", "a00002"}


def test_analyses_whose_files_are_missing_for_a_moment_are_listed_again() -> None:
    setup = Setup(5)
    setup.compare()
    for number in range(4):
        setup.archive.delete(f"a{number:05}")
    setup.compare()
    assert setup.listed() == {"a00004"}
    for number in range(4):
        setup.add(number)

    setup.compare()

    assert setup.index.is_complete
    assert len(setup.listed()) == 5


def test_an_index_that_lost_its_content_is_built_again() -> None:
    setup = Setup(5)
    setup.compare()
    setup.index._database.replace()
    setup.index._handle_replacement()
    setup.compare.restart()

    setup.compare()

    assert len(setup.listed()) == 5


def test_writes_and_deletions_change_the_index_and_are_announced() -> None:
    announced: list[str] = []
    index = temporary_index()
    archive = IndexedArchive(FileArchive(temporary_files()), index, announced.append)

    archive.put(make_analysis("a1"), PREDICTIONS)
    archive.put(make_analysis("a2"), PREDICTIONS)
    archive.delete("a1")

    assert index.ids() == {"a2"}
    assert announced == ["a1", "a2", "a1"]


def test_a_notice_reads_an_analysis_again() -> None:
    setup = Setup(1)
    setup.compare()
    assert setup.indexed.get("a00000") is not None

    setup.archive.put(make_analysis("a00000", owner="new"), PREDICTIONS)
    setup.indexed.refresh("a00000")
    assert [analysis.owner for analysis in setup.index.find(ALL, NEWEST_FIRST, None, 9)] == ["new"]
    assert setup.indexed.get("a00000").owner == "new"  # type: ignore[union-attr]

    setup.archive.delete("a00000")
    setup.indexed.refresh("a00000")
    assert setup.listed() == set()
    assert setup.indexed.get("a00000") is None


def test_the_cache_is_bounded() -> None:
    setup = Setup(MAX_CACHED + 20)
    for analysis_id in sorted(setup.archive.ids()):
        assert setup.indexed.get(analysis_id) is not None

    assert len(setup.indexed._cache) == MAX_CACHED


def test_an_analysis_is_archived_even_if_the_index_cannot_be_written() -> None:
    setup = Setup(0)
    setup.index.close()

    with structlog.testing.capture_logs() as log:
        setup.indexed.put(make_analysis("a1"), PREDICTIONS)
        setup.index.write_added()

    assert setup.archive.ids() == {"a1"}
    assert [event["event"] for event in log] == ["analyses not indexed"]
