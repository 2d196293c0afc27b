"""The files of an archive: in a local folder, or in an object store through fsspec."""

import asyncio
import errno
import os
import stat
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from typing import Any, Protocol

import structlog
from errata.errors import Unavailable
from errata.files import IncompleteWrite, write_files

from service.circuit_breaker import CircuitBreaker, CircuitOpen
from service.object_store import is_remote, open_file_system
from service.storage import create_file, read_regular_file

ID_FILE = "archive-id"  # in the archive, and not in its folders
MAX_FILE_BYTES = 256 << 20  # a hundred times the usual size of an analysis
SETTLED_NS = 1_000_000_000  # nanoseconds since the last change of a folder after which its listing is cached
READERS = 16  # concurrent reads of objects; the round trip makes each read slow
UNREADABLE = errno.EACCES, errno.EPERM, errno.ELOOP  # errors of a file without permissions, or of a link to itself
CALL_SECONDS, READ_SECONDS = 30.0, 60.0  # time limits of calls of an object store
LIST_SECONDS = 600.0  # time limit of a listing, which needs a request for each 1,000 objects
LIST_PROBE_SECONDS = 10.0  # interval of the probes during a listing: a hanging store must not block it for minutes
MIN_BYTES_PER_SECOND = 1 << 20  # of a write: its size divided by this extends the time limit
RETRY_AFTER = 10.0  # seconds, in the error that the files are unavailable
_log = structlog.get_logger()


class PartlyWritten(Unavailable):
    """A write of several files failed after the first one: the others may have been written too."""


class Files(Protocol):
    """Files by name. Every method raises Unavailable if the files cannot be reached.

    A name can begin with a folder. `names` and `sizes` do not list the files in folders.
    """

    def expect_id(self, archive_id: str) -> None:
        """Set the id that the archive must have from now on, also in calls for its other folders.

        Args:
            archive_id: The id; empty: it is not known yet, so calls that check it fail.
        """
        ...

    def check_id(self) -> None:
        """Raise Unavailable if the archive has another id than expected, or none; unless this cannot happen."""
        ...

    def read(self, name: str) -> bytes | None:
        """Return the content of a file; None if it does not exist."""
        ...

    def read_many(self, names: Collection[str]) -> Iterator[tuple[str, bytes | None]]:
        """Yield each name with the content of its file; None if the file does not exist."""
        ...

    def write(self, contents: Mapping[str, bytes]) -> None:
        """Write files by name, in order and each atomically. A reader that finds a file also finds those before it.

        Raises:
            PartlyWritten: The files cannot be reached, and some may have been written.
        """
        ...

    def create(self, name: str, content: bytes) -> None:
        """Write a file unless it exists. The check is atomic if the folder or the object store supports this."""
        ...

    def delete(self, name: str) -> bool:
        """Delete a file; return whether it existed."""
        ...

    def modification_time(self, name: str) -> float | None:
        """Return the modification time in seconds since 1970; None if the file does not exist or has no such time."""
        ...

    def names(self) -> Set[str]:
        """Return the names of all files."""
        ...

    def sizes(self) -> Mapping[str, int]:
        """Return the sizes of all files in bytes, by name."""
        ...


class FolderIdentity:
    """The id of an archive in a local folder. Another folder can appear at its path, such as an empty mount point."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / ID_FILE
        self._expected: bytes | None = None  # None: any; empty: not known yet
        self._verified: tuple[object, ...] = ()  # the expected id, and the state of the file when it had this id

    def expect(self, archive_id: str) -> None:
        """Set the id that the archive must have from now on; empty: it is not known yet."""
        self._expected = archive_id.encode()

    def check(self) -> None:
        """Raise Unavailable if the archive has another id than expected, or none. Read the file only if it changed."""
        expected = self._expected
        if expected is None:
            return
        try:
            status = os.stat(self._path)
            state = (expected, status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns)
            if state == self._verified:
                return
            content = read_regular_file(self._path, MAX_FILE_BYTES)
        except (FileNotFoundError, NotADirectoryError):
            content = None
        except OSError as error:
            raise _unavailable("read", self._path.parent, error) from error
        if not (expected and content and content.strip() == expected):
            raise Unavailable(
                "The folder of the archive is missing or empty, or another archive is in its place. Restore it, for "
                "example by mounting its volume again."
                + ("" if expected or content is not None else " A new archive can be used once Redis has responded."),
                retry_after=RETRY_AFTER,
            )
        self._verified = state


class FolderFiles:
    """Files in a local folder, which the first write creates.

    Writes, deletions, and reads that find nothing check the id of the archive.

    Args:
        folder: The folder.
        identity: The id of the archive that has the folder; None: that of an archive in the folder itself.
    """

    def __init__(self, folder: Path, identity: FolderIdentity | None = None) -> None:
        self._folder = folder
        self._identity = identity or FolderIdentity(folder)
        self._cached_names: tuple[int, frozenset[str]] | None = None  # modification time of the folder, names

    def expect_id(self, archive_id: str) -> None:
        """Set the id that the archive must have from now on; empty: it is not known yet."""
        self._identity.expect(archive_id)

    def check_id(self) -> None:
        """Raise Unavailable if the archive has another id than expected, or none."""
        self._identity.check()

    def read(self, name: str) -> bytes | None:
        """Return the content of a file, at most MAX_FILE_BYTES; empty if only this file of the folder is unreadable."""
        try:
            return read_regular_file(self._folder / name, MAX_FILE_BYTES)
        except (FileNotFoundError, NotADirectoryError):
            if name != ID_FILE:
                self.check_id()
            return None
        except OSError as error:
            if error.errno in UNREADABLE and os.access(self._folder, os.R_OK | os.X_OK):
                return b""  # a damaged record, which readers log and skip
            raise _unavailable("read", self._folder, error) from error

    def read_many(self, names: Collection[str]) -> Iterator[tuple[str, bytes | None]]:
        """Yield each name with the content of its file."""
        return ((name, self.read(name)) for name in names)

    def write(self, contents: Mapping[str, bytes]) -> None:
        """Write files atomically and in order."""
        self.check_id()
        try:
            write_files({self._folder / name: content for name, content in contents.items()})
        except IncompleteWrite as error:
            raise _unavailable("written", self._folder, error, kind=PartlyWritten) from error
        except OSError as error:
            raise _unavailable("written", self._folder, error) from error

    def create(self, name: str, content: bytes) -> None:
        """Write a file unless it exists."""
        if name != ID_FILE:
            self.check_id()
        try:
            create_file(self._folder / name, content)
        except OSError as error:
            raise _unavailable("written", self._folder, error) from error

    def delete(self, name: str) -> bool:
        """Delete a file."""
        self.check_id()
        try:
            (self._folder / name).unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise _unavailable("written", self._folder, error) from error
        return True

    def modification_time(self, name: str) -> float | None:
        """Return the modification time of a file."""
        try:
            return (self._folder / name).stat().st_mtime
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise _unavailable("read", self._folder, error) from error

    def names(self) -> Set[str]:
        """Return the names of all files. Return the same object as before if the folder has not changed."""
        try:
            modified_ns = self._folder.stat().st_mtime_ns
            if self._cached_names is not None and self._cached_names[0] == modified_ns:
                return self._cached_names[1]
            names = frozenset(os.listdir(self._folder))
        except (FileNotFoundError, NotADirectoryError):
            self.check_id()
            return frozenset()
        except OSError as error:
            raise _unavailable("read", self._folder, error) from error
        if not names:
            self.check_id()
        # A second change within one tick of the file system's clock does not change the modification time.
        is_settled = time.time_ns() - modified_ns > SETTLED_NS
        self._cached_names = (modified_ns, names) if is_settled else None
        return names

    def sizes(self) -> Mapping[str, int]:
        """Return the sizes of all files."""
        sizes = {}
        try:
            for file in self._folder.iterdir() if self._folder.is_dir() else ():
                try:
                    status = file.stat()
                except FileNotFoundError:
                    continue  # deleted meanwhile
                if stat.S_ISREG(status.st_mode):  # subfolders contain other records
                    sizes[file.name] = status.st_size
        except OSError as error:
            raise _unavailable("read", self._folder, error) from error
        if not sizes:
            self.check_id()
        return sizes


class ObjectFiles:
    """Files in an object store, under a URL such as s3://bucket/prefix.

    After a call that timed out, calls fail immediately until the store answers a probe. Only asynchronous file systems
    of fsspec, such as s3fs, have time limits, and not for modification times, which only a background task reads.

    Args:
        file_system: The fsspec file system of the store.
        prefix: The path of the files in the store.
        breaker: The circuit breaker of the store; None: a new one.
        is_flat: Whether the files have no folders.
    """

    def __init__(
        self, file_system: Any, prefix: str, breaker: CircuitBreaker | None = None, *, is_flat: bool = False
    ) -> None:
        self._files = file_system
        self._prefix = prefix.rstrip("/")
        self._has_timeouts = bool(getattr(file_system, "async_impl", False))
        self._breaker = breaker or CircuitBreaker(self._is_answering)
        # s3fs lists the parent of a path without objects: an empty folder would cost a listing of the whole archive.
        # Its `find` does not. The `find` of fsspec, which other file systems inherit, ignores errors.
        self._uses_find = is_flat and "s3" in file_system.protocol

    def folder(self, name: str) -> "ObjectFiles":
        """Return the files in a folder that has no folders. They share the circuit breaker."""
        return ObjectFiles(self._files, f"{self._prefix}/{name}", self._breaker, is_flat=True)

    def expect_id(self, archive_id: str) -> None:
        """Do nothing: no other store can appear at the same URL."""

    def check_id(self) -> None:
        """Do nothing."""

    def read(self, name: str) -> bytes | None:
        """Return the content of an object."""
        try:
            with self._translate_errors("read", FileNotFoundError):
                return bytes(self._files.cat_file(f"{self._prefix}/{name}", **self._limit(READ_SECONDS)))
        except FileNotFoundError:
            return None

    def read_many(self, names: Collection[str]) -> Iterator[tuple[str, bytes | None]]:
        """Yield each name with the content of its object; several objects are read concurrently."""
        with ThreadPoolExecutor(READERS, thread_name_prefix="archive") as pool:
            yield from zip(names, pool.map(self.read, names), strict=True)

    def write(self, contents: Mapping[str, bytes]) -> None:
        """Write objects in order; each is atomic."""
        for number, (name, content) in enumerate(contents.items()):
            with self._translate_errors("written", kind=PartlyWritten if number else Unavailable):
                limit = self._limit(CALL_SECONDS + len(content) / MIN_BYTES_PER_SECOND)
                self._files.pipe_file(f"{self._prefix}/{name}", content, **limit)

    def create(self, name: str, content: bytes) -> None:
        """Write an object unless it exists. This is atomic only if fsspec supports a conditional put, as for S3."""
        with suppress(FileExistsError), self._translate_errors("written", FileExistsError):
            self._files.pipe_file(f"{self._prefix}/{name}", content, mode="create", **self._limit(CALL_SECONDS))

    def delete(self, name: str) -> bool:
        """Delete an object."""
        path = f"{self._prefix}/{name}"
        self._files.invalidate_cache()
        with suppress(FileNotFoundError), self._translate_errors("written", FileNotFoundError):
            if self._files.exists(path, **self._limit(CALL_SECONDS)):
                self._files.rm_file(path, **self._limit(CALL_SECONDS))
                return True
        return False

    def modification_time(self, name: str) -> float | None:
        """Return the modification time of an object."""
        missing = FileNotFoundError, NotImplementedError  # some file systems have no modification times
        with suppress(*missing), self._translate_errors("read", *missing):
            return float(self._files.modified(f"{self._prefix}/{name}").timestamp())
        return None

    def names(self) -> Set[str]:
        """Return the names of all objects."""
        return self.sizes().keys()

    def sizes(self) -> Mapping[str, int]:
        """Return the sizes of all objects."""
        self._files.invalidate_cache()  # other processes write too
        entries: Collection[Mapping[str, Any]] = ()
        with suppress(FileNotFoundError), self._translate_errors("read", FileNotFoundError):
            entries = self._list()
        return {
            entry["name"].rsplit("/", 1)[-1]: int(entry["size"] or 0) for entry in entries if entry["type"] == "file"
        }

    def _list(self) -> Collection[Mapping[str, Any]]:
        """Return the entries directly under the prefix. Raise TimeoutError if the store stops answering meanwhile."""
        if not self._has_timeouts:
            return list(self._files.ls(self._prefix, detail=True))
        from fsspec.asyn import sync

        list_entries = self._files._find if self._uses_find else self._files._ls
        listing = partial(list_entries, self._prefix, detail=True)
        entries = sync(
            self._files.loop, _watch, listing, partial(self._files._exists, self._prefix), timeout=LIST_SECONDS
        )
        if self._uses_find:  # also has the entries of subfolders
            return [entry for name, entry in entries.items() if "/" not in name.removeprefix(f"{self._prefix}/")]
        return list(entries)

    def _limit(self, seconds: float) -> Mapping[str, float]:
        """Return the argument for the time limit of a call, if the file system supports it."""
        return {"timeout": seconds} if self._has_timeouts else {}

    def _is_answering(self) -> bool:
        """Return whether the store answers, even with an error."""
        try:
            self._files.exists(self._prefix, **self._limit(CALL_SECONDS))
        except TimeoutError:
            return False
        except Exception as error:
            _log.warning("object store answers with an error", error=repr(error)[:500])
        return True

    @contextmanager
    def _translate_errors(
        self, operation: str, *expected: type[Exception], kind: type[Unavailable] = Unavailable
    ) -> Iterator[None]:
        """Raise an error of this kind instead of the errors of the store, except the expected ones."""
        try:
            with self._breaker.call(TimeoutError):
                yield
        except expected:
            raise
        except Exception as error:  # the errors of the stores' clients have no common base class
            is_silent = isinstance(error, CircuitOpen | TimeoutError)
            reason = "the object store does not answer" if is_silent else ""
            place = self._files.unstrip_protocol(self._prefix)
            raise _unavailable(operation, place, error, reason, kind) from error


def open_files(location: str, folder: str = "") -> Files:
    """Return the files at a folder or URL, or those in one of its folders, which has no folders.

    Raises:
        InvalidSetting: The URL's scheme is not supported.
    """
    if is_remote(location):
        objects = _open_objects(location.rstrip("/"))
        return objects.folder(folder) if folder else objects
    root = Path(location.removeprefix("file://"))
    return FolderFiles(root / folder, _identity_of(root.absolute()))


@cache  # one for all folders of an archive: in each, nothing may be written while another archive is in its place
def _identity_of(root: Path) -> FolderIdentity:
    return FolderIdentity(root)


@cache  # one circuit breaker for all folders of an archive: if one call times out, calls for the others fail too
def _open_objects(location: str) -> ObjectFiles:
    return ObjectFiles(*open_file_system(location, "ERRATA_ARCHIVE"))


async def _watch(listing: Callable[[], Awaitable[Any]], probe: Callable[[], Awaitable[object]]) -> Any:
    """Return the result of a listing. Raise TimeoutError as soon as a probe, which can raise errors, takes too long."""

    async def probe_store() -> None:
        with suppress(Exception):
            await probe()

    tasks = [asyncio.ensure_future(listing())]  # and the last probe
    try:
        while not (await asyncio.wait(tasks[:1], timeout=LIST_PROBE_SECONDS))[0]:
            tasks[1:] = [asyncio.ensure_future(probe_store())]
            if not (await asyncio.wait(tasks, timeout=CALL_SECONDS, return_when=asyncio.FIRST_COMPLETED))[0]:
                raise TimeoutError
        return tasks[0].result()
    finally:
        for task in tasks:
            task.cancel()


def _unavailable(
    operation: str, place: str | Path, error: Exception, reason: str = "", kind: type[Unavailable] = Unavailable
) -> Unavailable:
    """Return the error for an operation on the files that failed; an empty reason becomes that of the error.

    The text of an error without a standard reason can name places, so only the log has it.
    """
    reason = reason or (isinstance(error, OSError) and error.strerror) or ""
    detail = str(place) if reason else f"{place}: {error!r:.300}"
    return kind(
        f"The archive could not be {operation}: {reason or type(error).__name__}. Check ERRATA_ARCHIVE of the service, "
        "and the permissions and the free space there.",
        retry_after=RETRY_AFTER,
        detail=detail,
    )
