"""The memory of a process and its descendants, sampled from outside, with a limit that kills them."""

import contextlib
import os
import signal
import threading
import time
from pathlib import Path
from types import TracebackType

INTERVAL = 0.02  # seconds between samples
PROC = Path("/proc")


def members(leader: int) -> list[int]:
    """Return the processes of a leader's session and all their descendants, which may be in other sessions."""
    parents, result = {}, {leader}
    for entry in PROC.iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):  # it has ended
                _, parent, _, session, *_ = (entry / "stat").read_text().rpartition(")")[2].split()
                parents[int(entry.name)] = int(parent)
                if int(session) == leader:
                    result.add(int(entry.name))
    added = result
    while added:
        added = {pid for pid, parent in parents.items() if parent in added} - result
        result |= added
    return sorted(result & parents.keys())


def memory_of(pid: int) -> int:
    """Return the proportional set size of a process in bytes, or its resident size where the kernel has none."""
    for name, key in (("smaps_rollup", "Pss:"), ("status", "VmRSS:")):
        with contextlib.suppress(OSError):  # the kernel lacks the file, or the process has ended
            for line in (PROC / str(pid) / name).read_text().splitlines():
                if line.startswith(key):
                    return int(line.split()[1]) << 10
    return 0


def cpu_seconds(session: int) -> float:
    """Return the CPU time that the living members of a session have used."""
    ticks = 0
    for pid in members(session):
        with contextlib.suppress(OSError):
            fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def end_session(session: int) -> None:
    """Kill all members of a session."""
    for pid in members(session):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


class MemoryWatch:
    """Samples the memory of a session until its block ends, and kills the session above a limit."""

    def __init__(self, session: int, limit: int) -> None:
        """Watch a session.

        Args:
            session: The process id of its leader.
            limit: Bytes; the session is killed above it, to protect the machine.
        """
        self.peak = 0  # bytes
        self.killed = False
        self._session = session
        self._limit = limit
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "MemoryWatch":
        self._sample()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stopped.wait(max(0.0, due - time.monotonic())):
            self._sample()
            due = max(due + INTERVAL, time.monotonic())

    def _sample(self) -> None:
        memory = sum(memory_of(pid) for pid in members(self._session))
        self.peak = max(self.peak, memory)
        if memory > self._limit:
            self.killed = True
            end_session(self._session)
