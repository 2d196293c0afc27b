"""The handlers of the signals that stop a process."""

import asyncio
import signal
from collections.abc import Iterator
from unittest.mock import Mock

import pytest

from service.bootstrap.process import stop_on_signals

GRACE = 60.0


@pytest.fixture(autouse=True)
def handlers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Start no watchdog, do not ignore SIGHUP as under nohup, and restore the handlers after the test."""
    monkeypatch.setattr("service.bootstrap.process.Watchdog", Mock())
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


async def test_sighup_stays_ignored_under_nohup() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    with stop_on_signals(asyncio.Event(), GRACE):
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


async def test_a_repeated_sighup_does_not_end_the_process() -> None:
    """A shell and the kernel both send it when a terminal closes."""
    stopped = asyncio.Event()

    with stop_on_signals(stopped, GRACE):
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGHUP)
        await asyncio.wait_for(stopped.wait(), 10)
