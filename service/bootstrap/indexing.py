"""The archive of an API process with its index, and the threads that update the index."""

import asyncio
import time

from service.archive.archive import open_archive
from service.archive.index.comparison import Comparison
from service.archive.index.slots import open_index
from service.archive.indexed import IndexedArchive
from service.archive.notices import RedisNotices
from service.bootstrap.metrics_collectors import archive_interval
from service.periodic_task import PeriodicTask
from service.settings import Settings
from service.telemetry import Metrics

FIRST_SECONDS = 1.0  # maximum wait at start, in which a small archive is indexed completely
POLL_SECONDS = 0.01


class Indexing:
    """Opens the index of a process, and updates it until it is stopped.

    Args:
        settings: The settings.
        metrics: The metrics of the process.
        notices: The notices of other processes; None: there are no other processes.
    """

    def __init__(self, settings: Settings, metrics: Metrics, notices: RedisNotices | None = None) -> None:
        self._file, self._index = open_index(settings.data_dir / "index")
        self._notices = notices
        self.archive = IndexedArchive(
            open_archive(settings.archive_location),
            self._index,
            announce=notices.send if notices is not None else lambda _: None,
        )
        self._comparison = Comparison(self.archive, metrics.index_pending.set)
        self._task = PeriodicTask("index", self._comparison, archive_interval(settings))
        self._index.on_replaced = self._rebuild

    def start(self) -> None:
        """Start the threads."""
        self._task.start()
        if self._notices is not None:
            self._notices.start(self.archive.refresh, on_connected=self._task.wake)

    async def wait(self, stopped: asyncio.Event) -> None:
        """Wait for the first comparison, for at most FIRST_SECONDS, so that a rebuild does not delay the start."""
        deadline = time.monotonic() + FIRST_SECONDS
        while not (self._comparison.first_ended.is_set() or stopped.is_set() or time.monotonic() > deadline):
            await asyncio.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """Stop the threads, and release the file."""
        self._comparison.stop()
        self._task.stop()
        if self._notices is not None:
            self._notices.stop()
        self._index.close()
        self._file.close()

    def _rebuild(self) -> None:
        self._comparison.restart()
        self._task.wake()
