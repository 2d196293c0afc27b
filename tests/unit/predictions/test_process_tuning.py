"""Process tuning, tested in a separate process because it changes the whole process."""

import os
import platform
import subprocess
import sys

import pytest

PROGRAM = """
import os, resource, sys, threading
from service.predictions.process_tuning import tune_process
if sys.argv[1] == "tuned":
    tune_process()
def work():
    b"x" * (40 << 20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        b"x" * (40 << 20)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before, os.environ.get("OMP_WAIT_POLICY"))
thread = threading.Thread(target=work)  # as a worker's
thread.start()
thread.join()
"""


def measure(how: str, **environment: str) -> tuple[int, str]:
    clean = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "MALLOC_ARENA_MAX")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, how], env=clean | environment, check=True, capture_output=True, text=True
    )
    faults, policy = done.stdout.split()
    return int(faults), policy


@pytest.mark.processes
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
def test_freed_memory_is_reused_without_page_faults() -> None:
    plain, tuned = measure("plain")[0], measure("tuned")[0]

    assert plain > 50  # five times 10,240 pages, or 20 where the kernel gives large ones
    assert tuned < plain / 10


@pytest.mark.processes
def test_openmp_waits_without_spinning_unless_the_user_wants_it() -> None:
    assert measure("tuned")[1] == "PASSIVE"
    assert measure("tuned", OMP_WAIT_POLICY="ACTIVE")[1] == "ACTIVE"
    assert measure("plain")[1] == "None"
