"""The parser pool: it returns the same rows as in-process parsing, enforces limits, and restarts processes."""

import fcntl
import io
import os
import signal
import sys
import termios
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

import landlockpy
import numpy as np
import pyarrow as pa
import pytest
import structlog
from errata.errors import ErrataError, InvalidUpload, TooBusy, TruncatedUpload, Unavailable
from pyarrow import parquet
from security.parquet_cases import deep_and_wide_schema, nested_groups

from service.bootstrap.process import raise_file_limit
from service.predictions.sandbox import ParserPool
from service.predictions.sandbox import pool as pool_module
from service.predictions.sandbox.limits import ParserLimits
from service.predictions.sandbox.messages import MAX_REQUEST, decode_request, encode_request
from service.predictions.uploads.binary import ParseRequest, read_binary
from service.predictions.uploads.rows import NamedRows, OrderedRows, Rows

pytestmark = pytest.mark.processes

Parser = Callable[[ParseRequest, BinaryIO], Rows]
IMAGES = 12
NAMES = [f"image-{number}" for number in range(IMAGES)]
MAX_UNPACKED = 1 << 20


def request_for(format: str, classes: tuple[int, ...] | None = None) -> ParseRequest:
    return ParseRequest(format, IMAGES, 1000, MAX_UNPACKED, classes)


def stored(content: bytes) -> BinaryIO:
    file = TemporaryFile()  # noqa: SIM115 - the caller closes it
    file.write(content)
    file.seek(0)
    return file


def parquet_file(**columns: object) -> bytes:
    file = io.BytesIO()
    parquet.write_table(pa.table(columns), file)
    return file.getvalue()


def npy_file(array: object) -> bytes:
    file = io.BytesIO()
    np.save(file, np.asarray(array))
    return file.getvalue()


def npz_file(**arrays: object) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def written(write: Callable[..., None], *arguments: int) -> bytes:
    file = io.BytesIO()
    write(file, *arguments)
    return file.getvalue()


def plain(rows: Rows) -> object:
    """Rows as values that can be compared."""
    if isinstance(rows, OrderedRows):
        arrays = (rows.top1, rows.probability, rows.top1_restricted)
        return [None if array is None else array.tolist() for array in arrays], rows.warnings
    blocks = list(rows)
    columns: list[list[object]] = [[], [], [], []]
    for block in blocks:
        columns[0] += block.names.to_pylist()
        columns[1] += block.classes.to_pylist()
        columns[2] += [] if block.probabilities is None else block.probabilities.to_pylist()
        columns[3] += block.lines.tolist()
    return columns, [item for block in blocks for item in block.wrong], sum(block.num_wrong for block in blocks)


@pytest.fixture(scope="module")
def pool() -> Iterator[ParserPool]:
    with ParserPool(size=1) as started:
        yield started


def parsed(parse: Parser, format: str, content: bytes, classes: tuple[int, ...] | None = None) -> object:
    with stored(content) as file:
        return plain(parse(request_for(format, classes), file))


TWELVE = npy_file(np.arange(IMAGES))


def tight(**limits: float) -> ParserPool:
    return ParserPool(size=1, limits=ParserLimits(**limits))  # type: ignore[arg-type]


def rejection(parse: Parser, content: bytes, format: str = "parquet") -> ErrataError:
    with pytest.raises(ErrataError) as caught:
        parsed(parse, format, content)
    return caught.value


# -- the same rows as without a sandbox

SCORES = np.full((IMAGES, 1000), 0.0005, dtype=np.float32) + np.eye(IMAGES, 1000, dtype=np.float32) / 2
GOOD: dict[str, tuple[str, bytes]] = {
    "named": ("parquet", parquet_file(file_name=NAMES, top1=list(range(IMAGES)), probability=[0.5] * IMAGES)),
    "class names": ("parquet", parquet_file(file_name=NAMES, top1=["tench", "5"] * 6)),
    "missing values": ("parquet", parquet_file(file_name=NAMES, top1=[None, 5] * 6)),
    "no rows": ("parquet", parquet_file(file_name=pa.array([], pa.string()), top1=pa.array([], pa.int8()))),
    "classes": ("npy", npy_file(np.arange(IMAGES))),
    "scores": ("npy", npy_file(SCORES)),
    "npz": ("npz", npz_file(top1=np.arange(IMAGES)[::-1].copy(), probs=SCORES)),
}


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("classes", [None, (1, 3, 999)])
def test_a_file_has_the_same_rows_in_the_sandbox_as_in_this_process(
    pool: ParserPool, name: str, classes: tuple[int, ...] | None
) -> None:
    format, content = GOOD[name]

    assert parsed(pool, format, content, classes) == parsed(read_binary, format, content, classes)


@pytest.mark.parametrize(
    ("format", "content"),
    [
        ("parquet", parquet_file(file_name=NAMES)),
        ("parquet", b"PAR1 is not all that it takes PAR1"),
        ("npz", npz_file(top5=np.arange(IMAGES))),
        ("npz", npz_file(top1=np.arange(IMAGES))[:-30]),
        ("npy", npy_file(np.arange(IMAGES + 1))),
        ("npy", TWELVE + TWELVE),
        ("npy", npy_file(np.full((IMAGES, 1000), np.nan))),
    ],
)
def test_a_refusal_is_the_same_in_the_sandbox_as_in_this_process(pool: ParserPool, format: str, content: bytes) -> None:
    result, expected = rejection(pool, content, format), rejection(read_binary, content, format)

    assert (type(result), result.message, result.violations) == (type(expected), expected.message, expected.violations)


# -- isolation


def test_a_kernel_without_isolation_is_a_warning_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landlockpy, "supported", lambda: False)
    with structlog.testing.capture_logs() as logs, ParserPool(size=1) as pool:
        pool.start()

    assert [(event["log_level"], event["missing"]) for event in logs if "missing" in event] == [
        ("warning", ("Landlock",))
    ]


def test_a_platform_without_a_sandbox_parses_in_the_calling_process_and_warns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "IS_SUPPORTED", False)
    with structlog.testing.capture_logs() as logs, ParserPool(size=1) as pool:
        pool.start()

        assert parsed(pool, "npy", TWELVE) == parsed(read_binary, "npy", TWELVE)
    assert [event["log_level"] for event in logs] == ["warning"]


# -- limits


def test_a_file_that_crashes_its_parser_is_rejected_and_the_next_one_is_read(pool: ParserPool) -> None:
    error = rejection(pool, written(nested_groups, 100_000))

    assert error.reason == "INVALID_UPLOAD"
    assert "SIGSEGV" in error.message
    assert parsed(pool, "npy", TWELVE)


def test_a_parser_that_takes_too_much_memory_is_ended() -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(150_000):  # zipfile reads all entries of the index into memory
            archive.writestr(zipfile.ZipInfo(f"{number}"), b"")
    with tight(memory=32 << 20) as pool:
        error = rejection(pool, content.getvalue(), "npz")

        assert error.reason == "INVALID_UPLOAD"
        assert "32 MiB of memory" in error.message
        assert parsed(pool, "npy", TWELVE)


def test_a_single_huge_allocation_is_rejected(pool: ParserPool) -> None:
    head = b"{'descr': '<i8', 'fortran_order': False, 'shape': (1099511627776,)}\n"
    content = b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head
    with stored(content) as file, pytest.raises(InvalidUpload, match=r"bytes are missing|memory"):
        pool(ParseRequest("npy", 1 << 40, 1000, 1 << 50), file, lambda: False)


def test_a_parser_that_computes_too_long_is_ended() -> None:
    with tight(cpu_seconds=1) as pool:
        error = rejection(pool, written(deep_and_wide_schema, 1_000, 20_000))

    assert error.reason == "INVALID_UPLOAD"
    assert "1 seconds of CPU time" in error.message


def never_ending() -> tuple[BinaryIO, int]:
    """Return a file that never ends: a pipe without data."""
    reader, writer = os.pipe()
    return os.fdopen(reader, "rb"), writer


def test_a_parser_that_waits_too_long_is_ended() -> None:
    file, writer = never_ending()
    with tight(wall_seconds=0.5) as pool, file, pytest.raises(InvalidUpload, match=r"more than 0\.5 seconds"):
        pool(request_for("npy"), file, lambda: False)
    os.close(writer)


def test_a_cancelled_upload_ends_its_parser(pool: ParserPool) -> None:
    file, writer = never_ending()
    cancelled = threading.Event()
    threading.Timer(0.3, cancelled.set).start()

    with file, pytest.raises(TruncatedUpload):
        pool(request_for("npy"), file, cancelled.is_set)

    with pytest.raises(BrokenPipeError):
        write_until_nobody_reads(writer)
    os.close(writer)


def write_until_nobody_reads(pipe: int) -> None:
    while os.write(pipe, b"x"):
        time.sleep(0.01)


def test_a_file_waits_for_a_free_process_until_the_timeout() -> None:
    file, writer = never_ending()
    cancelled = threading.Event()
    with tight(wait_seconds=0.3) as pool, file:
        first = threading.Thread(target=lambda: swallow(lambda: pool(request_for("npy"), file, cancelled.is_set)))
        first.start()
        while pool._queue._idle:
            time.sleep(0.01)
        with pytest.raises(TooBusy):
            parsed(pool, "npy", TWELVE)
        with pytest.raises(TruncatedUpload), stored(TWELVE) as waiting:
            pool(request_for("npy"), waiting, lambda: True)
        cancelled.set()
        first.join()

        assert parsed(pool, "npy", TWELVE)
    os.close(writer)


def swallow(call: Callable[[], object]) -> None:
    with pytest.raises(TruncatedUpload):
        call()


def test_a_killed_process_is_replaced(pool: ParserPool) -> None:
    parsed(pool, "npy", TWELVE)
    (process,) = pool._processes
    assert process._process is not None
    os.kill(process._process.pid, signal.SIGKILL)
    while process._process.poll() is None:
        time.sleep(0.01)

    assert parsed(pool, "npy", TWELVE)


def test_a_waiting_process_that_is_killed_is_replaced(pool: ParserPool) -> None:
    parsed(pool, "npy", TWELVE)
    pid = waiting_process(pool, [])
    os.kill(int(pid), signal.SIGKILL)
    wait_for_end(pid)

    assert parsed(pool, "npy", TWELVE) == parsed(read_binary, "npy", TWELVE)


def test_a_process_killed_while_it_parses_raises_unavailable(pool: ParserPool) -> None:
    file, writer = never_ending()
    (process,) = pool._processes
    process.start()
    assert process._process is not None
    kill = threading.Thread(target=kill_after_first_read, args=(process._process.pid, writer))
    kill.start()

    with file, pytest.raises(Unavailable):
        pool(request_for("npy"), file, lambda: False)
    kill.join()
    os.close(writer)


def kill_after_first_read(fork_server: int, pipe: int) -> None:
    """Kill a fork server and its child processes after one of them has read from a pipe."""
    os.write(pipe, b"\x93")
    while int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder):
        time.sleep(0.01)
    os.killpg(fork_server, signal.SIGKILL)


def test_stopping_the_pool_ends_an_upload_that_is_being_parsed_and_starts_no_process_again() -> None:
    file, writer = never_ending()
    pool = ParserPool(size=1)
    (process,) = pool._processes
    threading.Timer(0.3, pool.stop).start()

    with file, pytest.raises(Unavailable):
        pool(request_for("npy"), file, lambda: False)
    os.close(writer)

    assert process._process is None


def test_a_service_with_more_than_1024_open_files_still_parses() -> None:
    raise_file_limit()
    with TemporaryFile() as file:
        descriptors = [os.dup(file.fileno()) for _ in range(1_100)]
        try:
            with ParserPool(size=1) as pool:
                assert parsed(pool, "npy", TWELVE) == parsed(read_binary, "npy", TWELVE)
                assert parsed(pool, "npy", TWELVE) == parsed(read_binary, "npy", TWELVE)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)


# -- nothing of one upload reaches the next


def test_each_file_is_parsed_by_a_new_process(pool: ParserPool) -> None:
    pids = []
    for _ in range(3):
        parsed(pool, "npy", TWELVE)
        pids.append(waiting_process(pool, pids))

    assert len(set(pids)) == 3


def waiting_process(pool: ParserPool, before: list[str]) -> str:
    """The id of the process that waits for the next file."""
    (process,) = pool._processes
    assert process._process is not None
    children = Path(f"/proc/{process._process.pid}/task/{process._process.pid}/children")
    while not (result := [pid for pid in children.read_text().split() if pid not in before[-1:]]):
        time.sleep(0.01)
    return result[0]


def wait_for_end(pid: str) -> None:
    """Wait until a process has closed its files, which takes a moment after a signal."""
    while (stat := read_or_empty(Path(f"/proc/{pid}/stat"))) and stat.rpartition(") ")[2][0] != "Z":
        time.sleep(0.01)


def read_or_empty(path: Path) -> str:
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def test_blocks_keep_their_order() -> None:
    names = [f"image-{number:05}" for number in range(20_000)]
    content = parquet_file(file_name=names, top1=[number % 1000 for number in range(20_000)])
    with ParserPool(size=1) as pool:
        with stored(content) as file:
            rows = pool(ParseRequest("parquet", 20_000, 1000, 1 << 24), file, lambda: False)
        assert not isinstance(rows, OrderedRows)
        blocks: list[NamedRows] = list(rows)

    assert [name.decode() for block in blocks for name in block.names.to_pylist()] == names
    assert np.concatenate([block.lines for block in blocks]).tolist() == list(range(1, 20_001))


@pytest.mark.parametrize("classes", [None, (0,), (1, 32_766), tuple(range(32_767))])
def test_a_request_has_any_classes_of_the_largest_label_space(classes: tuple[int, ...] | None) -> None:
    request = ParseRequest("npy", 50_000, 32_767, MAX_UNPACKED, classes)

    content = encode_request(request)

    assert decode_request(content) == request
    assert len(content) < MAX_REQUEST // 8
