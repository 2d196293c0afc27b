"""Child processes: the environment variables they get, how they end with their parent, and the memory they hold.

It imports the standard library alone, since a child process runs it before anything else.
"""

import ctypes
import os
import signal
import sys
from pathlib import Path

ENVIRONMENT = frozenset({
    "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "TMPDIR",
})  # fmt: skip
PR_SET_PDEATHSIG = 1  # of linux/prctl.h
COUNTED = frozenset({"RssAnon", "RssShmem", "VmSwap"})  # not RssFile: the kernel drops pages of files when it must


def child_environment() -> dict[str, str]:
    """Return the environment variables of this process that a child process gets: none of the service's secrets."""
    return {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}


def exit_with_parent(parent: int) -> None:
    """Have the kernel kill the calling process when the thread that started it ends; exit if that has happened.

    Args:
        parent: Process id of the parent.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)


def used_memory(pid: int) -> int | None:
    """Return the bytes that a process holds and that the kernel cannot reclaim; None where /proc does not say."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    sizes = [line.split() for line in lines if line.partition(":")[0] in COUNTED]
    return 1024 * sum(int(size[1]) for size in sizes) if sizes else None
