"""Append-only records in an archive, such as reviews: one file each, so that no two processes write the same file."""

import json
import re
import threading
from collections.abc import Sequence
from datetime import datetime
from typing import Generic, Protocol, TypeVar

import structlog
from errata.errors import NewerRecord
from errata.json_input import parse_json
from pydantic import TypeAdapter

from service.archive.files import Files
from service.domain.schema_version import check_schema

SCHEMA = 1
MAX_RECORD = 1 << 20  # bytes
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

    `append` returns after the record is on the disk. Records of other processes appear with the next call of `all`.

    Args:
        files: The files. They contain nothing else.
        kind: The dataclass of the records.
    """

    def __init__(self, files: Files, kind: type[T]) -> None:
        self._files = files
        self._adapter = TypeAdapter(kind)
        self._kind = kind.__name__
        self._lock = threading.Lock()
        self._records: dict[str, T] = {}
        self._unreadable: set[str] = set()  # names of files, which are logged once
        self._sorted: Sequence[T] = ()

    def append(self, record: T) -> None:
        """Store a record.

        Raises:
            Unavailable: The archive cannot be written.
        """
        document = {"schema": SCHEMA} | self._adapter.dump_python(record, mode="json")
        self._files.write({f"{record.id}.json": json.dumps(document, sort_keys=True).encode()})

    def all(self) -> Sequence[T]:
        """Return all records, oldest first; the same object while there are no new ones.

        Raises:
            Unavailable: The archive cannot be read.
        """
        with self._lock:
            names = {name for name in self._files.names() if _NAME.fullmatch(name)}
            new = sorted(names - self._records.keys() - self._unreadable)
            for name, content in self._files.read_many(new):
                if content is not None and (record := self._decode(name, content)) is not None:
                    self._records[name] = record
            if new or len(self._records) != len(self._sorted):
                self._records = {name: record for name, record in self._records.items() if name in names}
                self._sorted = sorted(self._records.values(), key=lambda record: (record.time, record.id))
            return self._sorted

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
            if record.time.tzinfo is None:
                raise ValueError("the time has no zone")
        except (NewerRecord, ValueError, TypeError) as error:
            _log.error("record unreadable", kind=self._kind, name=name, error=repr(error)[:500])
            self._unreadable.add(name)
            return None
        return record
