"""Local files: atomic writes, locks, and the size limit of spooled streams."""

import ast
import errno
import hashlib
import io
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from errata import files
from errata.errors import InvalidEvidence, TooLarge, Unavailable
from errata.files import read_file, temporary_file_beside, write_files

from service.evidence.input_files import read_content
from service.predictions.image_files import FileLocation
from service.storage import (
    CHUNK,
    ORPHAN_SECONDS,
    atomic_folder,
    create_file,
    lock,
    parse_literal,
    read_arrays,
    remove_scratch,
    remove_temporary_folders,
    scratch_target,
    sha256_of,
    spool,
    temporary_folder,
    write_file,
)

TRY_LOCK = "import fcntl, sys; fcntl.flock(open(sys.argv[1], 'a'), fcntl.LOCK_EX | fcntl.LOCK_NB)"


def locked_for_others(path: Path) -> bool:
    """Whether another process fails to take the lock."""
    return subprocess.run([sys.executable, "-c", TRY_LOCK, str(path)], capture_output=True, check=False).returncode != 0


def everything_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def fail_while_writing(path: Path, error: BaseException) -> None:
    """Start to write a folder, then raise an error."""
    with atomic_folder(path) as scratch:
        (scratch / "new").write_bytes(b"new")
        raise error


# -- write_file


def test_file_is_written_and_its_parents_are_created(tmp_path: Path) -> None:
    file = tmp_path / "a" / "b" / "file"

    write_file(file, b"hello")

    assert file.read_bytes() == b"hello"
    assert everything_in(tmp_path) == {"a", "a/b", "a/b/file"}


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_new_file_has_the_mode_that_the_umask_permits(tmp_path: Path, umask: int, mode: int) -> None:
    previous = os.umask(umask)
    try:
        write_file(tmp_path / "written", b"x")
        create_file(tmp_path / "created", b"x")
    finally:
        os.umask(previous)

    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {mode}


@pytest.mark.parametrize("mode", [0o600, 0o444, 0o666])
def test_existing_file_keeps_its_mode(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"old")
    file.chmod(mode)

    write_file(file, b"new")

    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (b"new", mode)


def test_existing_file_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "file"
    write_file(file, b"old and longer")

    write_file(file, b"new")

    assert file.read_bytes() == b"new"
    assert everything_in(tmp_path) == {"file"}


def test_failed_write_leaves_only_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "file"
    write_file(file, b"old")

    with pytest.raises(TypeError):
        write_file(file, "text, not bytes")

    assert file.read_bytes() == b"old"
    assert everything_in(tmp_path) == {"file"}


def test_a_short_write_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, content = os.write, bytes(range(100))
    monkeypatch.setattr(os, "write", lambda file, rest: write(file, rest[:7]))

    write_files({tmp_path / "a": content})

    assert (tmp_path / "a").read_bytes() == content


@pytest.mark.parametrize(
    "read",
    [
        lambda path: read_file(path, 10),
        lambda path: read_content(path, "labels"),
        lambda path: FileLocation(path).read(10),
    ],
    ids=["client", "evidence", "images"],
)
def test_an_attempt_to_read_a_folder_leaves_no_open_file(tmp_path: Path, read: Callable[[Path], bytes]) -> None:
    before = len(os.listdir("/proc/self/fd"))

    for _ in range(50):
        with pytest.raises((OSError, InvalidEvidence), match="directory"):
            read(tmp_path)

    assert len(os.listdir("/proc/self/fd")) < before + 25, "threads of other tests can open some files meanwhile"


def test_write_to_a_folder_fails_and_leaves_the_folder(tmp_path: Path) -> None:
    (tmp_path / "folder" / "inside").mkdir(parents=True)

    with pytest.raises(OSError):  # noqa: PT011 - the message depends on the system
        write_file(tmp_path / "folder", b"new")

    assert everything_in(tmp_path) == {"folder", "folder/inside"}


def test_files_are_written_together(tmp_path: Path) -> None:
    contents = {tmp_path / "a" / name: name.encode() for name in ("second", "first", "third")}

    write_files(contents)

    assert {path: path.read_bytes() for path in contents} == contents
    assert everything_in(tmp_path) == {"a", "a/first", "a/second", "a/third"}


def test_of_files_that_cannot_all_be_written_none_appears(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        write_files({tmp_path / "a": b"a", tmp_path / "b": "text, not bytes", tmp_path / "c": b"c"})

    assert everything_in(tmp_path) == set()


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the inodes of the files that were synced under their temporary names."""
    inodes, fsync = list[int](), os.fsync

    def sync(file: int) -> None:
        fsync(file)
        if Path(os.readlink(f"/proc/self/fd/{file}")).name.startswith("."):
            inodes.append(os.fstat(file).st_ino)

    monkeypatch.setattr(os, "fsync", sync)
    return inodes


@pytest.mark.parametrize("num_files", [0, 1, 3, 20])
def test_each_file_is_synced(tmp_path: Path, synced: list[int], num_files: int) -> None:
    contents = {tmp_path / str(number): b"x" for number in range(num_files)}

    write_files(contents)

    assert sorted(synced) == sorted(path.stat().st_ino for path in contents)


def test_files_are_synced_while_all_threads_are_busy(tmp_path: Path, synced: list[int]) -> None:
    is_released = threading.Event()
    busy = [files._sync_threads().submit(is_released.wait, 60) for _ in range(files._SYNC_THREADS)]
    contents = {tmp_path / str(number): b"x" for number in range(3)}
    try:
        write_files(contents)
        assert not any(future.done() for future in busy)
    finally:
        is_released.set()

    assert sorted(synced) == sorted(path.stat().st_ino for path in contents)


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_if_a_file_cannot_be_synced_none_appears_and_all_are_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    names, fsync = [tmp_path / name for name in "abc"], os.fsync
    open_files = set(os.listdir("/proc/self/fd"))

    def fail(file: int) -> None:
        if f".{names[failing].name}." in os.readlink(f"/proc/self/fd/{file}"):
            raise OSError(errno.EIO, "broken")
        fsync(file)

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="broken"):
        write_files(dict.fromkeys(names, b"x"))

    assert everything_in(tmp_path) == set()
    assert set(os.listdir("/proc/self/fd")) == open_files


def test_if_a_file_cannot_be_synced_the_others_stay_open_until_they_are_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_started, has_failed, synced, fsync = threading.Event(), threading.Event(), list[int](), os.fsync
    main = threading.current_thread()

    def sync(file: int) -> None:
        if threading.current_thread() is main:
            assert has_started.wait(60)
            threading.Timer(0.1, has_failed.set).start()
            raise OSError(errno.EIO, "broken")
        has_started.set()
        assert has_failed.wait(60)
        fsync(file)
        synced.append(file)

    monkeypatch.setattr(os, "fsync", sync)
    with pytest.raises(OSError, match="broken"):
        write_files({tmp_path / "a": b"a", tmp_path / "b": b"b"})

    assert len(synced) == 1


SCRIPT_OF_A_CHILD = """
import os, sys
from pathlib import Path
from errata.files import write_files
folder = Path(sys.argv[1])
write_files({folder / "a": b"a", folder / "b": b"b"})
process = os.fork()
write_files({folder / f"{process == 0}{name}": b"x" for name in "cd"})
if process:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
"""
SCRIPT_OF_A_CHILD_WITHOUT_A_LOCK = """
import os, sys
from pathlib import Path
from errata import files
folder = Path(sys.argv[1])
files.write_files({folder / "a": b"a", folder / "b": b"b"})
with files._sync_threads()._shutdown_lock:  # as if another thread wrote files: nobody releases the child's lock
    process = os.fork()
    if not process:
        files.write_files({folder / "c": b"c", folder / "d": b"d"})
        os._exit(0)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
"""
SCRIPT_OF_AN_EXIT = """
import sys, threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from errata.files import write_files
folder, pool = Path(sys.argv[1]), ThreadPoolExecutor(1)
write_files({folder / "a": b"a", folder / "b": b"b"})
def write():
    try:
        while True:
            pool.submit(int).result()
    except RuntimeError:  # Python exits
        write_files({folder / "c": b"c", folder / "d": b"d"})
threading.Thread(target=write).start()
"""


@pytest.mark.parametrize(
    ("script", "names"),
    [
        (SCRIPT_OF_A_CHILD, {"a", "b", "Falsec", "Falsed", "Truec", "Trued"}),
        (SCRIPT_OF_A_CHILD_WITHOUT_A_LOCK, {"a", "b", "c", "d"}),
        (SCRIPT_OF_AN_EXIT, {"a", "b", "c", "d"}),
    ],
    ids=["fork", "fork with a lock", "exit"],
)
@pytest.mark.processes
def test_files_are_written_after_a_fork_and_while_python_exits(tmp_path: Path, script: str, names: set[str]) -> None:
    # Python 3.12 and later warn about each fork of a process with threads.
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script, str(tmp_path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            _, error = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # also the child
            raise

    assert (process.returncode, error) == (0, "")
    assert everything_in(tmp_path) == names


def test_a_thread_that_starts_later_syncs_no_file_of_an_earlier_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, synced = ThreadPoolExecutor(4), list[int]()
    monkeypatch.setattr(files, "_sync_threads", lambda: pool)
    monkeypatch.setattr(os, "fsync", synced.append)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail_to_start)
        write_files({tmp_path / name: b"x" for name in "abc"})
    assert len(synced) == 3

    pool.submit(int).result()
    pool.shutdown()

    assert (everything_in(tmp_path), len(synced)) == ({"a", "b", "c"}, 3)


def test_an_error_of_a_thread_is_raised_although_no_other_thread_can_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The executor queues a call before it fails to start a thread for it, so that a thread can run the call."""
    pool, is_free, has_begun, fsync = ThreadPoolExecutor(4), threading.Event(), threading.Event(), os.fsync
    pool.submit(is_free.wait, 60)
    main = threading.current_thread()

    def sync(file: int) -> None:
        if threading.current_thread() is main:
            is_free.set()
            assert has_begun.wait(60)
            fsync(file)
        else:
            has_begun.set()
            time.sleep(0.1)  # the caller has synced the other files
            raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(files, "_sync_threads", lambda: pool)
    monkeypatch.setattr(threading.Thread, "start", fail_to_start)
    monkeypatch.setattr(os, "fsync", sync)
    with pytest.raises(OSError, match="broken"):
        write_files({tmp_path / name: b"x" for name in "abc"})
    pool.shutdown()

    assert everything_in(tmp_path) == set()


def fail_to_start(thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_files_appear_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [tmp_path / name for name in ("second", "first", "third")]
    replace, visible = os.replace, list[list[Path]]()

    def observe(source: str, target: Path) -> None:
        replace(source, target)
        visible.append([path for path in paths if path.exists()])

    monkeypatch.setattr(os, "replace", observe)
    write_files(dict.fromkeys(paths, b"x"))

    assert visible == [paths[:1], paths[:2], paths[:3]]


def test_concurrent_reader_sees_the_old_or_the_new_content(tmp_path: Path) -> None:
    file = tmp_path / "file"
    contents = [letter * 200_000 for letter in (b"a", b"b")]
    write_file(file, contents[0])
    done = threading.Event()

    def write_often() -> None:
        for number in range(60):
            write_file(file, contents[number % 2])
        done.set()

    writer = threading.Thread(target=write_often)
    writer.start()
    observed = {file.read_bytes()}
    while not done.is_set():
        observed.add(file.read_bytes())
    writer.join()

    assert observed <= set(contents)


# -- sha256_of


def test_checksums_match_the_examples_of_fips_180(tmp_path: Path) -> None:
    for content, digest in (
        (b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (b"a" * 1_000_000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
    ):
        (tmp_path / "file").write_bytes(content)
        assert sha256_of(tmp_path / "file") == digest


@pytest.mark.parametrize("size", [CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK])
def test_checksum_covers_every_block(tmp_path: Path, size: int) -> None:
    content = bytes(range(256)) * (size // 256) + bytes(size % 256)
    (tmp_path / "file").write_bytes(content)

    assert sha256_of(tmp_path / "file") == hashlib.sha256(content).hexdigest()


# -- lock


@pytest.mark.processes
def test_lock_excludes_other_processes_until_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "lock"

    with lock(path):
        assert locked_for_others(path)

    assert not locked_for_others(path)


@pytest.mark.processes
def test_lock_is_released_after_an_error(tmp_path: Path) -> None:
    path = tmp_path / "lock"

    with pytest.raises(KeyError), lock(path):
        raise KeyError

    assert not locked_for_others(path)


def test_lock_excludes_other_threads(tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")

    def count() -> None:
        for _ in range(50):
            with lock(tmp_path / "lock"):
                counter.write_text(str(int(counter.read_text()) + 1))

    threads = [threading.Thread(target=count) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert counter.read_text() == "300"


# -- atomic_folder


def test_folder_appears_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "a" / "bundle"

    with atomic_folder(path) as scratch:
        (scratch / "one").write_bytes(b"1")
        assert not path.exists()
        (scratch / "two").write_bytes(b"2")

    assert everything_in(tmp_path) == {"a", "a/bundle", "a/bundle/one", "a/bundle/two"}
    assert (path / "two").read_bytes() == b"2"


def test_folder_is_readable_for_other_users(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "bundle"):
        pass

    assert (tmp_path / "bundle").stat().st_mode & 0o777 == 0o755


def test_failed_folder_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        fail_while_writing(tmp_path / "bundle", KeyError())

    assert everything_in(tmp_path) == set()


def test_failed_folder_leaves_the_old_folder(tmp_path: Path) -> None:
    path = tmp_path / "bundle"
    with atomic_folder(path) as scratch:
        (scratch / "old").write_bytes(b"old")

    with pytest.raises(KeyboardInterrupt):
        fail_while_writing(path, KeyboardInterrupt())

    assert everything_in(tmp_path) == {"bundle", "bundle/old"}


def test_open_files_of_a_replaced_folder_stay_readable(tmp_path: Path) -> None:
    path = tmp_path / "bundle"
    with atomic_folder(path) as scratch:
        (scratch / "old").write_bytes(b"old")

    with (path / "old").open("rb") as reader:
        with atomic_folder(path) as scratch:
            (scratch / "new").write_bytes(b"new")

        assert reader.read() == b"old"
    assert everything_in(tmp_path) == {"bundle", "bundle/new"}


# -- spool


class InfiniteStream:
    """An infinite stream of zeros that counts the bytes read."""

    def __init__(self) -> None:
        self.bytes_read = 0

    def read(self, size: int = -1) -> bytes:
        assert size > 0, "an infinite stream was read to its end"
        self.bytes_read += size
        return bytes(size)


@pytest.mark.parametrize("size", [0, 1, CHUNK, CHUNK + 1, 9 << 20])
def test_spooled_stream_has_the_same_bytes_and_is_seekable(size: int) -> None:
    content = bytes(range(256)) * (size // 256) + b"x" * (size % 256)

    with spool(io.BytesIO(content), limit=size) as file:
        assert file.read() == content
        file.seek(size // 2)
        assert file.read(10) == content[size // 2 : size // 2 + 10]

    assert file.closed


def test_stream_over_the_limit_is_rejected_early() -> None:
    stream = InfiniteStream()

    with pytest.raises(TooLarge) as error, spool(stream, limit=3 * CHUNK):
        pytest.fail("the block ran")

    assert error.value.reason == "TOO_LARGE"
    assert str(3 * CHUNK) in error.value.message
    assert stream.bytes_read <= 4 * CHUNK


def test_stream_one_byte_over_the_limit_is_rejected() -> None:
    with pytest.raises(TooLarge), spool(io.BytesIO(bytes(101)), limit=100):
        pytest.fail("the block ran")


def test_missing_folder_of_temporary_files_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))

    with pytest.raises(Unavailable) as error, spool(io.BytesIO(b"x"), limit=1):
        pytest.fail("the block ran")

    assert error.value.retry_after
    assert str(tmp_path) not in error.value.message


def test_full_disk_is_unavailable() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # writes beyond the limit fail, as on a full disk
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (CHUNK, hard))
        with pytest.raises(Unavailable), spool(io.BytesIO(bytes(2 * CHUNK)), limit=2 * CHUNK):
            pytest.fail("the block ran")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        signal.signal(signal.SIGXFSZ, before)


# -- remove_scratch


def make_old(folder: Path) -> None:
    """Set the modification times in a folder to twice the age of orphans."""
    for path in (folder, *folder.rglob("*")):
        os.utime(path, (time.time() - 2 * ORPHAN_SECONDS,) * 2)


@pytest.mark.parametrize("name", [".a.json.a1b2c3d4", ".bundle.________", ".a.b.c.abc12345", ".x.1234567a"])
def test_scratch_name_contains_its_target(name: str) -> None:
    assert scratch_target(name) == name[1:-9]


@pytest.mark.parametrize("name", ["a.json", ".a", ".a.json", ".a.A1B2C3D4", ".a.abc", ".backup.20240229", "a.a1b2c3d4"])
def test_other_names_have_no_target(name: str) -> None:
    assert scratch_target(name) is None


def test_each_temporary_file_is_scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secrets.token_hex", lambda size: "20240229"[: 2 * size])
    with temporary_file_beside(tmp_path / "a.json", b"{}") as temporary:
        assert scratch_target(temporary.name) == "a.json"


def test_only_old_scratch_is_removed(tmp_path: Path) -> None:
    for name in ("deep/er", ".bundle.a1b2c3d4/inner", ".git", "plain"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("deep/er/.a.npy.a1b2c3d4", "deep/er/a.npy", ".bundle.a1b2c3d4/inner/b.npy", ".git/config"):
        (tmp_path / name).touch()
    make_old(tmp_path)
    (tmp_path / "deep" / ".young.npy.a1b2c3d4").touch()

    assert remove_scratch(tmp_path) == 2
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")} == {
        *("deep", "deep/er", "deep/er/a.npy", "deep/.young.npy.a1b2c3d4", ".git", ".git/config", "plain"),
    }


def test_scratch_folder_with_a_recent_file_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / ".bundle.a1b2c3d4").mkdir()
    (tmp_path / ".bundle.a1b2c3d4" / "first.npy").touch()
    make_old(tmp_path)
    (tmp_path / ".bundle.a1b2c3d4" / "second.npy").touch()
    os.utime(tmp_path / ".bundle.a1b2c3d4", (1, 1))

    assert remove_scratch(tmp_path) == 0


@pytest.mark.parametrize("has_new_folder", [False, True])
def test_the_original_of_a_replaced_folder_is_restored_unless_the_new_folder_exists(
    tmp_path: Path, has_new_folder: bool
) -> None:
    """A process can be killed before and after it moves the new folder to its place."""
    (tmp_path / ".bundle.a1b2c3d4" / "old").mkdir(parents=True)
    (tmp_path / ".bundle.a1b2c3d4" / "old" / "manifest.json").write_text("original")
    if has_new_folder:
        (tmp_path / "bundle").mkdir()
        (tmp_path / "bundle" / "manifest.json").write_text("new")
    make_old(tmp_path)

    assert remove_scratch(tmp_path) == 1

    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
    assert (tmp_path / "bundle" / "manifest.json").read_text() == ("new" if has_new_folder else "original")


def test_each_file_of_a_folder_is_on_the_disk_before_the_folder_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events, fsync, rename = list[object](), os.fsync, os.replace

    def sync(file: int) -> None:
        events.append(os.fstat(file).st_ino)
        fsync(file)

    def replace(source: Path, target: Path) -> None:
        events.append(target)
        rename(source, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", replace)
    with atomic_folder(tmp_path / "bundle") as folder:
        for name in "ab":
            (folder / name).write_text(name)

    inodes = {(tmp_path / "bundle" / name).stat().st_ino for name in "ab"}
    assert ({*events[:2]}, events[2:]) == (inodes, [tmp_path / "bundle"])


def test_symlink_is_removed_without_its_target(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file").touch()
    make_old(tmp_path)
    (tmp_path / ".a.a1b2c3d4").symlink_to(tmp_path / "data")
    os.utime(tmp_path / ".a.a1b2c3d4", (1, 1), follow_symlinks=False)

    assert remove_scratch(tmp_path) == 1
    assert (tmp_path / "data" / "file").exists()


def call_before_scan(monkeypatch: pytest.MonkeyPatch, folder: Path, function: Callable[[], object]) -> None:
    """Call a function each time before a folder is listed."""
    scandir = os.scandir

    def scan(path: Path | str) -> object:
        if Path(path) == folder:
            function()
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scan)


def test_a_folder_that_another_process_removes_during_the_search_hides_no_scratch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    building = tmp_path / ".bundle.aaaaaaaa"
    building.mkdir()
    (tmp_path / ".a.npy.a1b2c3d4").touch()
    make_old(tmp_path)
    call_before_scan(monkeypatch, building, lambda: building.rename(tmp_path / "bundle"))  # its build has ended

    assert remove_scratch(tmp_path) == 1


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO])
def test_a_folder_that_the_service_may_not_read_hides_no_scratch_and_a_failing_disk_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    (tmp_path / "lost+found").mkdir()
    (tmp_path / ".a.npy.a1b2c3d4").touch()
    make_old(tmp_path)

    def refuse() -> None:
        raise OSError(code, os.strerror(code))

    call_before_scan(monkeypatch, tmp_path / "lost+found", refuse)

    if code == errno.EACCES:
        assert remove_scratch(tmp_path) == 1
    else:
        with pytest.raises(OSError, match=os.strerror(code)):
            remove_scratch(tmp_path)


def test_missing_folder_has_no_scratch(tmp_path: Path) -> None:
    assert remove_scratch(tmp_path / "nothing") == 0


KILLED_WRITER = """
import os, sys
from pathlib import Path
from service.storage import atomic_folder, write_file
calls = []
def kill_at(number, call):
    def counted(*arguments):
        calls.append(arguments)
        if len(calls) == number:
            os.kill(os.getpid(), 9)
        return call(*arguments)
    return counted
path, function, number = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
setattr(os, function, kill_at(number, getattr(os, function)))
if sys.argv[4] == "file":
    write_file(path, b"new")
else:
    with atomic_folder(path) as folder:
        (folder / "a").write_text("new")
"""


def kill(path: Path, function: str, number: int, what: str) -> None:
    """Write to a path in a process that is killed at the call with this number of a function of `os`."""
    command = [sys.executable, "-c", KILLED_WRITER, str(path), function, str(number), what]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL


@pytest.mark.processes
@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_scratch_file_of_a_killed_writer_is_removed(tmp_path: Path, function: str) -> None:
    kill(tmp_path / "a.json", function, 1, "file")
    (scratch,) = tmp_path.iterdir()

    assert remove_scratch(tmp_path) == 0, "the file is recent"
    assert [*tmp_path.iterdir()] == [scratch]
    make_old(tmp_path)
    assert remove_scratch(tmp_path) == 1
    assert not [*tmp_path.iterdir()]


@pytest.mark.processes
@pytest.mark.parametrize(
    ("number", "content"),
    [(1, "before"), (2, "before")],
    ids=["killed before the old folder moved", "killed before the new folder moved"],
)
def test_scratch_folder_of_a_killed_writer_is_removed_and_the_old_folder_is_restored(
    tmp_path: Path, number: int, content: str
) -> None:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "a").write_text("before")
    kill(tmp_path / "bundle", "replace", number, "folder")
    make_old(tmp_path)

    assert remove_scratch(tmp_path) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
    assert (tmp_path / "bundle" / "a").read_text() == content


# -- create_file


def test_existing_file_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"

    assert create_file(path, b"first") is True
    assert create_file(path, b"second") is False
    assert path.read_bytes() == b"first"
    assert [file.name for file in path.parent.iterdir()] == ["file"]


def test_exactly_one_of_many_concurrent_callers_creates_a_file(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        created = list(pool.map(lambda number: create_file(tmp_path / "file", b"%d" % number), range(64)))

    assert created.count(True) == 1
    assert (tmp_path / "file").read_bytes() == b"%d" % created.index(True)


# -- remove_temporary_folders


KILLED_OWNER = """
import os
from service.storage import temporary_folder
with temporary_folder() as folder:
    (folder / "weights").write_text("incomplete")
    os.kill(os.getpid(), 9)
"""


@pytest.mark.processes
def test_old_temporary_folder_of_a_killed_process_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert subprocess.run([sys.executable, "-c", KILLED_OWNER], check=False).returncode == -signal.SIGKILL
    (orphan,) = tmp_path.iterdir()

    assert remove_temporary_folders() == 0, "the folder is recent"
    make_old(tmp_path)
    for name in ("errata-notes", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "errata-scratch-link").symlink_to(tmp_path / "other")
    with temporary_folder() as used:
        assert remove_temporary_folders() == 1
        assert used.exists()

    assert not orphan.exists()
    assert {path.name for path in tmp_path.iterdir()} == {"errata-notes", "other", "errata-scratch-link"}


def test_the_temporary_folder_of_another_user_is_not_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with temporary_folder() as folder:
        make_old(tmp_path)
        monkeypatch.setattr(os, "getuid", lambda: folder.stat().st_uid + 1)

        assert remove_temporary_folders() == 0
        assert folder.exists()


def test_numpy_parses_a_header_again_that_another_thread_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    content, parse, errors = io.BytesIO(), ast.literal_eval, [SystemError("AST constructor recursion depth mismatch")]

    def parse_at_second_call(text: str) -> object:
        if errors:
            raise errors.pop()
        return parse(text)

    np.savez(content, top1=np.arange(5))
    monkeypatch.setattr(ast, "literal_eval", parse_at_second_call)
    with read_arrays(content.getvalue()) as arrays:
        assert arrays["top1"].tolist() == [*range(5)]
        assert [*arrays] == ["top1"] and arrays.get("probability") is None
    assert not errors


def test_a_header_that_can_never_be_parsed_is_an_error() -> None:
    def fail() -> None:
        raise SystemError("damaged")

    with pytest.raises(SystemError):
        parse_literal(fail)
