"""A frozen Redis (SIGSTOP) accepts connections but does not respond: reads continue, and writes are refused."""

import logging
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from errata import Client, errors, pb

from .cluster import Cluster, cluster, wait_for

MODEL = "demo:efficientnet_lite0"
READS, CALLERS = 200, 16
_log = logging.getLogger(__name__)  # pytest --log-cli-level=INFO shows the figures
PATIENCE = 1.5  # seconds: less than the timeout of Redis calls, and much more than a read


@pytest.fixture
def service(data_dir: Path, tmp_path: Path) -> Iterator[Cluster]:
    """The service with one worker that needs half a second per analysis."""
    with cluster(data_dir, tmp_path, seconds=0.01) as running:
        yield running


def run_analysis(client: Client) -> str:
    """Run an analysis and return its name."""
    name = client.analyze(MODEL, "demo", fresh=True).name
    wait_for(lambda: client.get(name).state == pb.Analysis.STATE_SUCCEEDED, "the analysis succeeds")
    return name


def durations(read: Callable[[], object]) -> list[float]:
    """Return the durations of 200 reads by 16 callers."""

    def stage_timer(_: int) -> float:
        started = time.monotonic()
        read()
        return time.monotonic() - started

    with ThreadPoolExecutor(CALLERS) as pool:
        return sorted(pool.map(stage_timer, range(READS)))


def summary(name: str, seconds: list[float], total: float) -> str:
    slow = sum(second > PATIENCE for second in seconds)
    return f"{name}: {READS} reads in {total:.1f} s, {slow} over {PATIENCE} s, slowest {seconds[-1]:.2f} s"


def test_finished_analyses_are_served_while_redis_is_frozen(service: Cluster) -> None:
    with service.client() as client:
        name = run_analysis(client)
        service.redis.signal(signal.SIGSTOP)
        for what, read, most_slow in (
            ("get", lambda: client.get(name), 0),
            ("list", lambda: list(client.list()), CALLERS),  # calls in progress when the first one times out
            ("verdicts", lambda: list(client.verdicts(name)), 0),
        ):
            started = time.monotonic()
            seconds = durations(read)
            _log.info(summary(what, seconds, time.monotonic() - started))
            assert sum(second > PATIENCE for second in seconds) <= most_slow, what
        assert [item.name for item in client.list()] == [name]


def test_a_frozen_redis_is_detected_after_the_first_calls_and_recovers(service: Cluster) -> None:
    def submit() -> str:
        return client.analyze(MODEL, "demo", fresh=True).name

    def submit_and_refuse() -> None:
        with pytest.raises(errors.Unavailable) as caught:
            submit()
        assert caught.value.retry_after is not None

    with service.client() as client:
        run_analysis(client)
        service.redis.signal(signal.SIGSTOP)
        started = time.monotonic()
        seconds = durations(submit_and_refuse)
        _log.info(summary("submit", seconds, time.monotonic() - started))
        assert sum(second > PATIENCE for second in seconds) <= CALLERS
        wait_for(lambda: not service.ready(), "the service is not ready")

        service.redis.signal(signal.SIGCONT)

        wait_for(service.ready, "the service is ready again")
        run_analysis(client)


def test_a_worker_continues_while_redis_is_frozen_and_stores_its_result_later(data_dir: Path, tmp_path: Path) -> None:
    with cluster(data_dir, tmp_path, seconds=0.5) as service, service.client() as client:  # 2.5 s per shard
        name = client.analyze(MODEL, "demo", fresh=True).name
        wait_for(lambda: client.get(name).progress.done > 0, "it runs")
        service.redis.signal(signal.SIGSTOP)
        wait_for(lambda: breaker_events(service, "opened"), "the worker's breaker opens")
        time.sleep(3)  # the shard ends meanwhile

        service.redis.signal(signal.SIGCONT)

        wait_for(lambda: client.get(name).state == pb.Analysis.STATE_SUCCEEDED, "the analysis succeeds")
        assert breaker_events(service, "closed")
        assert service.events("shard failed with a transient error") == []
        runs = Counter(event["shard"] for event in service.events("shard claimed"))
        assert runs == {0: 1, 1: 1, 2: 1, 3: 1}, "no shard was predicted twice"


def breaker_events(service: Cluster, what: str) -> bool:
    """Return the events of the worker's circuit breaker, from the last log file."""
    log = sorted(service.folder.glob("*.log"))[-1]
    return f"circuit breaker {what}" in log.read_text()
