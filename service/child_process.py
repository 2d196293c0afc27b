"""Child processes: their environment variables, their exit when the parent exits, their limits, and memory.

This module imports only the standard library, because a child process runs it before anything else.
"""

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

INHERITED_VARIABLES = frozenset({
    "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "TMPDIR",
})  # fmt: skip
PR_SET_PDEATHSIG = 1  # constant from linux/prctl.h
MEMORY_FIELDS = frozenset({"RssAnon", "RssShmem", "VmSwap"})  # not RssFile: the kernel can drop pages of files
SINGLE_THREADED = {
    "OPENBLAS_NUM_THREADS": "1",  # a process with threads must not fork, and needs more address space
    "OMP_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    "ARROW_DEFAULT_MEMORY_POOL": "system",  # maps no arenas, so that the limits apply to used memory
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(64 << 20),  # freed memory stays mapped; mapping it again doubles the time of a parser
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
}


def child_environment() -> dict[str, str]:
    """Return the environment variables that a child process inherits. They contain no secrets of the service."""
    return {name: os.environ[name] for name in INHERITED_VARIABLES if name in os.environ}


def exit_with_parent(parent: int) -> None:
    """Have the kernel kill the calling process when the parent thread ends; exit if the parent has already ended.

    Args:
        parent: Process ID of the parent.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)


def exit_at_once(status: int) -> NoReturn:
    """End the calling process without the cleanup of its libraries, which can crash; flush the standard streams."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def lower_limits(limits: Mapping[int, int]) -> None:
    """Limit resources of the calling process, keyed by `resource.RLIMIT_…`. A lower limit stays in effect."""
    for kind, limit in limits.items():
        _, maximum = resource.getrlimit(kind)
        hard = limit + (kind == resource.RLIMIT_CPU)  # SIGXCPU at the soft limit, SIGKILL at the hard limit
        hard = hard if maximum == resource.RLIM_INFINITY else min(hard, maximum)
        resource.setrlimit(kind, (min(limit, hard), hard))


def describe_exit(status: int) -> str:
    """Return the name of the signal that ended a process, or its exit status, as `subprocess` reports it."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:  # a real-time signal
        return f"signal {-status}"


def used_memory(pid: int) -> int | None:
    """Return the memory of a process that the kernel cannot reclaim, in bytes; None if /proc does not show it."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    sizes = [line.split() for line in lines if line.partition(":")[0] in MEMORY_FIELDS]
    return 1024 * sum(int(size[1]) for size in sizes) if sizes else None
