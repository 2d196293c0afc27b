"""Where an archive's files lie: a local folder, or an object store through fsspec. Small files, written whole."""

import os
import time
from collections.abc import Collection, Iterator, Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

from errata.errors import InvalidSetting, Unavailable

from service.storage import create_file, read_regular_file, write_file

MOST_BYTES = 256 << 20  # of a file: a hundred times what an analysis takes
SETTLED_NS = 1_000_000_000
READERS = 16  # objects that are read at once: each takes a round trip
RETRY_AFTER = 10.0  # seconds, for who finds the files away


class Files(Protocol):
    """Files by name in one flat place. Every method raises Unavailable where the place can't be reached."""

    def read(self, name: str) -> bytes | None:
        """Return a file's content, None if there is no such file."""
        ...

    def read_many(self, names: Collection[str]) -> Iterator[tuple[str, bytes | None]]:
        """Yield each name with what `read` returns."""
        ...

    def write(self, name: str, content: bytes) -> None:
        """Write a file so that a reader sees the old content or the new, whole."""
        ...

    def create(self, name: str, content: bytes) -> None:
        """Write a file unless there is one; of several processes at once, one writes it, where the place allows."""
        ...

    def delete(self, name: str) -> bool:
        """Remove a file; say whether there was one."""
        ...

    def modified(self, name: str) -> float | None:
        """Return when a file was written, in seconds since 1970; None if it is missing or the store does not say."""
        ...

    def names(self) -> Set[str]:
        """Return the names of all files."""
        ...

    def sizes(self) -> Mapping[str, int]:
        """Return all files with their sizes in bytes."""
        ...


class FolderFiles:
    """Files in a local folder; it is made when the first is written."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._listed: tuple[int, frozenset[str]] | None = None  # when the folder was changed, and what was in it

    def read(self, name: str) -> bytes | None:
        """Return a file's content."""
        try:
            return read_regular_file(self._folder / name, MOST_BYTES)  # cut off, it is damaged, as its reader will say
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise _away("read", error) from error

    def read_many(self, names: Collection[str]) -> Iterator[tuple[str, bytes | None]]:
        """Yield each name with the file's content."""
        return ((name, self.read(name)) for name in names)

    def write(self, name: str, content: bytes) -> None:
        """Write a file in one step."""
        try:
            write_file(self._folder / name, content)
        except OSError as error:
            raise _away("written", error) from error

    def create(self, name: str, content: bytes) -> None:
        """Write a file unless there is one."""
        try:
            create_file(self._folder / name, content)
        except OSError as error:
            raise _away("written", error) from error

    def delete(self, name: str) -> bool:
        """Remove a file."""
        try:
            (self._folder / name).unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise _away("written", error) from error
        return True

    def modified(self, name: str) -> float | None:
        """Return when a file was written last."""
        try:
            return (self._folder / name).stat().st_mtime
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise _away("read", error) from error

    def names(self) -> Set[str]:
        """Return the names of all files; the very same object while the folder hasn't changed."""
        try:
            changed = self._folder.stat().st_mtime_ns
            if self._listed is not None and self._listed[0] == changed:
                return self._listed[1]
            names = frozenset(os.listdir(self._folder))
        except (FileNotFoundError, NotADirectoryError):
            return frozenset()
        except OSError as error:
            raise _away("read", error) from error
        settled = time.time_ns() - changed > SETTLED_NS  # within a tick of the clock another change wouldn't show
        self._listed = (changed, names) if settled else None
        return names

    def sizes(self) -> Mapping[str, int]:
        """Return all files with their sizes."""
        result = {}
        try:
            for file in self._folder.iterdir() if self._folder.is_dir() else ():
                try:
                    result[file.name] = file.stat().st_size
                except FileNotFoundError:
                    continue  # deleted meanwhile
        except OSError as error:
            raise _away("read", error) from error
        return result


class ObjectFiles:
    """Files in an object store, below a URL such as s3://bucket/prefix; fsspec knows the store's own package."""

    def __init__(self, file_system: Any, prefix: str) -> None:
        self._files = file_system
        self._prefix = prefix.rstrip("/")

    def read(self, name: str) -> bytes | None:
        """Return an object's content."""
        try:
            return bytes(self._files.cat_file(f"{self._prefix}/{name}"))
        except FileNotFoundError:
            return None
        except Exception as error:  # each store's client raises what it likes
            raise _away("read", error) from error

    def read_many(self, names: Collection[str]) -> Iterator[tuple[str, bytes | None]]:
        """Yield each name with the object's content; several objects are read at once."""
        with ThreadPoolExecutor(READERS, thread_name_prefix="archive") as pool:
            yield from zip(names, pool.map(self.read, names), strict=True)

    def write(self, name: str, content: bytes) -> None:
        """Write an object, which a store does in one step."""
        try:
            self._files.pipe_file(f"{self._prefix}/{name}", content)
        except Exception as error:
            raise _away("written", error) from error

    def create(self, name: str, content: bytes) -> None:
        """Write an object unless there is one: a conditional put where fsspec has it (S3), else a look before."""
        try:
            self._files.pipe_file(f"{self._prefix}/{name}", content, mode="create")
        except FileExistsError:
            return
        except Exception as error:
            raise _away("written", error) from error

    def delete(self, name: str) -> bool:
        """Remove an object."""
        try:
            path = f"{self._prefix}/{name}"
            self._files.invalidate_cache()
            if not self._files.exists(path):
                return False
            self._files.rm_file(path)
        except FileNotFoundError:
            return False
        except Exception as error:
            raise _away("written", error) from error
        return True

    def modified(self, name: str) -> float | None:
        """Return when an object was written last."""
        try:
            return float(self._files.modified(f"{self._prefix}/{name}").timestamp())
        except (FileNotFoundError, NotImplementedError):  # some stores' packages do not tell
            return None
        except Exception as error:
            raise _away("read", error) from error

    def names(self) -> Set[str]:
        """Return the names of all objects."""
        return self.sizes().keys()

    def sizes(self) -> Mapping[str, int]:
        """Return all objects with their sizes."""
        try:
            self._files.invalidate_cache()  # other processes write too
            result = self._files.ls(self._prefix, detail=True)
        except FileNotFoundError:
            return {}
        except Exception as error:
            raise _away("read", error) from error
        return {item["name"].rsplit("/", 1)[-1]: int(item["size"] or 0) for item in result if item["type"] == "file"}


def is_remote(place: str) -> bool:
    """Say whether a place is a URL of an object store, and not a local folder."""
    return "://" in place and not place.startswith("file://")


def open_files(place: str) -> Files:
    """Return the files at a folder or URL; raise InvalidSetting for a URL that nothing here can open."""
    if not is_remote(place):
        return FolderFiles(Path(place.removeprefix("file://")))
    try:
        import fsspec

        file_system, path = fsspec.core.url_to_fs(place, use_listings_cache=False)
    except (ImportError, ValueError) as error:
        raise InvalidSetting(
            f"ERRATA_ARCHIVE: expected a folder or a URL that is supported here, got {place!r:.120} ({error}): "
            "install errata-service[object-store]",
            field="ERRATA_ARCHIVE",
        ) from error
    return ObjectFiles(file_system, path)


def _away(what: str, error: Exception) -> Unavailable:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
    return Unavailable(f"the archive could not be {what}: {reason}", retry_after=RETRY_AFTER)
