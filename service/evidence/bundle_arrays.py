"""The arrays of an open bundle: small arrays in memory, large arrays read on demand."""

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from errata.errors import InvalidEvidence
from numpy.typing import NDArray

from service.evidence.array_file import ArrayFile, DamagedFile, FileState
from service.evidence.manifest import REMEDY

LOADED_ON_USE = ("verdicts", "text_embeddings", "proposals")  # these arrays stay in memory after their first use
MAX_LOADED = 8  # bundles of a process with such arrays in memory; a verdict table of ImageNet has 47 MB
READ_BY_ROW = ("image_embeddings",)  # (N, d) float32, 100 to 150 MB for ImageNet: never loaded completely
CHECK_SECONDS = 1.0  # minimum interval between two checks of undamaged files
_with_loaded: "weakref.WeakValueDictionary[int, BundleArrays]" = weakref.WeakValueDictionary()  # by `id`
_with_loaded_lock = threading.Lock()
OnDamage = Callable[[str, Exception], Exception]  # takes the name of an array and the cause; returns the error to raise


class BundleArrays(Mapping[str, NDArray[Any]]):
    """Arrays by name. A file counts as damaged if it changes in place, but not if a rename replaces it."""

    def __init__(self, path: Path, files: Mapping[str, Mapping[str, Any]], on_damage: OnDamage) -> None:
        """Open the files of a bundle.

        Args:
            path: The bundle's folder.
            files: `sha256` and `bytes` of each file, from the manifest.
            on_damage: Creates the error for an array that can no longer be read.

        Raises:
            InvalidEvidence: If a file is missing, has another size, or is not an array.
        """
        self._path = path
        self._on_damage = on_damage
        self._lock = threading.Lock()
        self._loaded: dict[str, NDArray[Any]] = {}
        self._large: dict[str, ArrayFile] = {}
        self._sha256 = {name.removesuffix(".npy"): facts["sha256"] for name, facts in files.items()}
        self._states: dict[str, FileState] = {}
        self._damage: tuple[str, Exception] | None = None
        self._checked_at = time.monotonic()  # time of the last check that found no damage
        self._last_use = 0.0  # time of the last use of an array in LOADED_ON_USE
        for name, facts in files.items():
            self._open(name, facts["bytes"])

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return an array, read-only.

        Raises:
            KeyError: If the bundle has no array with this name.
            Exception: The error of `on_damage`, if the file changed in place before the array was read.
        """
        if name in LOADED_ON_USE:
            self._last_use = time.monotonic()
        if (array := self._loaded.get(name)) is not None:
            return array
        file = self._large[name]
        with self._lock:
            if (array := self._loaded.get(name)) is not None:
                return array
            array = self._read(name, lambda: file.read(self._sha256[name]))
            if name in LOADED_ON_USE:
                self._loaded[name] = array
                _release_unused(self)
            return array

    def row(self, name: str, number: int) -> NDArray[Any]:
        """Read one row of an array in READ_BY_ROW. The result has the shape (1, …). Raises the same errors as `[]`."""
        return self._read(name, lambda: self._large[name].row(number))

    def __iter__(self) -> Iterator[str]:
        return iter(self._sha256)

    def __len__(self) -> int:
        return len(self._sha256)

    def __contains__(self, name: object) -> bool:
        return name in self._sha256

    def headers(self) -> Mapping[str, NDArray[Any] | ArrayFile]:
        """Return an object with the shape and type of each array, without reading large arrays."""
        return {**self._large, **self._loaded}

    def damage(self) -> str | None:
        """Return a description of the damage to the files since they were opened; None if there is none.

        A removed or replaced file is not damaged, because the open file still has its content. Damage is found after at
        most CHECK_SECONDS, but no wrong content is used until then: a loaded array does not change, and each read
        checks its file.
        """
        if self._damage is not None:
            return f"{self._damage[0]}.npy: {self._damage[1]}"
        if (now := time.monotonic()) - self._checked_at < CHECK_SECONDS:
            return None
        for name, current in self.current_states().items():
            state = self._states[name]
            if current is None or (current.device, current.inode) != (state.device, state.inode):
                continue
            if current != state:
                return f"{name}.npy: the file was written to while it was in use"
        self._checked_at = now
        return None

    def current_states(self) -> Mapping[str, FileState | None]:
        """Return the current state of each array's file; None if the file does not exist."""
        return {name: _state(f"{self._path}/{name}.npy") for name in self._states}

    def _open(self, file_name: str, size: int) -> None:
        name, path = file_name.removesuffix(".npy"), self._path / file_name
        if not path.is_file() or path.stat().st_size != size:
            actual = path.stat().st_size if path.is_file() else "no file"
            raise InvalidEvidence(
                f"{path}: the bundle is damaged: expected {size} bytes, got {actual}. {REMEDY}", field=file_name
            )
        try:
            file = ArrayFile(path)
            if name in LOADED_ON_USE or name in READ_BY_ROW:
                self._large[name] = file
            else:
                self._loaded[name] = file.read()
                file.close()
        except Exception as error:  # numpy's header parser raises errors of tokenize and ast, EOFError, and others
            raise InvalidEvidence(f"{path}: cannot read the array: {error!r}. {REMEDY}", field=file_name) from error
        self._states[name] = file.state

    def _read(self, name: str, read: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        try:
            return read()
        except (DamagedFile, OSError) as error:
            self._damage = name, error
            raise self._on_damage(name, error) from error


def _state(path: str) -> FileState | None:
    try:
        return FileState.of(os.stat(path))
    except OSError:
        return None


def _release_unused(arrays: BundleArrays) -> None:
    """Note that a bundle has arrays in memory; release those of the bundles used before the last MAX_LOADED ones."""
    with _with_loaded_lock:
        _with_loaded[id(arrays)] = arrays
        last_used = sorted(_with_loaded.values(), key=lambda other: other._last_use)
        for unused in last_used[:-MAX_LOADED]:
            del _with_loaded[id(unused)]
            for name in LOADED_ON_USE:
                unused._loaded.pop(name, None)
