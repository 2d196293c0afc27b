"""One suite for logs of records in all file stores: order, keys, records that cannot be read, and killed writers."""

import itertools
import json
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from errata.errors import DamagedRecord, TooLarge, Unavailable

from service.analyses.reviews import ReviewRequest, create_review
from service.archive.files import Files, FolderFiles, open_files
from service.archive.record_log import MAX_RECORD, RecordLog
from service.domain import Review, active_reviews, review_keys
from service.evidence.repository import EvidenceRepository

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(params=["folder", "memory", "s3"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "folder":
        return str(tmp_path / "reviews")
    if request.param == "memory":
        return f"memory://{tmp_path}"
    return f"{request.getfixturevalue('bucket')}/{tmp_path.name}/reviews"


def open_log(location: str) -> RecordLog[Review]:
    return RecordLog(open_files(location), Review, review_keys)


def review(number: int, image: str = "a.jpg", minutes: int | None = None, dataset: str = "demo") -> Review:
    time = START + timedelta(minutes=number if minutes is None else minutes)
    return Review(f"{number:032x}", dataset, image, "e" * 64, "ann", True, time, rejected=("é <b>",), problematic=True)


def test_records_of_other_processes_are_read_as_they_were_written(location: str) -> None:
    first, second = open_log(location), open_log(location)
    assert second.all() == ()

    first.append(review(1))
    assert second.all() == (review(1),)
    second.append(review(2), review(3))
    assert [*first.all()] == [review(1), review(2), review(3)]
    assert first.by_id() == {item.id: item for item in (review(1), review(2), review(3))}


def test_new_records_do_not_replace_those_with_the_same_id(location: str) -> None:
    log = open_log(location)
    log.append(review(1), review(3))
    open_files(location).write({f"{4:032x}.json": b"damaged"})

    assert log.append_new(*(review(number, "b.jpg") for number in range(1, 5))) == 2
    assert [item.image for item in open_log(location).all()] == ["a.jpg", "b.jpg", "a.jpg", "b.jpg"]


def test_the_order_is_that_of_times_then_of_ids(location: str) -> None:
    log = open_log(location)
    for number, minutes in ((3, 1), (1, 5), (2, 1)):
        log.append(review(number, minutes=minutes))
        log.all()

    assert [item.id[-1] for item in log.all()] == ["2", "3", "1"]
    assert [*open_log(location).all()] == [*log.all()]


def test_the_same_object_is_returned_while_there_are_no_new_records(location: str) -> None:
    log = open_log(location)
    log.append(review(1))
    before = log.all()

    assert log.all() is before
    log.append(review(2))
    assert log.all() is not before


def test_records_are_found_by_keys(location: str) -> None:
    log = open_log(location)
    records = [review(number, image="ab"[number % 2], dataset="xy"[number % 3 == 0]) for number in range(12)]
    for number, record in enumerate(records):
        log.append(record)
        if number % 4 == 0:
            log.find(("x",))

    for dataset in "xyz":
        assert [*log.find((dataset,))] == [item for item in records if item.dataset == dataset]
        for image in "abc":
            expected = [item for item in records if (item.dataset, item.image) == (dataset, image)]
            assert [*log.find((dataset, image))] == expected


def test_records_that_an_operator_removes_are_forgotten(location: str) -> None:
    log = open_log(location)
    log.append(review(1), review(2))
    assert len(log.all()) == 2

    open_files(location).delete(f"{review(1).id}.json")
    assert [*log.all()] == [review(2)]
    assert [*log.find(("demo",))] == [review(2)]


def test_records_that_all_vanish_are_an_error_and_not_an_empty_log(location: str) -> None:
    """A folder whose mount is lost looks empty."""
    log = open_log(location)
    assert [*log.all()] == []
    log.append(review(1))
    assert [*log.all()] == [review(1)]

    open_files(location).delete(f"{review(1).id}.json")
    for read in (log.all, lambda: log.find(("demo",)), log.by_id):
        with pytest.raises(Unavailable, match="none of the 1 records"):
            read()
    log.append(review(1))
    assert [*log.all()] == [review(1)]


def document(**changes: object) -> bytes:
    fields = {
        "schema": 1, "id": f"{9:032x}", "dataset": "demo", "image": "a.jpg", "evidence": "e" * 64, "reviewer": "ann",
        "is_authenticated": True, "time": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    return json.dumps({key: value for key, value in (fields | changes).items() if value is not None}).encode()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "JSON"),
        (document()[:-9], "JSON"),
        (b"[]", "not an object"),
        (b"\xff" * 40, "utf"),
        (b"[" * 100_000, "nested"),
        (document(schema=2), "NewerRecord"),
        (document(schema=True), "expected schema 1"),
        (document(schema=None), "expected schema 1"),
        (document(id="0" * 32), "has the ID"),
        (document(time="2026-01-01T00:00:00"), "with a time zone"),
        (document(time="soon"), "time"),
        (document(reviewer=None), "reviewer"),
        (document(rejected="cat"), "rejected"),
        (document(comment="x" * MAX_RECORD), "more than"),
    ],
    ids=range(14),
)
def test_an_unreadable_record_is_skipped_and_logged_once(location: str, content: bytes, problem: str) -> None:
    files, log = open_files(location), open_log(location)
    log.append(review(1))
    files.write({f"{9:032x}.json": content})

    with structlog.testing.capture_logs() as events:
        for number in range(2, 5):
            log.append(review(number))
            assert len(log.all()) == number

    assert [(event["event"], event["name"]) for event in events] == [("record unreadable", f"{9:032x}.json")]
    assert problem.lower() in events[0]["error"].lower()
    assert len(events[0]["error"]) <= 500


def test_a_record_is_not_created_in_the_place_of_an_unreadable_one(location: str) -> None:
    log = open_log(location)
    open_files(location).write({f"{9:032x}.json": b""})

    with pytest.raises(DamagedRecord, match=f"The stored Review {9:032x} cannot be read"):
        log.create(review(9))


def test_a_record_of_a_newer_version_with_further_fields_is_read(location: str) -> None:
    open_files(location).write({f"{9:032x}.json": document(confidence="sure")})

    assert [item.id for item in open_log(location).all()] == [f"{9:032x}"]


def test_other_files_are_ignored(location: str) -> None:
    open_files(location).write(dict.fromkeys(("x.json", f"{1:032x}.tmp", f".{1:032x}.json", "A" * 32), b"x"))

    with structlog.testing.capture_logs() as events:
        assert open_log(location).all() == ()
    assert events == []


def test_a_record_has_a_maximum_size(location: str) -> None:
    log = open_log(location)
    with pytest.raises(TooLarge):
        log.append(replace(review(1), comment="x" * MAX_RECORD))
    assert log.all() == ()


def test_threads_append_and_read_at_once(location: str) -> None:
    log = open_log(location)

    def write(number: int) -> int:
        log.append(review(number))
        return len([item for item in log.find(("demo",)) if item.id == review(number).id])

    with ThreadPoolExecutor(8) as pool:
        assert [*pool.map(write, range(40))] == [1] * 40
    assert len(log.all()) == 40


class CountingFiles(FolderFiles):
    """A folder that counts the files that are read."""

    num_read = 0

    def read_many(self, names: Collection[str]) -> Iterator[tuple[str, bytes | None]]:
        self.num_read += len(names)
        return super().read_many(names)


def test_each_record_is_read_once(tmp_path: Path) -> None:
    files: Files = CountingFiles(tmp_path)
    log = RecordLog(files, Review, review_keys)
    for number in range(30):
        log.append(review(number))
        log.all()
        log.find(("demo", "a.jpg"))

    assert files.num_read == 30  # type: ignore[attr-defined]


@pytest.mark.parametrize("num_redos", [0, 1])
def test_of_two_undos_at_once_one_is_stored(location: str, repository: EvidenceRepository, num_redos: int) -> None:
    seconds, image = itertools.count(), repository.find("demo", "").judged_names[0]

    def create(log: RecordLog[Review], **fields: str) -> Review:
        time = START + timedelta(seconds=next(seconds))
        stores: Any = SimpleNamespace(evidence=repository, reviews=log, events=None, clock=lambda: time)
        return create_review(stores, ReviewRequest("demo", image, **fields), "ann")  # type: ignore[arg-type]

    log, barrier = open_log(location), threading.Barrier(2)
    first = create(log, comment="x")
    for _ in range(num_redos):
        create(log, undoes=create(log, undoes=first.id).id)
    earlier = [*log.all()]

    def undo(request_id: str) -> Review:
        other = open_log(location)  # of another process
        find = other.find
        other.find = lambda key: (find(key), barrier.wait(60))[0]  # type: ignore[method-assign]
        return create(other, undoes=first.id, request_id=request_id)

    with ThreadPoolExecutor(2) as pool:
        undos = [*pool.map(undo, ("a", "b"))]

    assert undos[0] == undos[1]
    assert [*log.all()] == [*earlier, undos[0]]
    assert active_reviews(log.all()) == []


class Writer:
    """A process that creates reviews; `stored` has the IDs that it reported as stored."""

    def __init__(self, location: str, data_dir: Path, reviewer: str) -> None:
        script = Path(__file__).parent / "review_writer.py"
        command = [sys.executable, str(script), location, str(data_dir), reviewer]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.stored: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if re.fullmatch(r"[0-9a-f]{32}\n", line):  # the process also writes its log
                self.stored.append(line.strip())

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.mark.processes
@pytest.mark.parametrize("location", ["folder", "s3"], indirect=True)
def test_killed_writers_lose_nothing_and_leave_nothing_half(location: str, data_dir: Path) -> None:
    log, chance = open_log(location), random.Random(7)
    writers: list[Writer] = []
    with structlog.testing.capture_logs() as events:
        for generation in range(2):
            current = [Writer(location, data_dir, f"reviewer{generation}{number}") for number in range(3)]
            writers += current
            deadline = time.monotonic() + 120
            while any(len(writer.stored) < 10 for writer in current):
                assert time.monotonic() < deadline
                assert all(item.comment for item in log.all())  # a reader beside the writers
                time.sleep(0.02)
            time.sleep(chance.random() / 20)  # so that each kill interrupts another step
            for writer in current:
                writer.kill()
        records = open_log(location).by_id()

    assert events == []  # no record is unreadable
    stored = [name for writer in writers for name in writer.stored]
    assert len(stored) == len({*stored}) >= 60
    assert {*stored} <= records.keys()
    assert len(records) - len(stored) <= len(writers)  # stored, but killed before it was reported
    assert {item.id for item in log.all()} == records.keys()
