"""File access: atomic writes, and reads with a size limit."""

import errno
import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

O_BINARY = getattr(os, "O_BINARY", 0)  # on Windows, without this flag, line ends would be converted


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
        yield Path(temporary)


@contextmanager
def _temporary_files(contents: Mapping[Path, bytes]) -> Iterator[list[str]]:
    """Write each content to a temporary file on the disk, in the folder of its path; remove the files at the end.

    The functions of `os` take a third of the time of pathlib and `open`. The caller of an upload waits for them.
    """
    for folder in {path.parent for path in contents}:
        folder.mkdir(parents=True, exist_ok=True)
    names, files = [os.path.join(path.parent, f".{path.name}.{secrets.token_hex(4)}") for path in contents], list[int]()
    try:
        for name, (path, content) in zip(names, contents.items(), strict=True):
            mode = _mode_of(path)
            files.append(
                os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | O_BINARY, 0o666 if mode is None else mode)
            )
            if mode is not None:
                os.chmod(name, mode)  # the umask can have removed permissions
            rest = memoryview(content)
            while rest:
                rest = rest[os.write(files[-1], rest) :]
            if hasattr(os, "posix_fadvise"):  # with this hint, Linux starts to write the file to the disk
                os.posix_fadvise(files[-1], 0, 0, os.POSIX_FADV_DONTNEED)
        for file in files:
            os.fsync(file)
        yield names
    finally:
        for file, name in zip(files, names, strict=False):  # after an error, some files were not created
            os.close(file)
            with suppress(FileNotFoundError):
                os.unlink(name)


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
