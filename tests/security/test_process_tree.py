"""The measurement of process trees: it counts the memory of all processes, and kills a tree above the limit."""

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from security.process_tree import MemoryWatch, cpu_seconds, end_session, members, memory_of

MIB = 1 << 20
SOON = 30.0  # seconds
GRANDCHILD = f"import time; held = b'x' * (100 * {MIB}); time.sleep(60)"
OWN_SESSION = "import subprocess, sys; subprocess.run([sys.executable, '-c', {program!r}], start_new_session={own})"


@pytest.fixture(params=[False, True], ids=["same session", "another session"])
def leader(request: pytest.FixtureRequest) -> "Iterator[subprocess.Popen[bytes]]":
    """A process whose child uses 100 MiB, in the same session or, like a parser of uploads, in another one."""
    program = OWN_SESSION.format(program=GRANDCHILD, own=request.param)
    process = subprocess.Popen([sys.executable, "-c", program], start_new_session=True)
    yield process
    end_session(process.pid)
    process.wait(SOON)


def wait_for_peak(watch: MemoryWatch, size: int) -> None:
    deadline = time.monotonic() + SOON
    while watch.peak < size:
        assert time.monotonic() < deadline, f"no peak of {size} bytes was seen"
        time.sleep(0.02)


def test_the_memory_of_a_grandchild_is_counted(leader: "subprocess.Popen[bytes]") -> None:
    with MemoryWatch(leader.pid, limit=1 << 40) as watch:
        wait_for_peak(watch, 100 * MIB)

    assert len(members(leader.pid)) == 2
    assert memory_of(leader.pid) < 100 * MIB
    assert watch.peak < 300 * MIB
    assert not watch.killed
    assert cpu_seconds(leader.pid) > 0


def test_a_session_above_its_limit_is_killed(leader: "subprocess.Popen[bytes]") -> None:
    with MemoryWatch(leader.pid, limit=80 * MIB) as watch:
        assert leader.wait(SOON) == -9

    assert watch.killed
