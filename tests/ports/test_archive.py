"""One suite for all archives: put, get, ids, records, delete, and hostile ids."""

import json
import os
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest
import s3fs
from errata.errors import DamagedRecord, Unavailable

from service.archive.archive import MAX_DOCUMENT, FileArchive
from service.archive.document import parse_document
from service.archive.files import Files, open_files
from service.archive.port import OutcomeUnknown
from service.domain import Analysis, AnalysisRequest, Predictions, State

HOSTILE_IDS = ["", ".", "..", "../secret", "/etc/passwd", "a/b", "a\\b", "a.b", "A" * 65, "a\x00", "a\n", "ä", "%2e%2e"]


@pytest.fixture(params=["folder", "s3"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> FileArchive:
    if request.param == "folder":
        return FileArchive(open_files(str(tmp_path / "archive")))
    return FileArchive(open_files(f"{request.getfixturevalue('bucket')}/{tmp_path.name}"))


def analysis(id: str, title: str = "net") -> Analysis:
    request = AnalysisRequest("demo", display_name=title, labels={"registry": "örtlich <b>"})
    return Analysis(id, request, State.FAILED, "e" * 64, datetime(2024, 2, 29, 12, tzinfo=UTC))


def predictions(first: int = 0, size: int = 5, probability: bool = True) -> Predictions:
    chances = np.linspace(0, 1, size, dtype=np.float16) if probability else None
    return Predictions(np.arange(first, first + size, dtype=np.int16), chances)


def test_an_archived_analysis_is_returned(archive: FileArchive) -> None:
    archive.put(analysis("one"), predictions())

    assert archive.get("one") == analysis("one")


@pytest.mark.parametrize("probability", [True, False])
def test_predictions_are_read_as_they_were_written(archive: FileArchive, probability: bool) -> None:
    put = Predictions(
        np.array([-1, 0, 999], dtype=np.int16), np.array([0, 0.5, 1], np.float16) if probability else None
    )
    archive.put(analysis("one"), put)

    actual = archive.predictions("one")

    assert actual is not None
    assert actual.top1.dtype == np.int16
    assert actual.top1.tolist() == [-1, 0, 999]
    if probability:
        assert actual.probability is not None
        assert actual.probability.dtype == np.float16
        assert actual.probability.tolist() == [0, 0.5, 1]
    else:
        assert actual.probability is None


@pytest.mark.parametrize("probability", [True, False])
@pytest.mark.parametrize("top1_restricted", [True, False])
def test_restricted_predictions_are_stored(archive: FileArchive, probability: bool, top1_restricted: bool) -> None:
    best = np.array([6, 11, 13, 999, 6], dtype=np.int16) if top1_restricted else None
    archive.put(analysis("one"), replace(predictions(probability=probability), top1_restricted=best))

    actual = archive.predictions("one")

    assert actual is not None
    assert (actual.probability is not None) == probability
    if best is None:
        assert actual.top1_restricted is None
    else:
        assert actual.top1_restricted is not None
        assert actual.top1_restricted.dtype == np.int16
        assert actual.top1_restricted.tolist() == best.tolist()


def test_a_second_put_replaces_the_analysis(archive: FileArchive) -> None:
    archive.put(analysis("one", "old"), predictions(0))
    archive.put(analysis("one", "new"), predictions(100, probability=False))

    actual, numbers = archive.get("one"), archive.predictions("one")

    assert actual is not None
    assert numbers is not None
    assert actual.title == "new"
    assert (numbers.top1[0], numbers.probability) == (100, None)
    assert [record.analysis.title for record in archive.records(["one"])] == ["new"]
    assert archive.ids() == {"one"}


def test_one_of_many_concurrent_puts_that_do_not_replace_is_stored(archive: FileArchive) -> None:
    barrier = Barrier(8)

    def put(number: int) -> Analysis:
        barrier.wait()
        return archive.put(analysis("one", f"t{number}"), predictions(), replaces=False).analysis

    with ThreadPoolExecutor(8) as pool:
        stored = [*pool.map(put, range(8))]

    assert stored == [archive.get("one")] * 8
    assert archive.put(analysis("one", "last"), predictions(), replaces=False).analysis == stored[0]


def test_a_put_that_does_not_replace_repairs_a_damaged_document(tmp_path: Path) -> None:
    archive = FileArchive(open_files(str(tmp_path)))
    (tmp_path / "one.json").write_bytes(b"{")

    archive.put(analysis("one"), predictions(), replaces=False)

    assert archive.get("one") == analysis("one")


def test_the_ids_are_those_of_all_analyses(archive: FileArchive) -> None:
    assert archive.ids() == set()
    for id in ("one", "two", "three"):
        archive.put(analysis(id), predictions())

    assert archive.ids() == {"one", "two", "three"}


@pytest.mark.slow
def test_the_ids_are_the_same_object_until_something_changes(tmp_path: Path) -> None:
    """A caller that polls can detect without a comparison that nothing has changed."""
    archive = FileArchive(open_files(str(tmp_path / "archive")))
    archive.put(analysis("one"), predictions())
    time.sleep(1.1)  # a change within one tick of the file system's clock is not visible

    archive.ids()
    before = archive.ids()
    assert archive.ids() is before

    archive.put(analysis("two"), predictions())
    assert archive.ids() is not before
    assert len(archive.ids()) == 2


def test_an_analysis_is_listed_although_the_folder_has_the_same_time_as_before(tmp_path: Path) -> None:
    """The clock of a file system has ticks, and two changes in one tick have the same time."""
    archive, tick = FileArchive(open_files(str(tmp_path))), time.time_ns() + 3600 * 10**9
    for id in ("one", "two"):
        archive.put(analysis(id), predictions())
        os.utime(tmp_path, ns=(tick, tick))

        assert id in archive.ids()


@pytest.mark.parametrize(
    "call",
    [
        lambda files: files.check_id(),
        lambda files: files.names(),
        lambda files: files.sizes(),
        lambda files: files.read("one.json"),
        lambda files: files.write({"one.json": b"{}"}),
        lambda files: files.create("one.json", b"{}"),
        lambda files: files.delete("one.json"),
    ],
)
@pytest.mark.parametrize("has_folder", [True, False])
def test_an_empty_folder_in_the_place_of_the_archive_is_unavailable(
    call: Callable[[Files], object], has_folder: bool, tmp_path: Path
) -> None:
    archive = FileArchive(open_files(str(tmp_path / "archive")))
    archive.expect_id(archive.id())
    files = open_files(str(tmp_path / "archive"), "reviews")
    files.write({"one.json": b"{}"})
    files.names()
    (tmp_path / "archive").rename(tmp_path / "unmounted")
    if has_folder:
        (tmp_path / "archive" / "reviews").mkdir(parents=True)

    with pytest.raises(Unavailable, match="Restore it, for example by mounting its volume again"):
        call(files)

    assert [path for path in tmp_path.rglob("*.json") if "unmounted" not in path.parts] == []


def test_the_outcome_of_a_put_in_the_place_of_the_archive_is_known(tmp_path: Path) -> None:
    archive = FileArchive(open_files(str(tmp_path / "archive")))
    archive.expect_id(archive.id())
    (tmp_path / "archive").rename(tmp_path / "unmounted")

    with pytest.raises(Unavailable) as raised:
        archive.put(analysis("one"), predictions(), replaces=False)

    assert not isinstance(raised.value, OutcomeUnknown)


def test_records_have_the_documents_of_existing_analyses(archive: FileArchive) -> None:
    for id in ("one", "two", "three"):
        archive.put(analysis(id), predictions())

    records = {record.analysis.id: record for record in archive.records(["one", "none", "three", "../secret"])}

    assert {id: record.analysis for id, record in records.items()} == {id: analysis(id) for id in ("one", "three")}
    assert parse_document(json.loads(records["one"].document)) == analysis("one")


def test_a_deleted_analysis_is_gone_and_the_others_stay(archive: FileArchive) -> None:
    archive.put(analysis("one"), predictions())
    archive.put(analysis("two"), predictions())

    assert archive.delete("one") is True

    assert archive.delete("one") is False
    assert (archive.get("one"), archive.predictions("one")) == (None, None)
    assert archive.ids() == {"two"}
    archive.put(analysis("one", "again"), predictions())
    assert archive.get("one") == analysis("one", "again")


def test_an_interrupted_deletion_leaves_no_analysis_without_predictions(
    archive: FileArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.put(analysis("one"), predictions())
    delete, names = archive._files.delete, list[str]()

    def delete_once(name: str) -> bool:
        if names:
            raise Unavailable("interrupted")
        names.append(name)
        return delete(name)

    monkeypatch.setattr(archive._files, "delete", delete_once)
    with pytest.raises(Unavailable, match="interrupted"):
        archive.delete("one")

    assert archive.get("one") is None


def test_a_document_that_is_too_large_is_not_parsed(tmp_path: Path) -> None:
    archive = FileArchive(open_files(str(tmp_path)))
    archive.put(analysis("one"), predictions())
    document = (tmp_path / "one.json").read_bytes()

    (tmp_path / "one.json").write_bytes(document.ljust(MAX_DOCUMENT))
    assert archive.get("one") == analysis("one")
    (tmp_path / "one.json").write_bytes(document.ljust(MAX_DOCUMENT + 1))
    assert archive.get("one") is None


def test_an_unknown_analysis_is_none(archive: FileArchive) -> None:
    assert (archive.get("none"), archive.predictions("none"), archive.delete("none")) == (None, None, False)


@pytest.mark.parametrize("id", HOSTILE_IDS)
def test_hostile_ids_find_nothing_and_delete_nothing(archive: FileArchive, tmp_path: Path, id: str) -> None:
    archive.put(analysis("one"), predictions())
    outside = [tmp_path / "secret.json", tmp_path / "secret.predictions.npz"]
    for file in outside:
        file.write_bytes(b"{}")

    assert (archive.get(id), archive.predictions(id), archive.delete(id)) == (None, None, False)
    assert all(file.exists() for file in outside)
    assert archive.ids() == {"one"}


@pytest.mark.slow
def test_many_threads_can_put_read_and_delete(archive: FileArchive) -> None:
    def work(number: int) -> None:
        archive.put(analysis(f"keep{number}"), predictions(number))
        archive.put(analysis(f"drop{number}"), predictions(number))
        archive.ids()
        assert archive.delete(f"drop{number}") is True
        assert archive.get(f"keep{number}") is not None

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(24)))

    assert archive.ids() == {f"keep{number}" for number in range(24)}
    for number in range(24):
        numbers = archive.predictions(f"keep{number}")
        assert numbers is not None
        assert numbers.top1[0] == number


def test_a_stored_analysis_does_not_change_with_the_callers_arrays(archive: FileArchive) -> None:
    stored = analysis("one")
    archive.put(stored, predictions())

    assert replace(stored, owner="another user") != archive.get("one")
    assert archive.get("one") == stored


def test_the_id_of_the_archive_never_changes_and_is_not_listed(archive: FileArchive) -> None:
    archive.put(analysis("one"), predictions())

    archive_id = archive.id()

    assert re.fullmatch(r"[0-9a-f]{32}", archive_id)
    assert archive.id() == archive_id
    assert archive.ids() == {"one"}
    assert archive.get("archive-id") is None
    assert archive.delete("archive-id") is False


@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_concurrent_processes_get_the_same_id_and_another_archive_has_another(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    place = str(tmp_path) if kind == "folder" else f"{request.getfixturevalue('bucket')}/{tmp_path.name}"
    start = Barrier(8)

    def first_id(_: int) -> str:
        opened = FileArchive(open_files(f"{place}/shared"))
        start.wait(10)
        return opened.id()

    with ThreadPoolExecutor(8) as pool:
        ids = set(pool.map(first_id, range(8)))

    assert len(ids) == 1
    assert FileArchive(open_files(f"{place}/other")).id() not in ids


def test_a_damaged_id_is_reported_and_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "archive-id").write_bytes(b"\xff what is this")

    with pytest.raises(DamagedRecord, match="archive-id"):
        FileArchive(open_files(str(tmp_path))).id()
    assert (tmp_path / "archive-id").read_bytes() == b"\xff what is this"


def test_the_size_grows_with_each_analysis(archive: FileArchive) -> None:
    assert archive.size() == 0
    archive.put(analysis("one"), predictions(size=1000))
    one = archive.size()
    archive.put(analysis("two"), predictions(size=1000))

    assert 2000 <= one < archive.size()
    archive.delete("one")
    archive.delete("two")
    assert archive.size() == 0


def test_a_listing_of_a_folder_lists_only_this_folder(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """s3fs lists the parent of a path without objects, here of an empty folder beside thousands of analyses."""
    location = f"{bucket}/{tmp_path.name}"
    open_files(location).write({"a.json": b"content"})
    listed = []
    call = s3fs.S3FileSystem._call_s3

    async def record(self: Any, method: Any, *args: Any, **kwargs: Any) -> Any:
        if "Prefix" in kwargs:
            listed.append(kwargs["Prefix"])
        return await call(self, method, *args, **kwargs)

    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", record)
    assert open_files(location, "reviews").sizes() == {}
    assert set(listed) == {f"{tmp_path.name}/reviews/"}

    open_files(location, "reviews").write({"b.json": b"review", "old/c.json": b"copy"})
    assert open_files(location, "reviews").sizes() == {"b.json": 6}
    assert open_files(location).sizes() == {"a.json": 7}
