"""File access: atomic writes, and reads with a size limit."""

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_file(path: Path, content: bytes) -> None:
    """Write a file atomically: a reader sees the old content or the new. Create missing parent folders."""
    with temporary_file_beside(path, content) as temporary:
        os.replace(temporary, path)


@contextmanager
def temporary_file_beside(path: Path, content: bytes) -> Iterator[Path]:
    """Write the content to a temporary file in the folder of `path`, and yield the file; remove it at the end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def read_file(path: Path, limit: int) -> bytes:
    """Return the content of a regular file.

    Args:
        path: The file.
        limit: Maximum size in bytes.

    Raises:
        OSError: The file cannot be read, is not a regular file, or is larger than `limit`.
    """
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:  # does not wait for the writer of a pipe
        status = os.fstat(file.fileno())
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "Not a regular file")
        if status.st_size > limit:
            raise OSError(errno.EFBIG, f"Larger than {limit} bytes")
        content = file.read(limit + 1)  # files of /proc have no size
        if len(content) > limit:
            raise OSError(errno.EFBIG, f"Larger than {limit} bytes")
        return content
