"""Array files: whole arrays and single rows, and files that change while they are open."""

import os
from pathlib import Path

import numpy as np
import pytest

from service.evidence.array_file import ArrayFile, DamagedFile
from service.storage import sha256_of, write_array

ARRAY = np.arange(60, dtype=np.float32).reshape(20, 3)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    np.save(tmp_path / "array.npy", ARRAY)
    os.utime(tmp_path / "array.npy", ns=(1, 1))  # a write within the same tick of the clock would not show
    return tmp_path / "array.npy"


@pytest.mark.parametrize(
    "array",
    [
        ARRAY,
        np.asfortranarray(ARRAY),
        np.array([b"a.jpg", b"bc.jpg"]),
        np.zeros((0, 5), dtype=np.uint8),
        np.zeros((3, 4), dtype=bool),
        np.array(7, dtype=np.int16),
    ],
    ids=["C order", "Fortran order", "bytes", "empty", "bool", "scalar"],
)
def test_array_round_trips(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "array.npy", array)

    file = ArrayFile(tmp_path / "array.npy")

    assert (file.shape, file.dtype) == (array.shape, array.dtype)
    assert np.array_equal(file.read(), array)
    assert not file.read().flags.writeable
    for row in range(len(array) if array.ndim else 0):
        assert np.array_equal(file.row(row), array[row : row + 1])


def test_header_of_version_2_is_read(tmp_path: Path) -> None:
    with (tmp_path / "array.npy").open("wb") as file:
        np.lib.format.write_array(file, ARRAY, version=(2, 0))

    assert np.array_equal(ArrayFile(tmp_path / "array.npy").read(), ARRAY)


@pytest.mark.parametrize("size", [0, 1, 128, 200])
def test_file_that_is_truncated_in_use_is_damaged(path: Path, size: int) -> None:
    file = ArrayFile(path)
    os.truncate(path, size)

    for read in (file.read, lambda: file.row(19)):
        with pytest.raises(DamagedFile, match="while it was in use"):
            read()
    assert file.has_changed()


def test_file_that_is_overwritten_in_use_is_damaged(path: Path) -> None:
    file = ArrayFile(path)
    path.write_bytes(path.read_bytes()[:-1] + b"x")

    for read in (file.read, lambda: file.row(0)):
        with pytest.raises(DamagedFile, match="written to"):
            read()


@pytest.mark.parametrize("replace", [lambda path: write_array(path, ARRAY + 1), Path.unlink], ids=["renamed", "gone"])
def test_replacing_the_file_does_not_change_the_array(path: Path, replace: object) -> None:
    file = ArrayFile(path)
    replace(path)

    assert np.array_equal(file.read(), ARRAY)
    assert np.array_equal(file.row(4), ARRAY[4:5])
    assert not file.has_changed()


def test_file_of_another_digest_is_damaged(path: Path) -> None:
    assert np.array_equal(ArrayFile(path).read(sha256_of(path)), ARRAY)
    with pytest.raises(DamagedFile, match="SHA-256"):
        ArrayFile(path).read("0" * 64)


@pytest.mark.parametrize("size", [3, 10**6, 2**62])
def test_header_with_another_size_is_rejected_before_allocation(path: Path, size: int) -> None:
    header = np.lib.format.header_data_from_array_1_0(ARRAY) | {"shape": (size, 3)}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        file.write(ARRAY.tobytes())

    with pytest.raises(DamagedFile, match="does not fit"):
        ArrayFile(path)


def test_python_objects_are_rejected(tmp_path: Path) -> None:
    np.save(tmp_path / "array.npy", np.array([{}], dtype=object), allow_pickle=True)

    with pytest.raises(DamagedFile, match="Python objects"):
        ArrayFile(tmp_path / "array.npy")


def test_file_is_closed_with_the_array(path: Path) -> None:
    def count_open() -> int:
        links = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
        return sum(os.path.realpath(link) == str(path) for link in links)

    file = ArrayFile(path)
    assert count_open() == 1
    del file
    assert count_open() == 0
