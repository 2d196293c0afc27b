"""Local files: atomic writes, checksums, locks. The only module that writes to a local disk."""

import errno
import fcntl
import hashlib
import io
import os
import re
import shutil
import stat
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from errata.errors import TooLarge, Unavailable
from errata.files import temporary_file_beside, write_file
from numpy.typing import NDArray

CHUNK = 1 << 20  # bytes
ROOM_SECONDS = 30.0  # after which a caller tries again where the disk is full
TEMPORARY_PREFIX = "errata-scratch-"
ORPHAN_SECONDS = 3600.0  # after which no process writes a scratch file any more
_SCRATCH = re.compile(r"\.(.+)\.(?!\d{8}$)[a-z0-9_]{8}")  # as tempfile names it; eight digits may be a date
_OLD = "old"  # in a scratch folder: the folder that is being replaced


class Readable(Protocol):
    """Bytes that come one after another: a file, a pipe, a stream that is being unpacked."""

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes, all that are left if it is negative; empty at the end."""
        ...


def create_file(path: Path, content: bytes) -> bool:
    """Write a file unless there is one; of several callers at once, one writes it, and readers see it whole.

    Returns:
        Whether this call wrote it.
    """
    with temporary_file_beside(path, content) as scratch:
        try:
            os.link(scratch, path)
        except FileExistsError:
            return False
        return True


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write an array as npy, in one step."""
    content = io.BytesIO()
    np.save(content, array, allow_pickle=False)
    write_file(path, content.getvalue())


@contextmanager
def read_arrays(content: bytes) -> Iterator[Mapping[str, NDArray[Any]]]:
    """Give the arrays of an npz that `np.savez` wrote, each read when it is asked for; raise ValueError for another.

    Such an archive is stored as it is: what unpacks to more than its own size is none.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            as_they_are = is_stored(archive)
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise ValueError("expected an npz, got no archive") from error
    if not as_they_are:
        raise ValueError("expected arrays that are stored as they are, got packed ones")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        yield arrays


def is_stored(archive: zipfile.ZipFile) -> bool:
    """Say whether an archive holds its files as they are, so that it can't unpack to more than its own size."""
    return all(item.compress_type == zipfile.ZIP_STORED for item in archive.infolist())


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(CHUNK):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold an exclusive lock, over processes, on a file beside what it guards; wait for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)


@contextmanager
def folder_in_one_step(path: Path) -> Iterator[Path]:
    """Give a scratch folder that becomes `path` when the block ends well, and vanishes when it doesn't.

    What stood at `path` before is replaced; a reader that has it open keeps what it has.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        yield scratch
        for file in scratch.iterdir():
            with file.open("rb") as written:
                os.fsync(written.fileno())
        os.chmod(scratch, 0o755)  # noqa: S103 - a bundle is read by other users than its builder
        if path.exists():
            old = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
            os.replace(path, old / _OLD)
            os.replace(scratch, path)
            shutil.rmtree(old, ignore_errors=True)
        else:
            os.replace(scratch, path)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise


def scratch_target(name: str) -> str | None:
    """Return the name of what a scratch file or folder was to become; None for the name of anything else."""
    match = _SCRATCH.fullmatch(name)
    return match[1] if match else None


def remove_scratch(folder: Path, age: float = ORPHAN_SECONDS) -> int:
    """Remove the scratch files and folders that killed processes left below a folder.

    A folder that was moved away, and whose replacement never took its place, is moved back.

    Args:
        folder: Where to look; it need not exist.
        age: Seconds since the last write after which a scratch file is not in use any more.

    Returns:
        How many files and folders were removed.

    Raises:
        OSError: Something cannot be read or removed.
    """
    removed = 0
    for path in sorted(folder.rglob(".*"), reverse=True):  # what is inside comes first
        target = scratch_target(path.name)
        if target is not None:
            with suppress(FileNotFoundError):  # another process removes the same
                if time.time() - _last_written(path) > age:
                    _remove_scratch(path, path.with_name(target))
                    removed += 1
    return removed


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Give a temporary folder; `remove_temporary_folders` removes it if this process is killed."""
    with tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX) as folder:
        yield Path(folder)


def remove_temporary_folders(age: float = ORPHAN_SECONDS) -> int:
    """Remove the temporary folders that killed processes of this user left; return how many.

    Args:
        age: Seconds since the last write after which a folder is not in use any more.
    """
    removed = 0
    for path in Path(tempfile.gettempdir()).glob(f"{TEMPORARY_PREFIX}*"):
        with suppress(FileNotFoundError):  # another process removes the same
            state = path.lstat()
            if stat.S_ISDIR(state.st_mode) and state.st_uid == os.getuid() and time.time() - _last_written(path) > age:
                shutil.rmtree(path)
                removed += 1
    return removed


def _remove_scratch(path: Path, target: Path) -> None:
    if path.is_symlink() or not path.is_dir():
        path.unlink()
        return
    if (path / _OLD).is_dir() and not target.exists():
        os.replace(path / _OLD, target)
    shutil.rmtree(path)


def _last_written(path: Path) -> float:
    """Return when a file, or anything in a folder, was written last, in seconds since 1970."""
    parts = [path] if path.is_symlink() else [path, *path.rglob("*")]
    return max(float(part.lstat().st_mtime) for part in parts)


@contextmanager
def spool(content: Readable, limit: int) -> Iterator[BinaryIO]:
    """Give a seekable copy of a stream, in a temporary file.

    Raises:
        TooLarge: The stream is over `limit` bytes.
        Unavailable: The folder of temporary files is full, missing, or read-only.
    """
    with _temporary_file() as file:
        size = 0
        while block := content.read(CHUNK):
            size += len(block)
            if size > limit:
                raise TooLarge(f"expected at most {limit} bytes, got more", field="chunk")
            _write_all(file.raw, block)
        file.seek(0)
        yield file


def _temporary_file() -> io.BufferedRandom:
    try:
        return tempfile.TemporaryFile()
    except OSError as error:
        raise _no_room() from error


def _write_all(file: io.RawIOBase, content: bytes) -> None:
    """Write without a buffer, which `close` would try to write again where the disk is full."""
    left = memoryview(content)
    try:
        while left:
            left = left[file.write(left) :]
    except OSError as error:
        raise _no_room() from error


def _no_room() -> Unavailable:
    return Unavailable("There is no room for temporary files. Try again later.", retry_after=ROOM_SECONDS)


def read_plain(path: Path, most: int) -> bytes | None:
    """Return up to `most` bytes of a plain file, None for a folder, a pipe or a device; raise OSError as `open`."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe that nobody writes to isn't waited for
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return None
        with open(handle, "rb", closefd=False) as file:
            return file.read(most)
    finally:
        os.close(handle)


class ChangingFile:
    """A small file that somebody else may replace, such as a mounted secret; says when it has changed since `read`."""

    def __init__(self, path: Path, most: int) -> None:
        self._path = path
        self._most = most  # bytes
        self._seen: tuple[int, ...] | None = None

    def read(self) -> bytes:
        """Return the content; raise OSError if it can't be read, is no plain file, or is larger than it may be."""
        self._seen = self._state()
        content = read_plain(self._path, self._most + 1)
        if content is None:
            raise OSError(errno.EINVAL, "it is no plain file", str(self._path))
        if len(content) > self._most:
            raise OSError(errno.EFBIG, f"expected at most {self._most} bytes, got more", str(self._path))
        return content

    def is_there(self) -> bool:
        """Say whether there is a file now."""
        return self._state() is not None

    def changed(self) -> bool:
        """Say whether the file is another than the one that was read last; one that is gone isn't."""
        state = self._state()
        return state is not None and state != self._seen

    def _state(self) -> tuple[int, ...] | None:
        try:
            result = self._path.stat()
        except OSError:
            return None
        return (result.st_ino, result.st_dev, result.st_size, result.st_mtime_ns)
