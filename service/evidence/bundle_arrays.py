"""The arrays of an open bundle: small ones in memory, large ones read when they are needed."""

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from errata.errors import InvalidEvidence
from numpy.typing import NDArray

from service.evidence.array_file import ArrayFile, DamagedFile, FileState

LOADED_ON_USE = ("verdicts", "text_embeddings")  # kept in memory from their first use on
READ_BY_ROW = ("image_embeddings",)  # (N, d) float32, 100 to 150 MB for ImageNet: never kept
OnDamage = Callable[[str, Exception], Exception]  # from an array's name and what is wrong to what is raised


class BundleArrays(Mapping[str, NDArray[Any]]):
    """Arrays by name. Files that a rename replaces leave them as they were; files that change in place are damage."""

    def __init__(self, path: Path, files: Mapping[str, Mapping[str, Any]], on_damage: OnDamage) -> None:
        """Open the files of a bundle.

        Args:
            path: The bundle's folder.
            files: `sha256` and `bytes` of each file, as the manifest has them.
            on_damage: Makes the error for an array that cannot be read any more.

        Raises:
            InvalidEvidence: If a file is missing, of another size, or no array.
        """
        self._path = path
        self._on_damage = on_damage
        self._lock = threading.Lock()
        self._loaded: dict[str, NDArray[Any]] = {}
        self._large: dict[str, ArrayFile] = {}
        self._sha256 = {name.removesuffix(".npy"): facts["sha256"] for name, facts in files.items()}
        self._states: dict[str, FileState] = {}
        self._damage: tuple[str, Exception] | None = None
        for name, facts in files.items():
            self._open(name, facts["bytes"])

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return an array, read-only.

        Raises:
            KeyError: If the bundle has no such array.
            Exception: What `on_damage` makes, if the file was changed in place before the array was read.
        """
        if (array := self._loaded.get(name)) is not None:
            return array
        file = self._large[name]
        with self._lock:
            if name in self._loaded:
                return self._loaded[name]
            array = self._read(name, lambda: file.read(self._sha256[name]))
            if name in LOADED_ON_USE:
                self._loaded[name] = array
                file.close()
            return array

    def row(self, name: str, number: int) -> NDArray[Any]:
        """Return one row of an array of READ_BY_ROW as an array of one row; raise as `[]` does."""
        return self._read(name, lambda: self._large[name].row(number))

    def __iter__(self) -> Iterator[str]:
        return iter(self._sha256)

    def __len__(self) -> int:
        return len(self._sha256)

    def __contains__(self, name: object) -> bool:
        return name in self._sha256

    def headers(self) -> Mapping[str, NDArray[Any] | ArrayFile]:
        """Return what has the shape and the kind of each array, without reading the large ones."""
        return {**self._large, **self._loaded}

    def damage(self) -> str | None:
        """Return what is wrong with the files since they were opened; None if nothing is.

        A file that was removed, or replaced by a rename, is no damage: its content is still here.
        """
        if self._damage is not None:
            return f"{self._damage[0]}.npy: {self._damage[1]}"
        for name, now in self.states_now().items():
            state = self._states[name]
            if now is not None and (now.device, now.inode) == (state.device, state.inode) and now != state:
                return f"{name}.npy: the file was written to while it was in use"
        return None

    def states_now(self) -> Mapping[str, FileState | None]:
        """Return the state of the file that now has each array's name; None where there is none."""
        return {name: _state(f"{self._path}/{name}.npy") for name in self._states}

    def _open(self, file_name: str, size: int) -> None:
        name, path = file_name.removesuffix(".npy"), self._path / file_name
        if not path.is_file() or path.stat().st_size != size:
            got = path.stat().st_size if path.is_file() else "no file"
            raise InvalidEvidence(f"{path}: expected {size} bytes, got {got}: the bundle is damaged", field=file_name)
        try:
            file = ArrayFile(path)
            if name in LOADED_ON_USE or name in READ_BY_ROW:
                self._large[name] = file
            else:
                self._loaded[name] = file.read()
                file.close()
        except Exception as error:  # numpy's header parser raises what tokenize and ast do, EOFError and more
            raise InvalidEvidence(f"{path}: expected an array, got {error!r}", field=file_name) from error
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
