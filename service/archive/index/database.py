"""The SQLite file of an index: connections, transactions, and the replacement of a damaged file."""

import sqlite3
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import structlog
from errata.errors import Unavailable

from service.archive.index.schema import TABLES, VERSION

Result = TypeVar("Result")
DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
DAMAGE_MESSAGES = ("no such table", "no such column", "already exists", "Could not decode to UTF-8")
BUSY_SECONDS = 10.0
WRITER_CACHE = 32 << 10  # KiB
CHECKPOINT_PAGES = 4000  # size of the log at which its pages are written to the file; a build changes each page often
RETRY_AFTER = 5.0  # seconds, in the error that the file cannot be read or written
_log = structlog.get_logger()


class Database:
    """An SQLite file that only this process uses. One thread writes at a time, while other threads read.

    A damaged file, or one of another schema, is replaced with an empty one.

    Args:
        path: The file. The file and its folder are created if they do not exist.
        on_replaced: Called after a damaged file was replaced.

    Raises:
        sqlite3.Error, OSError: The file can be neither opened nor replaced.
    """

    def __init__(self, path: Path, on_replaced: Callable[[], None]) -> None:
        self._path = path
        self._on_replaced = on_replaced
        self._lock = threading.RLock()
        self._generation = 0  # number of replacements
        self._idle: list[sqlite3.Connection] = []  # readers
        self._is_closed = False
        try:
            self._writer = self._open()
        except sqlite3.Error as error:
            if not self._is_lost(error):
                raise
            _log.error("index damaged, starting with an empty one", error=repr(error))
            self._delete_files()
            self._writer = self._open()

    def read(self, query: Callable[[sqlite3.Connection], Result]) -> Result:
        """Run a query, and return its result.

        Raises:
            Unavailable: The file cannot be read.
        """
        for _ in range(2):  # the second attempt reads the file that replaces a damaged one
            generation, connection = self._generation, None
            try:
                connection = self._take_reader()
                connection.execute("BEGIN")  # all statements of the query see the same state
                result = query(connection)
                connection.execute("COMMIT")
            except BaseException as error:
                if connection is not None:
                    connection.close()
                if not isinstance(error, sqlite3.Error | zlib.error):
                    raise
                self._handle(generation, error)
            else:
                self._return_reader(generation, connection)
                return result
        raise _unavailable("The index of analyses is damaged.")

    def write(self, change: Callable[[sqlite3.Connection], Result]) -> Result:
        """Make a change in one transaction, and return its result.

        Raises:
            Unavailable: The file cannot be written.
        """
        with self._lock:
            for _ in range(2):
                generation = self._generation
                if self._is_closed:
                    break
                try:
                    with self._writer:  # commits, or rolls back after an error
                        self._writer.execute("BEGIN IMMEDIATE")
                        return change(self._writer)
                except sqlite3.Error as error:
                    self._handle(generation, error)
        raise _unavailable("The index of analyses cannot be written.")

    def replace(self) -> None:
        """Replace the file with an empty one."""
        with self._lock:
            self._generation += 1
            for connection in (*self._idle, self._writer):
                connection.close()
            self._idle.clear()
            self._delete_files()
            self._writer = self._open()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._is_closed = True
            for connection in (*self._idle, self._writer):
                connection.close()
            self._idle.clear()

    def _handle(self, generation: int, error: Exception) -> None:
        """Replace a damaged file; raise Unavailable for another error."""
        if self._is_closed or not self._is_lost(error):
            raise _unavailable(f"The index of analyses cannot be used: {error}.") from error
        with self._lock:
            if generation != self._generation:
                return  # another thread has replaced the file
            _log.error("index damaged, starting with an empty one", error=repr(error))
            try:
                self.replace()
            except (sqlite3.Error, OSError) as failure:
                raise _unavailable(f"The index of analyses cannot be replaced: {failure}.") from failure
        self._on_replaced()

    def _is_lost(self, error: Exception) -> bool:
        """Return whether the file is damaged or deleted. Other errors, such as no free file descriptor, can pass."""
        return _is_damage(error) or (_code(error) == sqlite3.SQLITE_CANTOPEN and not self._path.exists())

    def _open(self) -> sqlite3.Connection:
        """Return the connection for writes, to a file with the tables of this version."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = self._connect("rwc")
        try:
            schema = connection.execute("PRAGMA user_version").fetchone()[0]
            if schema not in (0, VERSION):
                _log.info("index has another schema, starting with an empty one", schema=schema, expected=VERSION)
                connection.close()
                self._delete_files()
                connection = self._connect("rwc")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")  # a power failure can lose the last changes only
            connection.execute(f"PRAGMA cache_size = -{WRITER_CACHE}")
            connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
            if schema != VERSION:
                connection.executescript(f"BEGIN; {TABLES} PRAGMA user_version = {VERSION}; COMMIT;")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _connect(self, mode: str) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{self._path.absolute().as_uri()}?mode={mode}",
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
            uri=True,
        )
        connection.execute("PRAGMA temp_store = MEMORY")  # uploads can fill the folder of temporary files
        return connection

    def _take_reader(self) -> sqlite3.Connection:
        with self._lock:
            if self._is_closed:
                raise _unavailable("The index of analyses is closed.")
            return self._idle.pop() if self._idle else self._connect("ro")

    def _return_reader(self, generation: int, connection: sqlite3.Connection) -> None:
        with self._lock:
            if generation == self._generation and not self._is_closed:
                self._idle.append(connection)
            else:
                connection.close()

    def _delete_files(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)


def _is_damage(error: Exception) -> bool:
    is_message = any(text in str(error) for text in DAMAGE_MESSAGES)
    return isinstance(error, zlib.error) or _code(error) in DAMAGED or is_message


def _code(error: Exception) -> int:
    """Return the primary code of an error of SQLite; 0 for another error."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _unavailable(message: str) -> Unavailable:
    return Unavailable(message, retry_after=RETRY_AFTER)
