"""The index of the archive: an SQLite file per process, which is built again from the archive if it is lost."""

from service.archive.index.sqlite import SqliteIndex

__all__ = ["SqliteIndex"]
