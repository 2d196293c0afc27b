"""The threads of registries: when they poll, and when they stop."""

import time
from collections.abc import Iterator
from threading import Event
from types import SimpleNamespace
from typing import cast

from indexed_archive import temporary_index
from prometheus_client import CollectorRegistry

from service.analyses.ports import Ports
from service.archive.port import AnalysisIndex
from service.bootstrap.registries import RegistryThreads
from service.domain import RegistryEvent
from service.jobs.memory import InMemoryJobStore
from service.telemetry import Metrics
from service.web.hooks.receive_only import ReceiveOnlyRegistry

WAIT_SECONDS = 10.0


class PolledRegistry(ReceiveOnlyRegistry):
    """A registry without versions that records whether it was polled."""

    def __init__(self) -> None:
        super().__init__("prod", [], lambda event: event.model)
        self.was_polled = Event()

    def events(self) -> Iterator[RegistryEvent]:
        self.was_polled.set()
        return iter(())


def make_threads(index: AnalysisIndex, registry: PolledRegistry) -> RegistryThreads:
    ports = SimpleNamespace(stores=SimpleNamespace(jobs=InMemoryJobStore(time.time), index=index))
    return RegistryThreads(cast(Ports, ports), [registry], Metrics(CollectorRegistry()), poll_seconds=3600.0)


def test_a_registry_is_polled_once_the_index_is_complete() -> None:
    index, registry = temporary_index(), PolledRegistry()
    index.mark(is_complete=False)
    threads = make_threads(index, registry)
    threads.start()
    try:
        assert not registry.was_polled.wait(0.3)
        index.mark(is_complete=True)
        assert registry.was_polled.wait(WAIT_SECONDS)
    finally:
        threads.stop()


def test_a_thread_that_waits_for_the_index_stops_at_once() -> None:
    index, registry = temporary_index(), PolledRegistry()
    index.mark(is_complete=False)
    threads = make_threads(index, registry)
    threads.start()

    started = time.monotonic()
    threads.stop(WAIT_SECONDS)

    assert time.monotonic() - started < WAIT_SECONDS
    assert not registry.was_polled.is_set()
