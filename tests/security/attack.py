"""An attack: one or several copies of a hostile file, during valid uploads, measured from outside the service."""

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from security.process_tree import MemoryWatch, end_session
from security.service_process import ServiceProcess
from security.uploads import Answer, GoodUpload, send

DATASET = "imagenet-real"  # 50,000 images: the limits of an upload grow with the number of images
BETWEEN = 0.1  # seconds between two good uploads
HEAD_START = 0.2  # seconds between the hostile uploads and the first valid one


@dataclass(frozen=True)
class Limits:
    """The limits of an attack, enforced from outside."""

    seconds: float  # of a hostile call
    good_seconds: float  # of a good upload, with its repetitions
    memory: int  # bytes of the process tree, above which it is killed


@dataclass
class GoodUploads:
    """Good uploads one after another, in a thread, at least one of each; the slowest and the first failure."""

    uploads: Sequence[GoodUpload]
    address: str
    timeout: float  # seconds
    slowest: float = 0.0  # seconds
    count: int = 0
    failure: str = ""
    _stopped: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Upload until `stop`."""
        while not self.failure:
            self.once()
            if self._stopped.wait(BETWEEN):
                return

    def once(self) -> None:
        """Upload each file once."""
        for upload in self.uploads:
            try:
                self.slowest = max(self.slowest, upload.send(self.address, self.timeout).seconds)
                self.count += 1
            except AssertionError as error:
                self.failure = str(error)
                return

    def stop(self) -> None:
        """Stop after the current round."""
        self._stopped.set()

    @property
    def text(self) -> str:
        """Return the result as text for a table."""
        return "fails" if self.failure else f"{self.slowest:.1f} s"


@dataclass(frozen=True)
class Result:
    """The result of an attack."""

    size: int  # bytes of one copy, as sent
    answers: list[Answer]
    peak: int  # bytes of the process tree
    ended: str  # how or why the service ended; empty if it runs
    during: GoodUploads
    after: GoodUploads

    @property
    def seconds(self) -> float:
        """Return how long the slowest call took."""
        return max(answer.seconds for answer in self.answers)

    @property
    def outcome(self) -> str:
        """Return the answers, or how the service ended, for a table."""
        if self.ended:
            return self.ended
        counts = Counter(answer.text for answer in self.answers)
        if len(self.answers) == 1:
            return next(iter(counts))
        return ", ".join(f"{count} × {text}" for text, count in counts.most_common())


def attack(service: ServiceProcess, file: Path, copies: int, good: Sequence[GoodUpload], limits: Limits) -> Result:
    """Send a file some times at once, with good uploads during and after it; end a service that hangs."""
    during = GoodUploads(good, service.grpc, limits.good_seconds)
    after = GoodUploads(good, service.grpc, limits.good_seconds)
    background = threading.Thread(target=during.run)
    with MemoryWatch(service.pid, limits.memory) as watch:
        with ThreadPoolExecutor(copies) as pool:
            calls = [pool.submit(_send, service.grpc, file, limits.seconds) for _ in range(copies)]
            time.sleep(HEAD_START)
            background.start()
            answers = [call.result() for call in calls]
        during.stop()
        background.join()
        after.once()
    ended = _ended(service, watch, answers, limits)
    if ended:
        end_session(service.pid)
    return Result(file.stat().st_size, answers, watch.peak, ended, during, after)


def _send(address: str, file: Path, timeout: float) -> Answer:
    with file.open("rb") as content:
        return send(address, content, DATASET, timeout)


def _ended(service: ServiceProcess, watch: MemoryWatch, answers: Sequence[Answer], limits: Limits) -> str:
    if watch.killed:
        return f"killed at {limits.memory >> 30} GiB"
    if any(answer.code is grpc.StatusCode.UNAVAILABLE for answer in answers):
        with contextlib.suppress(Exception):
            service.process.wait(5)  # a connection closes before its process has ended
    if ended := service.ended():
        return ended
    if any(answer.code is grpc.StatusCode.DEADLINE_EXCEEDED for answer in answers):
        return f"no answer after {limits.seconds:g} s"
    return ""
