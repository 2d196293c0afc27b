"""One queue of outbox items for each registry, so that a slow registry delays only its own results."""

import time
import uuid
from collections import Counter
from collections.abc import Mapping
from queue import Empty, Full, Queue

from errata.errors import AnalysisNotFound

from service.analyses import queries
from service.analyses.ports import Ports
from service.analyses.write_back import (
    LEASE_SECONDS,
    POLL_SECONDS,
    WriteBackResult,
    Writer,
    registry_of,
    write_back,
)
from service.jobs.transitions import OutboxItem

MAX_QUEUED = 8  # items of a registry; further ones are due again after POLL_SECONDS
MAX_WAITING_SECONDS = LEASE_SECONDS / 2  # maximum time in a queue; after it, another process may soon lease the item


class WriteBackQueues:
    """Leases due outbox items, and writes them back. `process` is called by one thread for each registry."""

    def __init__(self, ports: Ports, writers: Mapping[str, Writer]) -> None:
        self._ports = ports
        self._writers = writers
        self._holder = uuid.uuid4().hex  # of the leases of registries
        self._queues: Mapping[str, Queue[tuple[OutboxItem, float]]] = {
            registry: Queue(MAX_QUEUED) for registry in writers
        }

    def dispatch(self) -> Counter[WriteBackResult]:
        """Lease all due items, and queue them.

        Returns:
            The outcomes of items without a configured registry, which are processed at once.

        Raises:
            Unavailable: The job store is unavailable.
        """
        jobs = self._ports.stores.jobs
        outcomes: Counter[WriteBackResult] = Counter()
        while item := jobs.next_outbox_item(LEASE_SECONDS):
            queue = self._find_queue(item)
            if queue is None:
                outcomes[write_back(self._ports, self._writers, item)] += 1
                continue
            try:
                queue.put_nowait((item, time.monotonic()))
            except Full:
                jobs.postpone_outbox_item(item, POLL_SECONDS, failed=False)
        return outcomes

    def process(self, registry: str, timeout: float) -> WriteBackResult | None:
        """Write back the next item of a registry.

        The registry is leased, and the lease of the item is renewed first. Meanwhile, no other process writes to the
        registry: it would compare its result with what the registry has before this write.

        Args:
            registry: The id of the registry.
            timeout: Seconds to wait for an item.

        Returns:
            The outcome; None if there is no item.

        Raises:
            Unavailable: The job store is unavailable.
        """
        try:
            item, queue_time = self._queues[registry].get(timeout=timeout)
        except Empty:
            return None
        if time.monotonic() - queue_time > MAX_WAITING_SECONDS:
            return WriteBackResult.WAITS  # the item is due again when its lease ends
        jobs = self._ports.stores.jobs
        is_leased = jobs.lease_registry(registry, self._holder, LEASE_SECONDS)
        jobs.postpone_outbox_item(item, LEASE_SECONDS if is_leased else POLL_SECONDS, failed=False)
        if not is_leased:
            return WriteBackResult.WAITS
        outcome = write_back(self._ports, self._writers, item)
        jobs.release_registry(registry, self._holder)
        return outcome

    def _find_queue(self, item: OutboxItem) -> "Queue[tuple[OutboxItem, float]] | None":
        try:
            return self._queues.get(registry_of(queries.get(self._ports.stores, item.analysis)))
        except AnalysisNotFound:
            return None
