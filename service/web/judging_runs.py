"""Runs that judge all archived analyses of a data set again, in threads of this process.

A run ends with its process. Starting it again creates only the missing analyses (service.analyses.reanalyze_all).
"""

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, replace

import structlog
from errata.errors import ErrataError, TooBusy

from service.analyses.ports import Ports
from service.analyses.reanalyze_all import ReanalysisProgress, reanalyze_all
from service.redact import log_fields, public_message

MAX_CHANGES = 2  # runs and other changes of evidence at once
MAX_RUNS = 100  # runs in memory
MAX_SKIPPED = 20  # analyses that a run names
RETRY_SECONDS = 10.0
_log = structlog.get_logger()


@dataclass(frozen=True)
class JudgingRun:
    """The progress of a run."""

    num_done: int = 0  # analyses
    num_total: int = 0
    num_new: int = 0
    num_skipped: int = 0
    skipped: tuple[tuple[str, str], ...] = ()  # the first MAX_SKIPPED: ID and reason
    problem: str = ""  # why it ended early; empty: it did not
    is_running: bool = True

    def add(self, progress: ReanalysisProgress) -> "JudgingRun":
        """Return the progress after a further analysis."""
        run = replace(self, num_done=progress.done, num_total=progress.total, num_new=self.num_new + progress.is_new)
        if not progress.reason:
            return run
        skipped = (*self.skipped, (progress.before, progress.reason))[:MAX_SKIPPED]
        return replace(run, num_skipped=self.num_skipped + 1, skipped=skipped)


class JudgingRuns:
    """The runs of this process, and the limit on concurrent changes of evidence."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._pool = ThreadPoolExecutor(MAX_CHANGES, thread_name_prefix="judge")
        self._slots = threading.BoundedSemaphore(MAX_CHANGES)
        self._is_stopping = threading.Event()
        self._lock = threading.Lock()
        self._runs: OrderedDict[tuple[str, str], JudgingRun] = OrderedDict()  # by data set and digest

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Run a block as one of MAX_CHANGES changes of evidence; raise TooBusy if all of them are in progress."""
        self._acquire()
        try:
            yield
        finally:
            self._slots.release()

    def start(self, dataset: str, digest: str, caller: str) -> None:
        """Start a run, unless it is running.

        Args:
            dataset: Name of the data set.
            digest: The full digest of a bundle.
            caller: Name of the caller's token; empty without a token.

        Raises:
            TooBusy: There are MAX_CHANGES changes of evidence.
        """
        key = (dataset, digest)
        with self._lock:
            known = self._runs.get(key)
            if known is not None and known.is_running:
                return
            self._acquire()
            self._runs[key] = JudgingRun()
            self._runs.move_to_end(key)
            if len(self._runs) > MAX_RUNS:
                del self._runs[next(old for old, run in self._runs.items() if not run.is_running)]
        try:
            self._pool.submit(copy_context().run, self._judge, key, caller)
        except RuntimeError:  # the service is stopping
            self._end(key, "The service is stopping. Start again.")

    def of_dataset(self, dataset: str) -> Mapping[str, JudgingRun]:
        """Return the runs of a data set by the digest of their bundle."""
        with self._lock:
            return {digest: run for (name, digest), run in self._runs.items() if name == dataset}

    def stop(self) -> None:
        """End the runs after their current analysis."""
        self._is_stopping.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _acquire(self) -> None:
        if not self._slots.acquire(blocking=False):
            raise TooBusy(
                f"Too many changes of evidence: at most {MAX_CHANGES} at once. Try again later.",
                retry_after=RETRY_SECONDS,
            )

    def _judge(self, key: tuple[str, str], caller: str) -> None:
        problem = ""
        try:
            for progress in reanalyze_all(self._ports, *key, caller):
                with self._lock:
                    self._runs[key] = self._runs[key].add(progress)
                if self._is_stopping.is_set():
                    problem = "The service was stopped. Start again."
                    break
        except ErrataError as error:
            problem = public_message(error)
            _log.warning("judging ended early", dataset=key[0], reason=error.reason, **log_fields(error))
        except Exception:
            problem = "The server log contains the details."
            _log.exception("judging failed", dataset=key[0])
        finally:
            self._end(key, problem)

    def _end(self, key: tuple[str, str], problem: str) -> None:
        with self._lock:
            self._runs[key] = replace(self._runs[key], problem=problem, is_running=False)
        self._slots.release()
