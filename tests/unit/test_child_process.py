"""Child processes: their environment variables, their end with their parent, and their memory."""

import mmap
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from service.child_process import child_environment, describe_exit, used_memory

MIB = 1 << 20


def test_written_memory_is_counted_until_it_is_released() -> None:
    before = used_memory(os.getpid())
    with mmap.mmap(-1, 64 * MIB) as memory:
        memory.write(b"x" * 64 * MIB)
        during = used_memory(os.getpid())
    after = used_memory(os.getpid())

    assert before is not None and during is not None and after is not None
    assert 60 * MIB < during - before < 200 * MIB
    assert after < during - 60 * MIB


def test_pages_of_files_are_not_counted_as_used_memory(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"x" * 64 * MIB)
    before = used_memory(os.getpid())
    with (tmp_path / "weights").open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as memory:
        assert memory[:].count(b"x") == 64 * MIB  # each page was read
        during = used_memory(os.getpid())

    assert before is not None and during is not None
    assert during - before < 32 * MIB


def test_the_memory_of_a_process_that_has_ended_is_unknown() -> None:
    assert used_memory(2**22 + 1) is None


def test_a_child_gets_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ERRATA_REDIS_URL", "redis://:secret@redis")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("TMPDIR", "/scratch")

    environment = child_environment()

    assert environment["TMPDIR"] == "/scratch"
    assert "secret" not in " ".join(environment.values())


FOLLOW = "import sys, time; from service.child_process import exit_with_parent; exit_with_parent(int(sys.argv[1]))"
CHILD = f"{FOLLOW}; print('ready', flush=True); time.sleep(600)"
PARENT = f"""
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {CHILD!r}, str(os.getpid())], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.processes
def test_a_child_ends_when_its_parent_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert is_running(child)
        parent.kill()

    while is_running(child):
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


@pytest.mark.processes
def test_a_child_whose_parent_has_already_ended_exits() -> None:
    other = subprocess.run([sys.executable, "-c", FOLLOW, str(os.getpid() + 1)])

    assert other.returncode == 1


@pytest.mark.processes
def test_a_process_that_exits_at_once_flushes_its_output_and_runs_no_cleanup() -> None:
    script = """
import atexit, os, signal, sys
from service.child_process import exit_at_once
atexit.register(os.kill, os.getpid(), signal.SIGSEGV)
sys.stdout.write("rows")
sys.stderr.write("problem")
exit_at_once(3)
"""

    child = subprocess.run([sys.executable, "-c", script], capture_output=True)

    assert (child.returncode, child.stdout, child.stderr) == (3, b"rows", b"problem")


@pytest.mark.parametrize(
    ("status", "text"), [(0, "exit status 0"), (3, "exit status 3"), (-9, "SIGKILL"), (-60, "signal 60")]
)
def test_the_end_of_a_process_has_a_description(status: int, text: str) -> None:
    assert describe_exit(status) == text
