"""The cache of pictures: its bound, the order of removal, damaged files, and failures of the disk."""

import hashlib
import os
import time
from pathlib import Path

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from service.predictions.pictures.cache import BLOCK, USE_SECONDS, PictureCache


def key(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def occupied(folder: Path) -> int:
    """Return the size of the pictures, in whole blocks."""
    return sum(-(-path.stat().st_size // BLOCK) * BLOCK for path in folder.glob("*/*"))


def set_last_use(folder: Path, number: int, seconds_ago: float) -> None:
    path = folder / key(number)[:2] / key(number)[2:]
    os.utime(path, (time.time() - seconds_ago,) * 2)


def test_a_picture_is_read_by_every_process_with_the_folder(tmp_path: Path) -> None:
    PictureCache(tmp_path / "cache", 1 << 20).write(key(1), b"picture")

    other = PictureCache(tmp_path / "cache", 1 << 20)
    assert (other.read(key(1)), other.read(key(2))) == (b"picture", None)


def test_the_least_recently_used_pictures_are_removed(tmp_path: Path) -> None:
    cache = PictureCache(tmp_path, 10 * BLOCK)
    for number in range(10):
        cache.write(key(number), b"x" * 100)
        set_last_use(tmp_path, number, 10_000 - number)
    assert cache.read(key(0)) is not None  # makes it the most recently used

    cache.write(key(10), b"x" * 100)

    assert [number for number in range(11) if cache.read(key(number)) is None] == [1]


def test_a_use_is_recorded_once_a_minute(tmp_path: Path) -> None:
    cache = PictureCache(tmp_path, 1 << 20)
    cache.write(key(1), b"x")
    path = tmp_path / key(1)[:2] / key(1)[2:]
    for age, is_recorded in ((USE_SECONDS / 2, False), (USE_SECONDS * 2, True)):
        set_last_use(tmp_path, 1, age)
        before = path.stat().st_mtime
        cache.read(key(1))
        assert (path.stat().st_mtime != before) is is_recorded


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 5 * BLOCK)), max_size=40), st.integers(0, 16 * BLOCK))
def test_the_folder_never_exceeds_its_bound(tmp_path_factory, writes: list[tuple[int, int]], bound: int) -> None:
    folder = tmp_path_factory.mktemp("cache")
    cache = PictureCache(folder, bound)
    for number, size in writes:
        content, before = os.urandom(size), cache.read(key(number))
        cache.write(key(number), content)

        assert occupied(folder) <= bound
        fits = size + 32 <= bound // BLOCK * BLOCK
        assert cache.read(key(number)) in ((content,) if fits else (content, before))


def test_a_smaller_bound_removes_pictures_at_the_next_write(tmp_path: Path) -> None:
    for number in range(20):
        PictureCache(tmp_path, 1 << 20).write(key(number), b"x")

    PictureCache(tmp_path, 5 * BLOCK).write(key(20), b"x")

    assert occupied(tmp_path) <= 5 * BLOCK


@pytest.mark.parametrize("total", [None, b"", b"many", b"\xff", b"9" * 10_000, b"999999999"])
def test_a_missing_or_wrong_total_is_measured_again(tmp_path: Path, total: bytes | None) -> None:
    cache = PictureCache(tmp_path, 8 * BLOCK)
    for number in range(4):
        cache.write(key(number), b"x")
    (tmp_path / "total").unlink()
    if total is not None:
        (tmp_path / "total").write_bytes(total)

    cache.write(key(4), b"x")

    assert (tmp_path / "total").read_bytes() == str(5 * BLOCK).encode()
    assert all(cache.read(key(number)) == b"x" for number in range(5))


@pytest.mark.parametrize("damage", [lambda entry: b"", lambda entry: entry[:-1], lambda entry: entry[:-1] + b"\0"])
def test_a_damaged_file_is_a_missing_picture(tmp_path: Path, damage) -> None:
    """After a failure of power, a file that was renamed can be empty or have zeros."""
    cache = PictureCache(tmp_path, 1 << 20)
    cache.write(key(1), b"picture")
    (path,) = tmp_path.glob("*/*")
    path.write_bytes(damage(path.read_bytes()))

    assert cache.read(key(1)) is None
    cache.write(key(1), b"picture")
    assert cache.read(key(1)) == b"picture"


def test_temporary_files_of_killed_processes_are_counted_and_removed_first(tmp_path: Path) -> None:
    cache = PictureCache(tmp_path, 8 * BLOCK)
    for number in range(5):
        cache.write(key(number), b"x")
    left = tmp_path / key(1)[:2] / f".{key(1)[2:]}.abcdefgh"
    left.write_bytes(b"x" * 2 * BLOCK)
    (tmp_path / "total").unlink()

    for number in range(5, 8):
        cache.write(key(number), b"x")

    assert not left.exists() and occupied(tmp_path) <= 8 * BLOCK


def test_a_pipe_or_link_to_a_folder_is_a_missing_picture(tmp_path: Path) -> None:
    cache = PictureCache(tmp_path, 1 << 20)
    path = tmp_path / key(1)[:2] / key(1)[2:]
    path.parent.mkdir()
    os.mkfifo(path)

    assert cache.read(key(1)) is None


@pytest.mark.parametrize("bound", [0, BLOCK - 1])
def test_without_space_nothing_is_written(tmp_path: Path, bound: int) -> None:
    cache = PictureCache(tmp_path / "cache", bound)
    cache.write(key(1), b"x")

    assert cache.read(key(1)) is None and not (tmp_path / "cache").exists()


def test_a_disk_that_cannot_be_written_is_logged_once(tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"a file instead of a folder")
    cache = PictureCache(tmp_path / "cache", 1 << 20)

    with structlog.testing.capture_logs() as logs:
        for number in range(3):
            cache.write(key(number), b"x")
            assert cache.read(key(number)) is None

    assert [log["event"] for log in logs] == ["cache of pictures cannot be written"]
