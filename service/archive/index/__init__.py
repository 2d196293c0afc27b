"""The index of the archive: an SQLite file per process, which is rebuilt from the archive when it is lost."""

from service.archive.index.sqlite import SqliteIndex

__all__ = ["SqliteIndex"]
