"""Local files: atomic writes, checksums, and locks. Only this module writes to a local disk."""

import errno
import fcntl
import hashlib
import io
import itertools
import os
import re
import shutil
import stat
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeVar

import numpy as np
from errata.errors import TooLarge, Unavailable
from errata.files import temporary_file_beside, write_file
from numpy.typing import NDArray

CHUNK = 1 << 20  # bytes
MAX_WATCHED = 1 << 20  # bytes of a watched file
DISK_FULL_RETRY_SECONDS = 30.0
TEMPORARY_PREFIX = "errata-scratch-"
ORPHAN_SECONDS = 3600.0  # no process writes to a scratch file after this time
LITERAL_ATTEMPTS = 10
Result = TypeVar("Result")
_SCRATCH = re.compile(r"\.(.+)\.(?!\d{8}$)[a-z0-9_]{8}")  # by tempfile or errata.files; eight digits may be a date
_REPLACED = "old"  # name, inside a scratch folder, of the folder that is being replaced


class Readable(Protocol):
    """Stream of bytes, such as a file, a pipe, or a decompressed stream."""

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes, or all remaining bytes if `size` is negative; empty at the end."""
        ...


def create_file(path: Path, content: bytes) -> bool:
    """Create a file atomically, unless it exists. Exactly one of several concurrent callers creates it.

    Returns:
        Whether this call created the file.
    """
    with temporary_file_beside(path, content) as scratch:
        try:
            os.link(scratch, path)
        except FileExistsError:
            return False
        return True


def replace_file(path: Path, content: bytes) -> None:
    """Write a file atomically, without waiting for the disk: after a power failure, the file may be empty."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(handle, "wb") as file:
            file.write(content)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write an array to an `.npy` file atomically."""
    content = io.BytesIO()
    np.save(content, array, allow_pickle=False)
    write_file(path, content.getvalue())


def parse_literal(parse: Callable[[], Result]) -> Result:
    """Call a function that makes numpy parse the header of an array, which is a Python literal.

    Before Python 3.11.8, the parser sometimes raises SystemError while another thread parses too (CPython issue
    106905). The function is then called again.
    """
    for _ in range(LITERAL_ATTEMPTS - 1):
        with suppress(SystemError):
            return parse()
    return parse()


class _Arrays(Mapping[str, NDArray[Any]]):
    """The arrays of an npz archive."""

    def __init__(self, archive: Mapping[str, NDArray[Any]]) -> None:
        self._archive = archive

    def __getitem__(self, name: str) -> NDArray[Any]:
        return parse_literal(lambda: self._archive[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._archive)

    def __len__(self) -> int:
        return len(self._archive)


@contextmanager
def read_arrays(content: bytes) -> Iterator[Mapping[str, NDArray[Any]]]:
    """Yield the arrays of an uncompressed npz archive, as `np.savez` writes it. Arrays are read on access.

    Compressed archives are refused, because they may expand beyond the available memory.

    Raises:
        ValueError: If the content is no npz archive, or if it is compressed.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            uncompressed = is_uncompressed(archive)
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise ValueError("the content is not an npz archive") from error
    if not uncompressed:
        raise ValueError("the npz archive is compressed; write it with numpy.savez")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        yield _Arrays(arrays)


def is_uncompressed(archive: zipfile.ZipFile) -> bool:
    """Return whether no file in an archive is compressed."""
    return all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(CHUNK):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Acquire an exclusive lock on a file, across processes. Wait until it is free."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a scratch folder that replaces `path` at the end of the block; delete it if the block raises an error.

    Open files of the replaced folder stay readable.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        yield scratch
        for entry in scratch.iterdir():
            with entry.open("rb") as file:
                os.fsync(file.fileno())
        os.chmod(scratch, 0o755)  # noqa: S103 - the service may run as another user than the builder of a bundle
        if path.exists():
            old = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
            os.replace(path, old / _REPLACED)
            os.replace(scratch, path)
            shutil.rmtree(old, ignore_errors=True)
        else:
            os.replace(scratch, path)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise


def scratch_target(name: str) -> str | None:
    """Return the target name of a scratch file or folder; None if the name is not that of scratch data."""
    match = _SCRATCH.fullmatch(name)
    return match[1] if match else None


def remove_scratch(folder: Path) -> int:
    """Remove the scratch files and folders that killed processes left below a folder.

    If a process was killed while it replaced a folder, the original folder is restored.

    Args:
        folder: Root of the search; it need not exist.

    Returns:
        Number of removed files and folders.

    Raises:
        OSError: If a file or folder cannot be read or removed.
    """

    def on_error(error: OSError) -> None:
        # A folder can be removed or replaced meanwhile. The service may not read the lost+found of a volume.
        if not isinstance(error, FileNotFoundError | NotADirectoryError | PermissionError):
            raise error

    removed = 0
    for parent, *names in os.walk(folder, topdown=False, onerror=on_error):  # children before parents
        for name in itertools.chain(*names):
            path, target = Path(parent, name), scratch_target(name)
            if target is not None:
                with suppress(FileNotFoundError):  # another process removed it
                    if _is_orphaned(path):
                        _remove_scratch(path, path.with_name(target))
                        removed += 1
    return removed


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Yield a temporary folder. If this process is killed, `remove_temporary_folders` removes it later."""
    with tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX) as folder:
        yield Path(folder)


def remove_temporary_folders() -> int:
    """Remove the temporary folders that killed processes of this user left; return how many."""
    removed = 0
    for path in Path(tempfile.gettempdir()).glob(f"{TEMPORARY_PREFIX}*"):
        with suppress(FileNotFoundError):  # another process removed it
            state = path.lstat()
            if stat.S_ISDIR(state.st_mode) and state.st_uid == os.getuid() and _is_orphaned(path):
                shutil.rmtree(path)
                removed += 1
    return removed


def _remove_scratch(path: Path, target: Path) -> None:
    if path.is_symlink() or not path.is_dir():
        path.unlink()
        return
    if (path / _REPLACED).is_dir() and not target.exists():
        os.replace(path / _REPLACED, target)
    shutil.rmtree(path)


def _is_orphaned(path: Path) -> bool:
    """Return whether the last write to a file, or to any file in a folder, is longer ago than ORPHAN_SECONDS."""
    parts = [path] if path.is_symlink() else [path, *path.rglob("*")]
    return time.time() - max(part.lstat().st_mtime for part in parts) > ORPHAN_SECONDS


@contextmanager
def spool(content: Readable, limit: int) -> Iterator[BinaryIO]:
    """Copy a stream to a temporary file and yield the file, positioned at its start.

    Args:
        content: Stream to copy.
        limit: Maximum size of the stream, in bytes.

    Raises:
        TooLarge: If the stream is longer than `limit`.
        Unavailable: If the folder of temporary files is full, missing, or read-only.
    """
    with temporary_file() as file:
        size = 0
        while block := content.read(CHUNK):
            size += len(block)
            if size > limit:
                raise upload_too_large(limit)
            write_all(file.raw, block)
        file.seek(0)
        yield file


def temporary_file() -> io.BufferedRandom:
    """Return a temporary file without a name; raise Unavailable if its folder is full, missing, or read-only."""
    try:
        return tempfile.TemporaryFile()
    except OSError as error:
        raise _temporary_space_error() from error


def write_all(file: io.RawIOBase, content: bytes | memoryview) -> None:
    """Write without a buffer: on a full disk, `close` would write the buffer again and fail.

    Raises:
        Unavailable: The disk is full.
    """
    remaining = memoryview(content)
    try:
        while remaining:
            remaining = remaining[file.write(remaining) :]
    except OSError as error:
        raise _temporary_space_error() from error


def upload_too_large(limit: int) -> TooLarge:
    """Return the error for an upload with more bytes than the limit."""
    return TooLarge(f"The upload is too large. Expected at most {limit} bytes.", field="chunk")


def _temporary_space_error() -> Unavailable:
    return Unavailable(
        "The service has no space for temporary files. Try again later.", retry_after=DISK_FULL_RETRY_SECONDS
    )


def read_regular_file(path: Path, limit: int) -> bytes | None:
    """Read up to `limit` bytes of a regular file.

    Returns:
        The bytes; None if the path is a folder, a pipe, or a device.

    Raises:
        OSError: If the path cannot be opened or read.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe without a writer would block
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            return None
        content, size = b"", min(limit, status.st_size)
        while len(content) < size and (part := os.read(handle, size - len(content))):
            content += part
        return content
    finally:
        os.close(handle)


class WatchedFile:
    """A small file that another program may replace, such as a mounted secret. Detects changes since `read`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._state_at_read: tuple[int, ...] | None = None

    def read(self) -> bytes:
        """Return the content.

        Raises:
            OSError: If the file cannot be read, is not a regular file, or is larger than MAX_WATCHED.
        """
        self._state_at_read = self._state()
        content = read_regular_file(self._path, MAX_WATCHED + 1)
        if content is None:
            raise OSError(errno.EINVAL, "not a regular file", str(self._path))
        if len(content) > MAX_WATCHED:
            raise OSError(errno.EFBIG, f"larger than {MAX_WATCHED} bytes", str(self._path))
        return content

    def exists(self) -> bool:
        """Return whether the file exists."""
        return self._state() is not None

    def has_changed(self) -> bool:
        """Return whether the file exists and has changed since `read`."""
        state = self._state()
        return state is not None and state != self._state_at_read

    def _state(self) -> tuple[int, ...] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return (status.st_ino, status.st_dev, status.st_size, status.st_mtime_ns)
