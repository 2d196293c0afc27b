"""One child process that runs models, and the thread that starts, monitors, and reaps the process."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import Enum
from threading import Event, Lock, Thread
from typing import BinaryIO, cast

from service.child_process import used_memory
from service.predictions.model_process.protocol import Message, ProtocolError, read_message, write_message

POLL_SECONDS = 0.1  # interval between two checks of memory and deadline


class KillReason(Enum):
    """Why the process was killed."""

    DEADLINE = "deadline"
    MEMORY = "memory"
    PROTOCOL = "protocol"  # the process sent an invalid message
    INTERRUPTED = "interrupted"  # the caller no longer needs the response


class ProcessEnded(Exception):
    """Raised when the process ends without a response.

    Attributes:
        kill_reason: Why it was killed; None if it ended by itself.
        code: Exit status, negative for a signal.
    """

    def __init__(self, kill_reason: KillReason | None, code: int) -> None:
        super().__init__(f"{kill_reason.value if kill_reason else 'ended'}, exit status {code}")
        self.kill_reason = kill_reason
        self.code = code

    @property
    def signal_name(self) -> str:
        """Return the name of the signal that ended the process; empty if it exited."""
        return signal.Signals(-self.code).name if self.code < 0 else ""


class Interrupted(Exception):
    """Raised instead of ProcessEnded if the process was killed because the caller no longer needs the response."""


class ModelProcess:
    """Runs `python -m service.predictions.model_process` until `kill`, or until this process ends.

    With PR_SET_PDEATHSIG, the kernel kills a child when the *thread* that started it ends. Therefore, the monitoring
    thread also starts the child, and ends only after the child.
    """

    def __init__(self, environment: Mapping[str, str], max_memory: int | None) -> None:
        """Configure the process.

        Args:
            environment: Environment variables.
            max_memory: Memory in bytes above which the process is killed; None: no limit.
        """
        self._environment = environment
        self._max_memory = max_memory
        self._deadline: float | None = None
        self._kill_reason: KillReason | None = None
        self._lock = Lock()  # prevents signals to a reaped process, whose ID may belong to another process
        self._started, self._wake = Event(), Event()
        self._child: subprocess.Popen[bytes] | None = None
        self._error: OSError | None = None
        self._thread = Thread(target=self._run, name="model-process", daemon=True)

    def start(self) -> None:
        """Start the child; raise OSError if the operating system refuses."""
        self._thread.start()
        self._started.wait()
        if self._error is not None:
            raise self._error

    @property
    def pid(self) -> int:
        """Return the process ID."""
        return self._running.pid

    @property
    def is_alive(self) -> bool:
        """Return whether the process runs."""
        with self._lock:
            return self._kill_reason is None and self._running.poll() is None

    def kill(self, reason: KillReason) -> None:
        """Kill the process if it runs."""
        with self._lock:
            if self._kill_reason is None and self._running.returncode is None:
                self._kill_reason = reason
                with suppress(ProcessLookupError):
                    os.killpg(self._running.pid, signal.SIGKILL)
        self._wake.set()

    @contextmanager
    def time_limit(self, seconds: float) -> Iterator[None]:
        """Kill the process if the block takes longer than a number of seconds."""
        self._deadline = time.monotonic() + seconds
        try:
            yield
        finally:
            self._deadline = None

    def send(self, message: Message) -> None:
        """Send a request; raise ProcessEnded or Interrupted if the process has ended."""
        try:
            write_message(cast("BinaryIO", self._running.stdin), message)
        except OSError as error:
            raise self._wait_for_end() from error

    def receive(self, max_header: int, max_body: int = 0) -> Message:
        """Return the next response; raise ProcessEnded or Interrupted if there is none, or if it is invalid."""
        try:
            return read_message(cast("BinaryIO", self._running.stdout), max_header, max_body)
        except (EOFError, OSError) as error:
            raise self._wait_for_end() from error
        except ProtocolError as error:
            raise self.kill_for_protocol_error() from error

    def kill_for_protocol_error(self) -> ProcessEnded | Interrupted:
        """Kill the process after an invalid response, and return the error to raise."""
        self.kill(KillReason.PROTOCOL)
        return self._wait_for_end()

    def close(self) -> None:
        """Kill the process, wait for its end, and close its pipes."""
        self.kill(KillReason.INTERRUPTED)
        self._thread.join()
        for stream in (self._running.stdin, self._running.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()

    @property
    def _running(self) -> "subprocess.Popen[bytes]":
        assert self._child is not None, "This is a bug: the process was not started."
        return self._child

    def _wait_for_end(self) -> ProcessEnded | Interrupted:
        """Wait until a process whose pipes are closed is reaped, and return the error to raise."""
        self._wake.set()
        self._thread.join()
        if self._kill_reason is KillReason.INTERRUPTED:
            return Interrupted()
        return ProcessEnded(self._kill_reason, self._running.returncode)

    def _run(self) -> None:
        try:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "service.predictions.model_process", str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,  # own process group, so that Ctrl-C reaches only the worker
                env=self._environment,
            )
        except OSError as error:
            self._error = error
            return
        finally:
            self._started.set()
        while not self._has_ended():
            deadline, memory = self._deadline, used_memory(self._child.pid)
            if deadline is not None and time.monotonic() > deadline:
                self.kill(KillReason.DEADLINE)
            elif self._max_memory is not None and memory is not None and memory > self._max_memory:
                self.kill(KillReason.MEMORY)
            self._wake.wait(POLL_SECONDS)
            self._wake.clear()

    def _has_ended(self) -> bool:
        with self._lock:
            return self._running.poll() is not None
