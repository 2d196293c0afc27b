"""The service's side of the processes that decode images: starts them, sends them images, and ends them."""

import socket
import subprocess
import sys
import threading
import time
from contextlib import closing
from typing import Protocol

import structlog
from errata.errors import Unavailable

from service.child_process import child_environment, describe_exit
from service.predictions.pictures.messages import (
    OK,
    PictureRequest,
    SlowPicture,
    UnreadablePicture,
    encode_request,
    read_answer,
)
from service.predictions.sandbox.fair_queue import FairQueue

PROCESSES = 2
WALL_SECONDS = 30.0  # time limit for one image, including the start of its process
WAIT_SECONDS = 20.0  # maximum wait for a free process
RETURN_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(4 << 20)}  # return large blocks to the system after each image
DECODER = "service.predictions.pictures.decoder"
EXIT_SECONDS = 0.5  # maximum wait for the exit status of a process that has closed its socket
MIN_TIMEOUT = 0.001  # seconds
JPEG_START = b"\xff\xd8\xff"
_log = structlog.get_logger()


class Decoder(Protocol):
    """Makes JPEGs of images."""

    def make(self, content: bytes, request: PictureRequest) -> bytes:
        """Return an image as a JPEG.

        Raises:
            UnreadablePicture: The image is damaged, or decoding it exceeds a limit.
            SlowPicture: Decoding the image takes too long on this machine.
            Unavailable: No process is free in time, or the service is stopping.
        """
        ...

    def stop(self) -> None:
        """End the processes for good."""
        ...


class DecoderProcess:
    """One process, which starts with its first image. Thread-safe; decodes one image at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._is_stopped = False

    def make(self, content: bytes, request: PictureRequest) -> bytes:
        """Return an image as a JPEG; see `Decoder`."""
        with self._lock:
            state, answer = self._exchange(encode_request(request, content), time.monotonic() + WALL_SECONDS)
        if state == OK and answer.startswith(JPEG_START):
            return answer
        raise UnreadablePicture(answer[:200].decode(errors="replace"))

    def stop(self) -> None:
        """End the process permanently."""
        self._is_stopped = True
        if (process := self._process) is not None:
            process.kill()
        with self._lock:
            self._end()

    def _exchange(self, message: bytes, deadline: float) -> tuple[int, bytes]:
        """Return the state and content of the answer. If the process ends without an answer, try again once."""
        causes: list[str] = []
        while len(causes) < 2 and "SIGXCPU" not in causes:
            try:
                return self._send(message, deadline)
            except TimeoutError:
                self._end()
                raise SlowPicture(f"Decoding the image takes more than {WALL_SECONDS:g} seconds.") from None
            except (EOFError, OSError, ValueError) as error:
                causes.append(self._end() or repr(error))
        _log.warning("decoder of images crashed", causes=causes)
        raise UnreadablePicture(f"The decoder of the image crashed ({causes[-1]}).")

    def _send(self, message: bytes, deadline: float) -> tuple[int, bytes]:
        """Send a message, and return the answer; raise TimeoutError at the deadline."""
        channel = self._start()

        def read(size: int) -> bytes:
            channel.settimeout(max(MIN_TIMEOUT, deadline - time.monotonic()))  # 0 would make the socket non-blocking
            return channel.recv(size)

        channel.settimeout(WALL_SECONDS)
        channel.sendall(message)
        return read_answer(read)

    def _start(self) -> socket.socket:
        """Start the process if it does not run, and return the socket to it."""
        if self._is_stopped:
            raise Unavailable("The service is stopping. Try again later.", retry_after=5.0)
        if self._channel is not None and self._process is not None and self._process.poll() is None:
            return self._channel
        self._end()
        service_end, decoder_end = socket.socketpair()
        with closing(decoder_end):
            self._process = subprocess.Popen(
                [sys.executable, "-m", DECODER, str(decoder_end.fileno())],
                pass_fds=[decoder_end.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=child_environment() | RETURN_MEMORY,
                start_new_session=True,  # Ctrl+C ends only the service; then the closed socket ends this process
            )
        self._channel = service_end
        return service_end

    def _end(self) -> str:
        """End the process. If it had already ended, describe its exit; otherwise, return an empty text."""
        process, self._process = self._process, None
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()
        if process is None:
            return ""
        try:
            return describe_exit(process.wait(EXIT_SECONDS))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return ""


class DecoderPool:
    """Decodes images in a few processes; further images wait. Thread-safe."""

    def __init__(self, size: int = PROCESSES) -> None:
        self._processes = [DecoderProcess() for _ in range(size)]
        self._queue = FairQueue(self._processes, WAIT_SECONDS)

    def make(self, content: bytes, request: PictureRequest) -> bytes:
        """Return an image as a JPEG; see `Decoder`."""
        with self._queue.acquire(caller="", is_cancelled=lambda: False) as process:
            return process.make(content, request)

    def stop(self) -> None:
        """End the processes for good."""
        for process in self._processes:
            process.stop()
