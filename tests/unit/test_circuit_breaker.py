"""The circuit breaker: a slow failure opens it, a thread probes the server, and an answer closes it."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from service import circuit_breaker
from service.circuit_breaker import CircuitBreaker, CircuitOpen


class Server:
    """A fake server behind a breaker; tests decide when it answers probes."""

    def __init__(self) -> None:
        self.breaker = CircuitBreaker(self.probe)
        self.answers: list[bool | Exception] = []  # to the next probes, which wait while there are none
        self.more = threading.Semaphore(0)
        self.probes = 0
        self.calls = 0

    def probe(self) -> bool:
        self.probes += 1
        self.more.acquire()
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def answer_probe(self, answer: bool | Exception) -> None:
        self.answers.append(answer)
        self.more.release()

    def call(self, error: Exception | None = None, seconds: float = 0.0) -> None:
        with self.breaker.call(ConnectionError, TimeoutError):
            self.calls += 1
            time.sleep(seconds)
            if error is not None:
                raise error


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(circuit_breaker, "SLOW_SECONDS", 0.05)
    server = Server()
    yield server
    server.answer_probe(True)  # ends the thread of an open breaker


def time_out(server: Server) -> None:
    with pytest.raises(TimeoutError):
        server.call(TimeoutError("no answer in time"), circuit_breaker.SLOW_SECONDS)


def wait_until_closed(server: Server) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            return server.call()
        except CircuitOpen:
            time.sleep(0.01)
    pytest.fail("the breaker is still open")


def test_after_a_timeout_calls_fail_without_a_connection(server: Server) -> None:
    time_out(server)

    for _ in range(3):
        with pytest.raises(CircuitOpen, match="no answer in time"):
            server.call()
    assert server.calls == 1


def test_a_rejected_connection_does_not_open_the_breaker(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(circuit_breaker, "SLOW_SECONDS", 60.0)  # a busy machine delays the error
    with pytest.raises(ConnectionError):
        server.call(ConnectionError())

    server.call()
    assert (server.calls, server.probes) == (2, 0)


def test_a_slow_error_of_the_server_does_not_open_the_breaker(server: Server) -> None:
    with pytest.raises(ValueError, match="wrong"):
        server.call(ValueError("wrong"), circuit_breaker.SLOW_SECONDS)

    server.call()
    assert (server.calls, server.probes) == (2, 0)


@pytest.mark.parametrize("failed", [False, RuntimeError("a bug")])
def test_the_breaker_stays_open_until_a_probe_is_answered(server: Server, failed: bool | Exception) -> None:
    time_out(server)
    server.answer_probe(failed)
    with pytest.raises(CircuitOpen):
        server.call()

    server.answer_probe(True)

    wait_until_closed(server)
    assert server.probes == 2


def test_concurrent_timeouts_start_one_probe(server: Server) -> None:
    entered = threading.Barrier(8, timeout=10)

    def time_out_together() -> None:
        with server.breaker.call(TimeoutError):
            entered.wait()  # the first timeout opens the breaker for later calls
            time.sleep(circuit_breaker.SLOW_SECONDS)
            raise TimeoutError

    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(time_out_together) for _ in range(8)]
    assert [type(call.exception()) for call in calls] == [TimeoutError] * 8
    server.answer_probe(True)
    wait_until_closed(server)

    assert server.probes == 1


def test_a_closed_breaker_opens_again(server: Server) -> None:
    time_out(server)
    server.answer_probe(True)
    wait_until_closed(server)

    time_out(server)

    with pytest.raises(CircuitOpen):
        server.call()
