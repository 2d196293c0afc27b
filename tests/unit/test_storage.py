"""Files: whole or not at all, one writer at a time, and never more of a stream than was allowed."""

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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from errata.errors import TooLarge, Unavailable

from service.storage import (
    CHUNK,
    ORPHAN_SECONDS,
    create_file,
    folder_in_one_step,
    lock,
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


def half_write(path: Path, error: BaseException) -> None:
    """Begin a folder and fail."""
    with folder_in_one_step(path) as scratch:
        (scratch / "new").write_bytes(b"new")
        raise error


# -- write_file


def test_a_file_is_written_and_its_parents_are_made(tmp_path: Path) -> None:
    file = tmp_path / "a" / "b" / "file"

    write_file(file, b"hello")

    assert file.read_bytes() == b"hello"
    assert everything_in(tmp_path) == {"a", "a/b", "a/b/file"}
    assert file.stat().st_mode & 0o777 == 0o644


def test_a_file_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "file"
    write_file(file, b"old and longer")

    write_file(file, b"new")

    assert file.read_bytes() == b"new"
    assert everything_in(tmp_path) == {"file"}


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "file"
    write_file(file, b"old")

    with pytest.raises(TypeError):
        write_file(file, "text, not bytes")

    assert file.read_bytes() == b"old"
    assert everything_in(tmp_path) == {"file"}


def test_a_write_onto_a_folder_fails_and_leaves_it(tmp_path: Path) -> None:
    (tmp_path / "folder" / "inside").mkdir(parents=True)

    with pytest.raises(OSError):  # noqa: PT011 - which one depends on the system
        write_file(tmp_path / "folder", b"new")

    assert everything_in(tmp_path) == {"folder", "folder/inside"}


def test_a_reader_sees_the_old_content_or_the_new_whole(tmp_path: Path) -> None:
    """Given a writer that replaces a file over and over, a reader never finds a part or a mixture."""
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
    seen = {file.read_bytes()}
    while not done.is_set():
        seen.add(file.read_bytes())
    writer.join()

    assert seen <= set(contents)


# -- sha256_of


def test_checksums_are_those_of_the_standard(tmp_path: Path) -> None:
    """The examples of FIPS 180-4."""
    for content, digest in (
        (b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (b"a" * 1_000_000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
    ):
        (tmp_path / "file").write_bytes(content)
        assert sha256_of(tmp_path / "file") == digest


@pytest.mark.parametrize("size", [CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK])
def test_checksums_cover_every_block(tmp_path: Path, size: int) -> None:
    content = bytes(range(256)) * (size // 256) + bytes(size % 256)
    (tmp_path / "file").write_bytes(content)

    assert sha256_of(tmp_path / "file") == hashlib.sha256(content).hexdigest()


# -- lock


@pytest.mark.processes
def test_a_lock_keeps_other_processes_out_until_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "lock"

    with lock(path):
        assert locked_for_others(path)

    assert not locked_for_others(path)


@pytest.mark.processes
def test_a_lock_ends_with_an_error_too(tmp_path: Path) -> None:
    path = tmp_path / "lock"

    with pytest.raises(KeyError), lock(path):
        raise KeyError

    assert not locked_for_others(path)


def test_threads_that_count_under_a_lock_lose_nothing(tmp_path: Path) -> None:
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


# -- folder_in_one_step


def test_a_folder_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a" / "bundle"

    with folder_in_one_step(path) as scratch:
        (scratch / "one").write_bytes(b"1")
        assert not path.exists()
        (scratch / "two").write_bytes(b"2")

    assert everything_in(tmp_path) == {"a", "a/bundle", "a/bundle/one", "a/bundle/two"}
    assert (path / "two").read_bytes() == b"2"


def test_other_users_may_read_the_folder(tmp_path: Path) -> None:
    with folder_in_one_step(tmp_path / "bundle"):
        pass

    assert (tmp_path / "bundle").stat().st_mode & 0o777 == 0o755


def test_a_folder_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        half_write(tmp_path / "bundle", KeyError())

    assert everything_in(tmp_path) == set()


def test_a_folder_that_fails_leaves_what_stood_there(tmp_path: Path) -> None:
    path = tmp_path / "bundle"
    with folder_in_one_step(path) as scratch:
        (scratch / "old").write_bytes(b"old")

    with pytest.raises(KeyboardInterrupt):
        half_write(path, KeyboardInterrupt())

    assert everything_in(tmp_path) == {"bundle", "bundle/old"}


def test_a_folder_is_replaced_and_an_open_reader_keeps_what_it_has(tmp_path: Path) -> None:
    path = tmp_path / "bundle"
    with folder_in_one_step(path) as scratch:
        (scratch / "old").write_bytes(b"old")

    with (path / "old").open("rb") as reader:
        with folder_in_one_step(path) as scratch:
            (scratch / "new").write_bytes(b"new")

        assert reader.read() == b"old"
    assert everything_in(tmp_path) == {"bundle", "bundle/new"}


# -- spool


class Counting:
    """A stream of zeros that counts what was taken."""

    def __init__(self) -> None:
        self.given = 0

    def read(self, size: int = -1) -> bytes:
        assert size > 0, "a stream without an end was read whole"
        self.given += size
        return bytes(size)


@pytest.mark.parametrize("size", [0, 1, CHUNK, CHUNK + 1, 9 << 20])
def test_a_spooled_stream_is_the_same_bytes_and_can_be_sought(size: int) -> None:
    content = bytes(range(256)) * (size // 256) + b"x" * (size % 256)

    with spool(io.BytesIO(content), limit=size) as file:
        assert file.read() == content
        file.seek(size // 2)
        assert file.read(10) == content[size // 2 : size // 2 + 10]

    assert file.closed


def test_a_stream_over_the_limit_is_refused_before_it_is_read_through() -> None:
    stream = Counting()

    with pytest.raises(TooLarge) as caught, spool(stream, limit=3 * CHUNK):
        pytest.fail("it was given a file all the same")

    assert caught.value.reason == "TOO_LARGE"
    assert str(3 * CHUNK) in caught.value.message
    assert stream.given <= 4 * CHUNK


def test_one_byte_over_the_limit_is_too_large() -> None:
    with pytest.raises(TooLarge), spool(io.BytesIO(bytes(101)), limit=100):
        pytest.fail("it was given a file all the same")


def test_without_a_folder_of_temporary_files_the_service_is_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))

    with pytest.raises(Unavailable) as caught, spool(io.BytesIO(b"x"), limit=1):
        pytest.fail("it was given a file all the same")

    assert caught.value.retry_after
    assert str(tmp_path) not in caught.value.message


def test_where_the_disk_is_full_the_service_is_unavailable() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # writes past the limit fail, as on a full disk
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (CHUNK, hard))
        with pytest.raises(Unavailable), spool(io.BytesIO(bytes(2 * CHUNK)), limit=2 * CHUNK):
            pytest.fail("it was given a file all the same")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        signal.signal(signal.SIGXFSZ, before)


# what killed processes leave


def grow_old(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        os.utime(path, (time.time() - 2 * ORPHAN_SECONDS,) * 2)


@pytest.mark.parametrize("name", [".a.json.a1b2c3d4", ".bundle.________", ".a.b.c.abc12345", ".x.1234567a"])
def test_the_names_of_scratch_files_are_known(name: str) -> None:
    assert scratch_target(name) == name[1:-9]


@pytest.mark.parametrize("name", ["a.json", ".a", ".a.json", ".a.A1B2C3D4", ".a.abc", ".backup.20240229", "a.a1b2c3d4"])
def test_other_names_are_not(name: str) -> None:
    assert scratch_target(name) is None


def test_old_scratch_is_removed_below_a_folder_and_young_scratch_stays(tmp_path: Path) -> None:
    for name in ("deep/er", ".bundle.a1b2c3d4/inner", ".git", "plain"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("deep/er/.a.npy.a1b2c3d4", "deep/er/a.npy", ".bundle.a1b2c3d4/inner/b.npy", ".git/config"):
        (tmp_path / name).touch()
    grow_old(tmp_path)
    (tmp_path / "deep" / ".young.npy.a1b2c3d4").touch()

    assert remove_scratch(tmp_path) == 2
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")} == {
        *("deep", "deep/er", "deep/er/a.npy", "deep/.young.npy.a1b2c3d4", ".git", ".git/config", "plain"),
    }


def test_a_scratch_folder_in_which_somebody_writes_stays(tmp_path: Path) -> None:
    (tmp_path / ".bundle.a1b2c3d4").mkdir()
    (tmp_path / ".bundle.a1b2c3d4" / "first.npy").touch()
    grow_old(tmp_path)
    (tmp_path / ".bundle.a1b2c3d4" / "second.npy").touch()
    os.utime(tmp_path / ".bundle.a1b2c3d4", (1, 1))

    assert remove_scratch(tmp_path) == 0


def test_a_link_is_removed_and_what_it_leads_to_is_not(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file").touch()
    grow_old(tmp_path)
    (tmp_path / ".a.a1b2c3d4").symlink_to(tmp_path / "data")
    os.utime(tmp_path / ".a.a1b2c3d4", (1, 1), follow_symlinks=False)

    assert remove_scratch(tmp_path) == 1
    assert (tmp_path / "data" / "file").exists()


def test_nothing_is_removed_from_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert remove_scratch(tmp_path / "nothing") == 0


KILLED = """
import os, sys
from pathlib import Path
from service.storage import folder_in_one_step, write_file
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
    with folder_in_one_step(path) as folder:
        (folder / "a").write_text("new")
"""


def kill(path: Path, function: str, number: int, what: str) -> None:
    """Write to a path in a process that is killed at a call of a function of `os`."""
    done = subprocess.run([sys.executable, "-c", KILLED, str(path), function, str(number), what], check=False)
    assert done.returncode == -signal.SIGKILL


@pytest.mark.processes
@pytest.mark.parametrize("function", ["fsync", "chmod", "replace"])
def test_what_a_killed_writer_of_a_file_leaves_is_removed(tmp_path: Path, function: str) -> None:
    kill(tmp_path / "a.json", function, 1, "file")
    (scratch,) = tmp_path.iterdir()

    assert remove_scratch(tmp_path) == 0, "it is young"
    assert [*tmp_path.iterdir()] == [scratch]
    grow_old(tmp_path)
    assert remove_scratch(tmp_path) == 1
    assert not [*tmp_path.iterdir()]


@pytest.mark.processes
@pytest.mark.parametrize(
    ("number", "content"),
    [(1, "before"), (2, "before")],
    ids=["before the folder was moved away", "before its replacement took its place"],
)
def test_what_a_killed_writer_of_a_folder_leaves_is_removed_and_the_folder_is_there(
    tmp_path: Path, number: int, content: str
) -> None:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "a").write_text("before")
    kill(tmp_path / "bundle", "replace", number, "folder")
    grow_old(tmp_path)

    assert remove_scratch(tmp_path) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
    assert (tmp_path / "bundle" / "a").read_text() == content


# files that are created once


def test_a_created_file_is_never_written_over(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"

    assert create_file(path, b"first") is True

    assert create_file(path, b"second") is False
    assert path.read_bytes() == b"first"
    assert [file.name for file in path.parent.iterdir()] == ["file"]


def test_of_many_at_once_one_creates_a_file(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        created = list(pool.map(lambda number: create_file(tmp_path / "file", b"%d" % number), range(64)))

    assert created.count(True) == 1
    assert (tmp_path / "file").read_bytes() == b"%d" % created.index(True)


# temporary folders


LEFT = """
import os
from service.storage import temporary_folder
with temporary_folder() as folder:
    (folder / "weights").write_text("half of them")
    os.kill(os.getpid(), 9)
"""


@pytest.mark.processes
def test_temporary_folders_of_killed_processes_are_removed_when_they_are_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert subprocess.run([sys.executable, "-c", LEFT], check=False).returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()

    assert remove_temporary_folders() == 0, "it is young"
    grow_old(tmp_path)
    for name in ("errata-notes", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "errata-scratch-link").symlink_to(tmp_path / "other")
    with temporary_folder() as used:
        assert remove_temporary_folders() == 1
        assert used.exists()

    assert not left.exists()
    assert {path.name for path in tmp_path.iterdir()} == {"errata-notes", "other", "errata-scratch-link"}
