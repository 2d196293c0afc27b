"""File access: atomic writes, and reads with a size limit."""

import errno
import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import IO


def write_file(path: Path, content: bytes) -> None:
    """Write a file atomically: a reader sees the old content or the new. Create missing parent folders.

    An existing file keeps its permissions. A new file gets those that the umask permits.
    """
    write_files({path: content})


def write_files(contents: Mapping[Path, bytes]) -> None:
    """Write files atomically and in order: a reader that finds a file also finds all files before it."""
    with _temporary_files(contents) as temporaries:
        for path, temporary in zip(contents, temporaries, strict=True):
            os.replace(temporary, path)


@contextmanager
def temporary_file_beside(path: Path, content: bytes) -> Iterator[Path]:
    """Write the content to a temporary file in the folder of `path`, and yield the file; remove it at the end."""
    with _temporary_files({path: content}) as (temporary,):
        yield temporary


@contextmanager
def _temporary_files(contents: Mapping[Path, bytes]) -> Iterator[list[Path]]:
    """Write each content to a temporary file on the disk, in the folder of its path; remove the files at the end."""
    for folder in {path.parent for path in contents}:
        folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        files = [stack.enter_context(_temporary_file(path, content)) for path, content in contents.items()]
        if hasattr(os, "posix_fadvise"):
            for file in files[1:]:  # with this hint, Linux starts to write them, and a journal commits them together
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        for file in files:
            os.fsync(file.fileno())
        yield [Path(file.name) for file in files]


@contextmanager
def _temporary_file(path: Path, content: bytes) -> Iterator[IO[bytes]]:
    """Write a file with the mode of the file that it replaces, otherwise with the mode that open() gives new files."""
    name, mode = path.with_name(f".{path.name}.{secrets.token_hex(4)}"), _mode_of(path)
    with open(name, "xb", opener=partial(os.open, mode=0o666 if mode is None else mode)) as file:
        try:
            if mode is not None:
                os.chmod(name, mode)  # the umask can have removed permissions
            file.write(content)
            file.flush()
            yield file
        finally:
            name.unlink(missing_ok=True)


def _mode_of(path: Path) -> int | None:
    """Return the permissions of a file; None if there is no file."""
    try:
        return path.stat().st_mode & 0o777
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
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:  # opening a pipe does not block
        status = os.fstat(file.fileno())
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "Not a regular file")
        if status.st_size > limit:
            raise OSError(errno.EFBIG, f"Larger than {limit} bytes")
        content = file.read(limit + 1)  # files of /proc have size 0
        if len(content) > limit:
            raise OSError(errno.EFBIG, f"Larger than {limit} bytes")
        return content
