"""The service's side of a fork server: starts it, sends it files, monitors the parsing, and ends it."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import BinaryIO

import structlog
from errata.errors import InvalidUpload, TruncatedUpload, Unavailable

from service.child_process import SINGLE_THREADED, child_environment, describe_exit, used_memory
from service.predictions.sandbox.limits import ParserLimits
from service.predictions.sandbox.messages import (
    DONE,
    MAX_MESSAGE,
    decode_event,
    encode_limits,
    encode_request,
    limit_exceeded,
    out_of_memory,
)
from service.predictions.uploads.binary import ParseRequest

POLL_SECONDS = 0.02  # interval between two checks of the memory; in it, the memory can grow by 50 MiB
READY_SECONDS = 20.0  # maximum wait for a fork server, or for the end of the previous file's process
SERVER = "service.predictions.sandbox.server"
_log = structlog.get_logger()


class ParserProcess:
    """One fork server. Only one thread at a time may call `parse`."""

    def __init__(self, limits: ParserLimits) -> None:
        self._limits = limits
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._is_stopped = False

    def start(self) -> None:
        """Start the process if it does not run; raise OSError if it cannot start, or after `stop`."""
        if self._is_stopped:
            raise ConnectionResetError("The fork server was stopped.")
        if self._process is not None and self._process.poll() is None:
            return
        self._end()
        service_end, server_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with closing(server_end):
            self._process = subprocess.Popen(
                [sys.executable, "-m", SERVER, str(server_end.fileno()), encode_limits(self._limits)],
                pass_fds=[server_end.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=child_environment() | SINGLE_THREADED,
                start_new_session=True,  # a process group that can be killed as a whole
            )
        self._control = service_end

    def stop(self) -> None:
        """End the process permanently, and any parsing. Any thread may call this."""
        self._is_stopped = True
        self._end()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if self._control is not None:
            self._control.close()
            self._control = None

    def parse(self, request: ParseRequest, file: BinaryIO, is_cancelled: Callable[[], bool]) -> bytes:
        """Parse a file, and return the output for `read_rows`.

        Raises:
            InvalidUpload: The parser crashed or exceeded a limit.
            TruncatedUpload: The upload was canceled.
            Unavailable: The fork server ended unexpectedly.
        """
        try:
            return self._parse(request, file, is_cancelled)
        except _Crash as crash:
            raise self._crash_error(crash.code) from None
        except OSError as error:
            self._restart()
            message = "The parser of binary uploads ended unexpectedly. Upload the file again."
            raise Unavailable(message, retry_after=1) from error
        except BaseException:
            self._restart()
            raise

    def _parse(self, request: ParseRequest, file: BinaryIO, is_cancelled: Callable[[], bool]) -> bytes:
        output = os.memfd_create("rows", os.MFD_CLOEXEC)
        try:
            ask = partial(self._ask, encode_request(request), [file.fileno(), output], is_cancelled)
            try:
                answer = ask()
            except (BrokenPipeError, ConnectionResetError):  # the process was killed before it read the request
                answer = ask()
            if answer != DONE:
                raise _Crash(self._event("exit")[0])
            return os.pread(output, min(os.fstat(output).st_size, self._limits.output), 0)
        finally:
            os.close(output)

    def _ask(self, request: bytes, descriptors: list[int], is_cancelled: Callable[[], bool]) -> bytes:
        """Send a request to the waiting process; return its answer, or b"" if the process ended without an answer."""
        pid, channel = self._next_process()
        with channel:
            socket.send_fds(channel, [request], descriptors)
            return self._receive_answer(channel, pid, is_cancelled)

    def _next_process(self) -> tuple[int, socket.socket]:
        """Return the ID of a process that waits for a file, and the socket to it."""
        self.start()
        try:
            pid, descriptors = self._event("pid")
        except OSError:  # the fork server was killed, or the process of the previous file has not ended
            self._restart()
            pid, descriptors = self._event("pid")
        return pid, socket.socket(fileno=descriptors[0])

    def _event(self, name: str) -> tuple[int, list[int]]:
        """Return the number and the descriptors of the fork server's next event of this name."""
        control = self._control
        if control is None:
            raise ConnectionResetError("The fork server was stopped.")
        control.settimeout(READY_SECONDS)
        while True:
            content, descriptors, *_ = socket.recv_fds(control, MAX_MESSAGE, 1)
            if not content:
                raise ConnectionResetError("The fork server has ended.")
            event, number = decode_event(content)
            if event == name:
                return number, descriptors

    def _receive_answer(self, channel: socket.socket, pid: int, is_cancelled: Callable[[], bool]) -> bytes:
        """Return the answer of a process, or b"" if the process ended; raise an error if it exceeds a limit."""
        deadline = time.monotonic() + self._limits.wall_seconds
        channel.settimeout(POLL_SECONDS)  # a timeout, because select() fails for descriptors from 1024 on
        while True:
            try:
                return channel.recv(MAX_MESSAGE)
            except TimeoutError:
                self._check_progress(pid, deadline, is_cancelled)

    def _check_progress(self, pid: int, deadline: float, is_cancelled: Callable[[], bool]) -> None:
        """Raise an error if a process exceeds a limit or the upload was canceled."""
        if is_cancelled():
            raise TruncatedUpload("The upload was canceled while its file was parsed.", field="chunk")
        if time.monotonic() > deadline:
            raise limit_exceeded(f"takes more than {self._limits.wall_seconds:g} seconds")
        if self._extra_memory(pid) > self._limits.memory:
            raise out_of_memory(self._limits)

    def _restart(self) -> None:
        self._end()
        if not self._is_stopped:
            self.start()

    def _extra_memory(self, pid: int) -> int:
        """Return the memory of a forked process beyond that of the fork server, in bytes."""
        server = self._process
        if server is None:
            raise ConnectionResetError("The fork server was stopped.")
        return (used_memory(pid) or 0) - (used_memory(server.pid) or 0)

    def _crash_error(self, code: int) -> InvalidUpload:
        """Return the error for a file whose parser ended with a code. Negative codes are signals."""
        if code == -signal.SIGXCPU:
            return limit_exceeded(f"takes more than {self._limits.cpu_seconds} seconds of CPU time")
        if code == -signal.SIGKILL:  # the kernel sends this signal when memory runs out
            return out_of_memory(self._limits)
        cause = describe_exit(code)
        _log.warning("parser of binary uploads crashed", code=cause)
        message = f"The file is damaged: its parser crashed ({cause}). Write it again, or upload CSV."
        return InvalidUpload(message, field="chunk")


class _Crash(Exception):
    """Raised when the process that parses a file ends without an answer."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code
