"""One child process that runs models, with the thread that starts, watches, and reaps it."""

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

WATCH_SECONDS = 0.1  # between two looks at memory and deadline


class KillReason(Enum):
    """Why the process was killed."""

    DEADLINE = "deadline"
    MEMORY = "memory"
    PROTOCOL = "protocol"  # it sent a frame that breaks the protocol
    INTERRUPTED = "interrupted"  # the caller no longer needs the answer


class ProcessEnded(Exception):
    """Raised when the process has ended instead of answering.

    Attributes:
        ending: Why it was killed; None if it ended by itself.
        code: Its exit status, negative for a signal.
    """

    def __init__(self, kill_reason: KillReason | None, code: int) -> None:
        super().__init__(f"{kill_reason.value if kill_reason else 'ended'}, exit status {code}")
        self.kill_reason = kill_reason
        self.code = code

    @property
    def signal_name(self) -> str:
        """Return the name of the signal that ended it; empty if it exited."""
        return signal.Signals(-self.code).name if self.code < 0 else ""


class ModelProcess:
    """Runs `python -m service.predictions.model_process` until `kill`, or until this process ends.

    The kernel kills a child that asked for it (PR_SET_PDEATHSIG) when the *thread* that started it ends, so the thread
    that watches the child also starts it, and lives as long as the child.
    """

    def __init__(self, environment: Mapping[str, str], max_memory: int | None) -> None:
        self._environment = environment
        self._max_memory = max_memory
        self._deadline: float | None = None
        self._kill_reason: KillReason | None = None
        self._lock = Lock()  # a process that is reaped must not be signaled: its id may be another's by then
        self._started, self._wake = Event(), Event()
        self._child: subprocess.Popen[bytes] | None = None
        self._error: OSError | None = None
        self._thread = Thread(target=self._run, name="model-process", daemon=True)

    def start(self) -> None:
        """Start the child; raise OSError if the system does not let it."""
        self._thread.start()
        self._started.wait()
        if self._error is not None:
            raise self._error

    @property
    def pid(self) -> int:
        """Return the id of the process."""
        return self._running.pid

    @property
    def alive(self) -> bool:
        """Say whether it runs."""
        with self._lock:
            return self._kill_reason is None and self._running.poll() is None

    def kill(self, kill_reason: KillReason) -> None:
        """Kill the process, whatever it does."""
        with self._lock:
            if self._kill_reason is None and self._running.returncode is None:
                self._kill_reason = kill_reason
                with suppress(ProcessLookupError):
                    os.killpg(self._running.pid, signal.SIGKILL)
        self._wake.set()

    @contextmanager
    def time_limit(self, seconds: float) -> Iterator[None]:
        """Kill the process if a block takes longer."""
        self._deadline = time.monotonic() + seconds
        try:
            yield
        finally:
            self._deadline = None

    def send(self, message: Message) -> None:
        """Send a request; raise ProcessEnded if there is no one to read it."""
        try:
            write_message(cast("BinaryIO", self._running.stdin), message)
        except OSError as error:
            raise self._ended() from error

    def receive(self, max_header: int, max_body: int = 0) -> Message:
        """Return the next answer; raise ProcessEnded if none comes, or if it breaks the protocol."""
        try:
            return read_message(cast("BinaryIO", self._running.stdout), max_header, max_body)
        except (EOFError, OSError) as error:
            raise self._ended() from error
        except ProtocolError as error:
            raise self.broke_protocol() from error

    def broke_protocol(self) -> ProcessEnded:
        """Kill the process for an answer that is no answer; return what to raise."""
        self.kill(KillReason.PROTOCOL)
        return self._ended()

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

    def _ended(self) -> ProcessEnded:
        """Wait until the process is reaped: its pipes are closed, so it ends now or has ended."""
        self._wake.set()
        self._thread.join()
        return ProcessEnded(self._kill_reason, self._running.returncode)

    def _run(self) -> None:
        try:
            self._child = subprocess.Popen(  # of its own session: Ctrl-C is for the worker
                [sys.executable, "-m", "service.predictions.model_process", str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,
                env=self._environment,
            )
        except OSError as error:
            self._error = error
            return
        finally:
            self._started.set()
        while not self._has_ended():
            deadline, held = self._deadline, used_memory(self._child.pid)
            if deadline is not None and time.monotonic() > deadline:
                self.kill(KillReason.DEADLINE)
            elif self._max_memory is not None and held is not None and held > self._max_memory:
                self.kill(KillReason.MEMORY)
            self._wake.wait(WATCH_SECONDS)
            self._wake.clear()

    def _has_ended(self) -> bool:
        with self._lock:
            return self._running.poll() is not None
