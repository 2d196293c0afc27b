"""Memory: what a process holds, and the bound that a machine or a container gives."""

import mmap
import os
from pathlib import Path

import pytest

from service.predictions.model_process.memory import default_bound, held_memory

MIB = 1 << 20


def test_what_a_process_writes_is_held_until_it_gives_it_back() -> None:
    before = held_memory(os.getpid())
    with mmap.mmap(-1, 64 * MIB) as memory:
        memory.write(b"x" * 64 * MIB)
        during = held_memory(os.getpid())
    after = held_memory(os.getpid())

    assert before is not None and during is not None and after is not None
    assert 60 * MIB < during - before < 200 * MIB
    assert after < during - 60 * MIB


def test_the_pages_of_a_file_are_not_held(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"x" * 64 * MIB)
    before = held_memory(os.getpid())
    with (tmp_path / "weights").open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as memory:
        assert memory[:].count(b"x") == 64 * MIB  # each page was read
        during = held_memory(os.getpid())

    assert before is not None and during is not None
    assert during - before < 32 * MIB


def test_a_process_that_is_gone_holds_nothing_that_is_known() -> None:
    assert held_memory(2**22 + 1) is None


@pytest.mark.parametrize(
    ("limits", "bound"),
    [
        ([], 8000 * 1024),
        (["max"], 8000 * 1024),
        (["5000000"], 4_000_000),
        (["max", "5000000"], 4_000_000),
        (["99999999999"], 8000 * 1024),
        (["9223372036854771712"], 8000 * 1024),  # cgroup v1 without a limit
    ],
)
def test_the_bound_is_a_share_of_what_there_is(tmp_path: Path, limits: list[str], bound: int) -> None:
    (tmp_path / "meminfo").write_text("MemTotal:       10000 kB\nMemFree:        5000 kB\n")
    paths = [tmp_path / str(number) for number, _ in enumerate(limits)]
    for path, text in zip(paths, limits, strict=True):
        path.write_text(text + "\n")

    assert default_bound(tmp_path / "meminfo", (*paths, tmp_path / "nowhere")) == bound


def test_where_nothing_is_known_there_is_no_bound(tmp_path: Path) -> None:
    assert default_bound(tmp_path / "meminfo", (tmp_path / "nowhere",)) is None
