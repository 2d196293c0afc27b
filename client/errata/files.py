"""File access: atomic writes, and reads with a size limit."""

import errno
import os
import secrets
import stat
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)  # Windows: no conversion of line breaks
_SYNC_THREADS = 4
_PROCESS = os.getpid()  # after a fork, the child has neither its threads nor their locks


def describe_read_error(path: Path, error: OSError) -> str:
    """Return the message about a file that cannot be read."""
    return f"Cannot read {path}: {error.strerror or os.strerror(error.errno or 0)}. Check the path."


class IncompleteWrite(OSError):
    """A write of several files failed after the first one: the others may have been written too."""


def write_file(path: Path, content: bytes) -> None:
    """Write a file atomically: a reader sees the old content or the new. Create missing parent folders.

    An existing file keeps its permissions. A new file gets those that the umask permits.
    """
    write_files({path: content})


def write_files(contents: Mapping[Path, bytes]) -> None:
    """Write files atomically and in order: a reader that finds a file also finds all files before it.

    Raises:
        IncompleteWrite: The write failed after the first file.
        OSError: The write failed at or before the first file.
    """
    num_written = 0
    try:
        with _temporary_files(contents) as temporaries:
            for path in contents:
                os.replace(temporaries[0], path)
                del temporaries[0]
                num_written += 1
    except OSError as error:
        if num_written:
            raise IncompleteWrite(error.errno, error.strerror) from error
        raise


@contextmanager
def temporary_file_beside(path: Path, content: bytes) -> Iterator[Path]:
    """Write the content to a temporary file in the folder of `path`, and yield the file; remove it at the end."""
    with _temporary_files({path: content}) as (temporary,):
        yield Path(temporary)


@contextmanager
def _temporary_files(contents: Mapping[Path, bytes]) -> Iterator[list[str]]:
    """Write each content to a temporary file on the disk, in the folder of its path, and yield the names of the files.

    At the end, remove each file whose name is still in the list.
    """
    # The functions of `os` take half of the time of pathlib and `open`. Uploads wait for these writes.
    for folder in {os.path.dirname(path) for path in contents}:
        if not os.path.isdir(folder or "."):
            Path(folder).mkdir(parents=True, exist_ok=True)
    files, names = list[int](), list[str]()
    try:
        for path, content in contents.items():
            name, mode = _temporary_name(path), _mode_of(path)
            files.append(os.open(name, _NEW_FILE, 0o666 if mode is None else mode))
            names.append(name)
            if mode is not None:
                os.chmod(name, mode)  # the umask can have removed permissions
            rest = memoryview(content)
            while rest:
                rest = rest[os.write(files[-1], rest) :]
            if hasattr(os, "posix_fadvise"):  # with this hint, Linux starts to write the file to the disk
                os.posix_fadvise(files[-1], 0, 0, os.POSIX_FADV_DONTNEED)
        _sync(files)
        while files:
            os.close(files.pop(0))
        yield names
    finally:
        for file in files:
            with suppress(OSError):
                os.close(file)
        for name in names:
            with suppress(FileNotFoundError):
                os.unlink(name)


def _sync(files: Sequence[int]) -> None:
    """Write open files to the disk, at the same time: this takes little longer than for one file."""
    if len(files) == 1 or os.getpid() != _PROCESS:
        for file in files:
            os.fsync(file)
        return
    from concurrent.futures import Future  # commands of the client do not need it

    results = [(file, Future[None]()) for file in files]
    waiting = deque(results)

    def sync_waiting() -> None:
        while waiting:
            with suppress(IndexError):  # another thread has taken the last file
                file, result = waiting.popleft()
                try:
                    os.fsync(file)
                except BaseException as error:
                    result.set_exception(error)
                else:
                    result.set_result(None)

    with suppress(RuntimeError):  # no thread can start, for example because Python exits
        for _ in files[1:]:
            _sync_threads().submit(sync_waiting)
    sync_waiting()
    errors = [result.exception() for _, result in results]  # until a thread has synced a file, it must stay open
    for error in filter(None, errors):
        raise error


@cache
def _sync_threads() -> "ThreadPoolExecutor":
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(_SYNC_THREADS, thread_name_prefix="sync")


def _temporary_name(path: Path) -> str:
    """Return a random name. It has an underscore, because a service takes eight digits for the date of a backup."""
    return os.path.join(path.parent, f".{path.name}._{secrets.token_hex(4)[1:]}")


def _mode_of(path: Path) -> int | None:
    """Return the permissions of a file; None if there is no file."""
    try:
        return os.stat(path).st_mode & 0o777
    except OSError:
        return None


def read_file(path: Path, limit: int) -> bytes:
    """Return the content of a regular file.

    Args:
        path: The file.
        limit: Maximum size in bytes.

    Raises:
        OSError: The file cannot be read, is not a regular file, or is larger than `limit`.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # opening a pipe does not block
    with open(path, "rb", opener=lambda name, _: os.open(name, flags)) as file:  # unlike fdopen, closes a folder
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "Not a regular file")
        if status.st_size > limit:
            raise OSError(errno.EFBIG, f"Larger than {limit} bytes")
        content = file.read(limit + 1)  # files of /proc have size 0
        if len(content) > limit:
            raise OSError(errno.EFBIG, f"Larger than {limit} bytes")
        return content
