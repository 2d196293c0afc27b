"""The file of an index: damage, deletion, other schemas, other archives, and one process per file."""

import os
import random
import resource
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from analyses_strategy import START, make_analysis, make_record
from errata.errors import Unavailable

from service.archive.index import SqliteIndex, sqlite
from service.archive.index.conditions import MAX_COUNTED, make_query
from service.archive.index.schema import VERSION
from service.archive.index.slots import claim_index_file, open_index
from service.domain import NEWEST_FIRST, ORDERS, AnalysisFilter, Order, State

ARCHIVE = "0" * 32
ALL = AnalysisFilter()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "index" / "0.sqlite"


def filled(path: Path, count: int = 50) -> SqliteIndex:
    index = SqliteIndex(path)
    index.bind(ARCHIVE)
    index.add([make_record(make_analysis(f"a{number:03}", number)) for number in range(count)])
    index.write_added()
    index.mark(is_complete=True)
    return index


def wait_until_written(index: SqliteIndex) -> None:
    until = time.monotonic() + 10
    while index._added and time.monotonic() < until:
        time.sleep(0.01)


def test_temporary_data_of_sqlite_need_no_folder(path: Path) -> None:
    index = filled(path)

    for connection in (index._database._open(), index._database._take_reader()):
        with closing(connection):
            assert connection.execute("PRAGMA temp_store").fetchone() == (2,), "in memory"


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def overwrite_pages(path: Path) -> None:
    noise = random.Random(0).randbytes(path.stat().st_size - 8192)
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(noise)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "garbage": lambda path: path.write_bytes(b"no database" * 1000),
    "an empty file": lambda path: path.write_bytes(b""),
    "half of the file": truncate,
    "noise after the header": overwrite_pages,
    "no tables": lambda path: (
        path.unlink(),
        sqlite3.connect(path).execute(f"PRAGMA user_version = {VERSION}").connection.close(),
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_replaced_and_can_be_filled_again(path: Path, damage: str) -> None:
    filled(path).close()
    DAMAGE[damage](path)

    with structlog.testing.capture_logs() as log:
        index = SqliteIndex(path)
        replaced: list[int] = []
        index.on_replaced = lambda: replaced.append(1)
        for _ in range(2):  # the first query finds the damage, unless it was found when the file was opened
            index.bind(ARCHIVE)
            assert index.find(ALL, NEWEST_FIRST, None, 100) == []
            assert index.ids() == set()

    assert damage == "an empty file" or [event["event"] for event in log] == [
        "index damaged, starting with an empty one"
    ]
    assert not index.is_complete
    index.add([make_record(make_analysis("a1"))])
    assert index.ids() == {"a1"}


def test_damage_that_is_found_while_the_index_is_in_use_is_reported_to_its_owner(path: Path) -> None:
    index = filled(path, 300)
    index.close()
    index = SqliteIndex(path)
    index.bind(ARCHIVE)
    index.mark(is_complete=True)
    replaced: list[int] = []
    index.on_replaced = lambda: replaced.append(1)
    overwrite_pages(path)

    with structlog.testing.capture_logs():
        assert index.find(ALL, NEWEST_FIRST, None, 500) == []

    assert replaced == [1]
    assert not index.is_complete


def test_a_file_that_is_deleted_while_it_is_in_use_is_replaced(path: Path) -> None:
    index = filled(path)
    assert len(index.find(ALL, NEWEST_FIRST, None, 100)) == 50
    path.unlink()
    assert len(index.find(ALL, NEWEST_FIRST, None, 100)) == 50, "an open connection has the deleted file"
    index._database._idle.pop().close()  # as if two threads read at the same time

    with structlog.testing.capture_logs() as log:
        assert index.find(ALL, NEWEST_FIRST, None, 100) == []
    index.bind(ARCHIVE)
    index.add([make_record(make_analysis("a1"))])

    assert [event["event"] for event in log] == ["index damaged, starting with an empty one"]
    assert [analysis.id for analysis in index.find(ALL, NEWEST_FIRST, None, 100)] == ["a1"]


@contextmanager
def no_free_descriptors() -> Iterator[None]:
    """Keep this process from opening files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_file_that_cannot_be_opened_for_lack_of_descriptors_is_not_replaced(path: Path) -> None:
    index = filled(path)
    assert index.count(ALL) == 50
    index._database._idle.pop().close()  # as if another thread read at the same time

    with no_free_descriptors(), pytest.raises(Unavailable, match="unable to open database file"):
        index.find(ALL, NEWEST_FIRST, None, 100)

    assert len(index.find(ALL, NEWEST_FIRST, None, 100)) == 50
    assert index.is_complete
    index.close()
    with no_free_descriptors(), pytest.raises(sqlite3.OperationalError):
        SqliteIndex(path)
    assert len(SqliteIndex(path).ids()) == 50


def test_a_file_of_another_schema_is_replaced(path: Path) -> None:
    filled(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()

    index = SqliteIndex(path)

    assert index.ids() == set()


def test_a_file_of_the_same_archive_is_used_again_and_one_of_another_archive_is_emptied(path: Path) -> None:
    filled(path).close()
    index = SqliteIndex(path)
    assert index.find(ALL, NEWEST_FIRST, None, 1) == [], "the archive is not yet known"
    index.bind(ARCHIVE)
    assert len(index.find(ALL, NEWEST_FIRST, None, 100)) == 50
    index.close()

    index = SqliteIndex(path)
    index.bind("1" * 32)

    assert index.ids() == set()


def test_an_index_that_cannot_be_written_reports_this_and_still_answers(path: Path) -> None:
    index = filled(path)
    index._database._writer.execute("PRAGMA max_page_count = 1")  # as if the disk were full
    records = [make_record(make_analysis(f"b{number:03}")) for number in range(500)]

    with structlog.testing.capture_logs() as log:  # of this thread, or of the one that writes soon
        index.add(records)
        assert len(index.find(ALL, NEWEST_FIRST, None, 100)) == 50

    assert [(event["event"], event["count"]) for event in log] == [("analyses not indexed", 500)]
    with pytest.raises(Unavailable):
        index.add_missing(records)


def test_added_analyses_are_written_together_without_a_query(path: Path) -> None:
    index = filled(path, 1)
    writes = []
    insert = index._insert
    index._insert = lambda records: writes.append(len(records)) or insert(records)  # type: ignore[method-assign]

    for number in range(1, 4):
        index.add([make_record(make_analysis(f"a{number:03}"))])
    index.add([make_record(make_analysis("a003", owner="newer"))])
    wait_until_written(index)

    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT id, owner FROM analyses ORDER BY id").fetchall()
    assert rows == [("a000", ""), ("a001", ""), ("a002", ""), ("a003", "newer")]
    assert sum(writes) <= 4  # 3 if all were written together


def test_closing_writes_the_added_analyses(path: Path) -> None:
    index = filled(path, 1)
    index.add([make_record(make_analysis("a001"))])
    index.close()

    with closing(SqliteIndex(path)) as again:
        assert again.ids() == {"a000", "a001"}


def test_a_replacement_that_is_written_during_a_query_is_found(path: Path) -> None:
    index = filled(path, 1)
    index.add([make_record(make_analysis("a000", owner="newer"))])
    read_file = index._read_file

    def read_while_another_thread_writes(*arguments: Any) -> Any:
        content = read_file(*arguments)
        index.write_added()
        return content

    index._read_file = read_while_another_thread_writes  # type: ignore[method-assign]
    assert index.find(AnalysisFilter(owner=""), NEWEST_FIRST, None, 9)[0].owner == "newer"
    index.add([make_record(make_analysis("a000", owner="newest"))])
    assert index.find(AnalysisFilter(owner="newer"), NEWEST_FIRST, None, 9) == []


def test_analyses_are_written_at_once_without_a_free_thread(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = filled(path, 1)

    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail)
    index.add([make_record(make_analysis("a001"))])
    assert not index._added
    monkeypatch.undo()
    index.add([])
    index.add([make_record(make_analysis("a002"))])
    wait_until_written(index)
    assert index.ids() == {"a000", "a001", "a002"}


def test_an_analysis_that_cannot_be_written_fails_no_query(path: Path) -> None:
    index = filled(path, 1)

    with structlog.testing.capture_logs() as log:  # of this thread, or of the one that writes soon
        index.add([make_record(make_analysis("a001", owner="\ud800"))])
        assert index.contained(["a000"]) == {"a000"}
        assert index.count(ALL) == 1

    assert [event["event"] for event in log] == ["analyses not indexed"]
    index.close()


@pytest.mark.slow
def test_threads_read_while_another_one_writes(path: Path) -> None:
    index = filled(path)

    def read(_: int) -> int:
        return len(index.find(AnalysisFilter(id_prefix="a"), NEWEST_FIRST, None, 100))

    def write(number: int) -> None:
        index.add([make_record(make_analysis(f"b{number:03}-{copy}".replace("-", "0"), number)) for copy in range(20)])

    with ThreadPoolExecutor(8) as pool:
        writes = [pool.submit(write, number) for number in range(20)]
        assert set(pool.map(read, range(200))) == {50}
        for done in writes:
            done.result()
    assert index.count(ALL) == 450


def test_analyses_that_were_removed_while_they_were_read_are_not_added_again(path: Path) -> None:
    index = filled(path, 1)
    index.remove(["a000"])
    stale = [make_record(make_analysis("a000")), make_record(make_analysis("a001"))]

    index.add_missing(stale)
    assert index.ids() == {"a001"}

    index.add(stale[:1])  # the same id is archived again
    index.add_missing([make_record(make_analysis("a000", owner="older"))])
    assert {analysis.owner for analysis in index.find(ALL, NEWEST_FIRST, None, 9)} == {""}


FILTERS = {
    "all": ALL,
    "state": AnalysisFilter(frozenset({State.FAILED})),
    "data set": AnalysisFilter(dataset="demo"),
    "model": AnalysisFilter(model="timm:a"),
    "label": AnalysisFilter(labels={"a": "b"}),
    "labels": AnalysisFilter(labels={"a": "b", "c": "d"}),
    "name": AnalysisFilter(display_name="net"),
    "evidence": AnalysisFilter(evidence="e" * 64),
    "owner": AnalysisFilter(owner="me"),
    "request ID": AnalysisFilter(request_id="r"),
    "computation": AnalysisFilter(computation="c"),
    "id": AnalysisFilter(id_prefix="a"),
    "word": AnalysisFilter(words=("net",)),
    "evidence prefix": AnalysisFilter(evidence_prefix="e"),
    "time": AnalysisFilter(created_after=START, created_before=START + timedelta(days=1)),
}


@pytest.mark.parametrize(
    ("analysis_filter", "order"),
    [
        *((analysis_filter, NEWEST_FIRST) for analysis_filter in FILTERS.values()),
        *((ALL, order) for order in ORDERS),
        *((AnalysisFilter(dataset="demo", words=("net",), labels={"a": "b"}), order) for order in ORDERS),
    ],
    ids=[*FILTERS, *map(str, ORDERS), *(f"filter, {order}" for order in ORDERS)],
)
def test_a_page_of_frequent_conditions_reads_no_whole_table_and_sorts_nothing(
    path: Path, analysis_filter: AnalysisFilter, order: Order
) -> None:
    steps = plan_of(path, analysis_filter, order, MAX_COUNTED)

    assert not any(step.startswith("SCAN") or "TEMP B-TREE" in step for step in steps), steps


@pytest.mark.parametrize("order", ORDERS, ids=str)
@pytest.mark.parametrize("name", [name for name in FILTERS if name != "all"])
def test_a_page_of_a_rare_condition_starts_from_it(path: Path, name: str, order: Order) -> None:
    steps = plan_of(path, FILTERS[name], order, 7)

    first = steps[0]
    indexes = {"label": "labels", "labels": "labels", "word": "VIRTUAL TABLE", "id": "id>? AND id<?", "time": "by_time"}
    columns = {"data set": "dataset", "name": "display_name", "request ID": "request_id"}
    indexes["evidence prefix"] = "evidence>? AND evidence<?"
    expected = indexes.get(name, f"({columns.get(name, name)}=?")
    assert expected in first or ("PRIMARY KEY" in first and name.startswith("label")), steps


@pytest.mark.parametrize("order", [NEWEST_FIRST, NEWEST_FIRST.reversed], ids=str)
@pytest.mark.parametrize("name", ["all", "state", "data set", "label", "evidence", "owner"])
def test_a_page_of_a_time_range_starts_at_the_cursor_and_ends_with_the_range(
    path: Path, name: str, order: Order
) -> None:
    in_range = replace(FILTERS[name], created_after=START, created_before=START + timedelta(days=1))

    first, *_ = plan_of(path, in_range, order, MAX_COUNTED)

    assert f"(create_time,id){'<' if order.is_descending else '>'}(?,?)" in first
    assert f"create_time{'>' if order.is_descending else '<'}?" in first


def test_a_prefix_of_one_digest_is_the_digest(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filters: list[AnalysisFilter] = []

    def record_filter(analysis_filter: AnalysisFilter, *arguments: Any) -> Any:
        filters.append(analysis_filter)
        return make_query(analysis_filter, *arguments)

    monkeypatch.setattr(sqlite, "make_query", record_filter)
    index = filled(path, 2)
    for evidence_prefix in ("ee", "ef", "e" * 64):
        index.count(AnalysisFilter(evidence_prefix=evidence_prefix))
    index.add([make_record(make_analysis("b", evidence="ee" + "f" * 62))])
    index.count(AnalysisFilter(evidence_prefix="ee"))

    digest = AnalysisFilter(evidence="e" * 64)
    assert filters == [digest, AnalysisFilter(evidence_prefix="ef"), digest, AnalysisFilter(evidence_prefix="ee")]


def plan_of(path: Path, analysis_filter: AnalysisFilter, order: Order, count: int) -> list[str]:
    """Return the steps of the query of a page if each condition has `count` analyses."""
    filled(path).close()
    connection = sqlite3.connect(path)
    query = make_query(analysis_filter, order, lambda start: count)
    query.after(order.cursor(make_analysis("a1")))
    plan = connection.execute(f"EXPLAIN QUERY PLAN {query.select(50)}", query.values).fetchall()
    connection.close()
    return [row[3] for row in plan]


# files of processes


def test_each_holder_has_its_own_file_and_a_released_file_is_used_again(tmp_path: Path) -> None:
    first, second = claim_index_file(tmp_path), claim_index_file(tmp_path)
    assert (first.path.name, second.path.name) == ("0.sqlite", "1.sqlite")

    first.close()

    assert claim_index_file(tmp_path).path == first.path


@pytest.mark.processes
def test_the_file_of_a_killed_process_is_used_again(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from service.archive.index.slots import claim_index_file; "
        "file = claim_index_file(Path(sys.argv[1])); print(file.path.name, flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "0.sqlite\n"
    other = claim_index_file(tmp_path)
    assert other.path.name == "1.sqlite"

    process.kill()
    process.wait(10)
    process.stdout.close()

    assert claim_index_file(tmp_path).path.name == "0.sqlite"
    other.close()


def test_without_a_writable_folder_the_file_is_temporary(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"in the way")

    with structlog.testing.capture_logs() as log:
        file = claim_index_file(tmp_path / "file" / "index")

    assert [event["event"] for event in log] == ["index is temporary"]
    SqliteIndex(file.path).close()
    file.close()
    assert not file.path.parent.exists()


def test_if_the_file_can_be_neither_opened_nor_replaced_the_index_is_temporary(tmp_path: Path) -> None:
    (tmp_path / "0.sqlite").mkdir()

    with structlog.testing.capture_logs() as log:
        file, index = open_index(tmp_path)

    assert [event["event"] for event in log] == ["index is temporary"]
    assert index.ids() == set()
    assert file.path.parent != tmp_path
    index.close()
    file.close()
