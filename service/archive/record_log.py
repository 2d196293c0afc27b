"""Append-only records in an archive, such as reviews. Each has its own file, so processes never share a file."""

import json
import re
import threading
from bisect import insort
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Generic, Protocol, TypeVar

import structlog
from errata.errors import DamagedRecord, NewerRecord, TooLarge, Unavailable
from errata.json_input import parse_json
from pydantic import TypeAdapter

from service.archive.files import Files
from service.domain.schema_version import check_schema, check_time

SCHEMA = 1
MAX_RECORD = 1 << 20  # bytes
BATCH = 100  # records that `newest_first` reads at once
_NAME = re.compile(r"([0-9a-f]{32})\.json")
_log = structlog.get_logger()


class Dated(Protocol):
    """A record with a unique ID and a time."""

    @property
    def id(self) -> str:
        """Return the ID, 32 hexadecimal digits."""
        ...

    @property
    def time(self) -> datetime:
        """Return the time of the record."""
        ...


T = TypeVar("T", bound=Dated)


class RecordLog(Generic[T]):
    """The records of one dataclass in a folder or an object store. Thread-safe.

    `append` returns after the records are stored. Each read also finds records that other processes have stored. A
    read decodes only new records.

    Args:
        files: The folder or object store. It contains no other files.
        kind: The dataclass of the records.
        keys: Returns the keys under which `find` finds a record; None: `find` is not used.
    """

    def __init__(self, files: Files, kind: type[T], keys: Callable[[T], Iterable[Hashable]] | None = None) -> None:
        self._files = files
        self._adapter = TypeAdapter(kind)
        self._kind = kind.__name__
        self._keys = keys
        self._lock = threading.Lock()
        self._listed: frozenset[str] = frozenset()  # names of all files when the log was last read
        self._read: frozenset[str] = frozenset()  # names of the files that were read
        self._unreadable: set[str] = set()  # names of unreadable files, so that each is logged once
        self._sorted: list[T] = []
        self._by_key: dict[Hashable, list[T]] = {}
        self._all: Sequence[T] = ()

    def append(self, *records: T) -> None:
        """Store records in order: a process that finds a record also finds the records before it.

        Args:
            *records: The records.

        Raises:
            TooLarge: A record has more than MAX_RECORD bytes.
            Unavailable: The archive cannot be written.
        """
        self._files.write(self.encode(*records))

    def append_new(self, *records: T) -> int:
        """Store records as `append` does, except those that are stored in readable files; return how many."""
        contents = self.encode(*records)
        files = self._files.read_many([*contents])
        stored = {name for name, content in files if content is not None and self._decode(name, content) is not None}
        self._files.write({name: content for name, content in contents.items() if name not in stored})
        return len(contents) - len(stored)

    def encode(self, *records: T) -> Mapping[str, bytes]:
        """Return the files of records by name; raise TooLarge if a record has more than MAX_RECORD bytes."""
        return {f"{record.id}.json": self._encode(record) for record in records}

    def create(self, record: T) -> T:
        """Store a record unless a record with its ID exists; return the stored record.

        Raises:
            DamagedRecord: A record with the ID exists, and cannot be read.
            TooLarge: The record has more than MAX_RECORD bytes.
            Unavailable: The archive cannot be read or written.
        """
        name = f"{record.id}.json"
        self._files.create(name, self._encode(record))
        if (content := self._files.read(name)) is None:  # such as an object that is not visible yet
            return record
        if (stored := self._decode(name, content)) is None:
            raise DamagedRecord(f"The stored {self._kind} {record.id} cannot be read. See the service's log.")
        return stored

    def all(self) -> Sequence[T]:
        """Return all records, oldest first. Without new records, return the same object as before.

        Raises:
            Unavailable: The archive cannot be read.
        """
        with self._lock:
            self._refresh()
            if len(self._all) != len(self._sorted):
                self._all = tuple(self._sorted)
            return self._all

    def find(self, key: Hashable) -> Sequence[T]:
        """Return the records with a key, oldest first.

        Raises:
            Unavailable: The archive cannot be read.
        """
        assert self._keys is not None, "This is a bug: `find` needs a log with keys."
        with self._lock:
            self._refresh()
            return tuple(self._by_key.get(key, ()))

    def newest_first(self, first: str, last: str) -> Iterator[T]:
        """Yield the records whose IDs are at least `first` and less than `last`, in descending order of ID.

        Use it for IDs that begin with the time. The log reads the records in batches, and keeps none in memory.

        Raises:
            Unavailable: The archive cannot be read.
        """
        names = [name for name in self._files.names() if _NAME.fullmatch(name) and first <= name[:-5] < last]
        names.sort(reverse=True)
        for start in range(0, len(names), BATCH):
            for name, content in self._files.read_many(names[start : start + BATCH]):
                if content is not None and (record := self._decode(name, content)) is not None:
                    yield record

    def by_id(self) -> Mapping[str, T]:
        """Return all records by their IDs.

        Raises:
            Unavailable: The archive cannot be read.
        """
        return {record.id: record for record in self.all()}

    def _refresh(self) -> None:
        """Read the new records; forget records whose files an operator removed."""
        names = frozenset(self._files.names())
        if names is self._listed:  # the folder did not change
            return
        if self._read and not names:  # more likely a lost mount than the work of an operator
            raise Unavailable(
                f"The archive has none of the {len(self._read):,} records that it had ({self._kind}). Make it "
                "available again, or restart the service if they were removed on purpose."
            )
        if self._read - names:
            self._read, self._sorted, self._by_key, self._all = frozenset(), [], {}, ()
        new = sorted(name for name in names - self._read if _NAME.fullmatch(name))
        decoded = [
            record
            for name, content in (self._files.read_many(new) if new else ())
            if content is not None and (record := self._decode(name, content)) is not None
        ]
        self._read |= frozenset(new)
        for record in sorted(decoded, key=_order):
            insort(self._sorted, record, key=_order)
            for key in self._keys(record) if self._keys else ():
                insort(self._by_key.setdefault(key, []), record, key=_order)
        self._listed = names

    def _encode(self, record: T) -> bytes:
        document = {"schema": SCHEMA} | self._adapter.dump_python(record, mode="json")
        content = json.dumps(document, sort_keys=True).encode()
        if len(content) > MAX_RECORD:
            raise TooLarge(f"The record has {len(content):,} bytes. Expected at most {MAX_RECORD:,}. Shorten it.")
        return content

    def _decode(self, name: str, content: bytes) -> T | None:
        try:
            if len(content) > MAX_RECORD:
                raise ValueError(f"the record has {len(content):,} bytes, more than {MAX_RECORD:,}")
            document = parse_json(content)
            if not isinstance(document, dict):
                raise ValueError("the record is not an object")
            check_schema(f"{self._kind} {name}", document.pop("schema", None), SCHEMA)
            record = self._adapter.validate_python(document)
            if f"{record.id}.json" != name:
                raise ValueError(f"the record has the ID {record.id!r:.80}")
            check_time(record.time)
        except (NewerRecord, ValueError, TypeError) as error:
            if name not in self._unreadable:
                self._unreadable.add(name)
                _log.error("record unreadable", kind=self._kind, name=name, error=repr(error)[:500])
            return None
        return record


def _order(record: Dated) -> tuple[datetime, str]:
    return record.time, record.id
