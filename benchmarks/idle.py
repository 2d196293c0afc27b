"""An idle service: Redis commands per second of the API and of a worker, and the time until an idle worker starts.

The reference is a worker of Dramatiq with its default settings and one queue on the same Redis.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Queue
from statistics import median

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker
from errata import Client

from benchmarks.caller import analyze, seconds_to_start
from benchmarks.harness import Case, Result, at_most
from benchmarks.processes import redis_server, running

SECONDS, SETTLE_SECONDS = 20.0, 5.0
# Seconds before a request, so that requests meet a consumer at different points of its pause.
PAUSES = (0.0, 0.1, 0.35, 0.8, 1.3) * 3
REFERENCE = "an idle Dramatiq worker with one queue"
API = Case("idle.api", "Redis commands per second of an idle API", REFERENCE, "/s", at_most(2))
WORKER = Case("idle.worker", "Redis commands per second of an idle worker", REFERENCE, "/s", at_most(2))
START = Case(
    "idle.start", "from submit to the start of work on an idle worker", "a message of Dramatiq", "ms", at_most(1)
)


def measure() -> Iterator[Result]:
    """Yield the results, commands inside scripts included."""
    with redis_server() as (url, folder):
        with _plain_worker(url) as send:
            plain = _commands_per_second(url)
            pick_up = median(_seconds_after_a_pause(pause, send) for pause in PAUSES)
        with running(url, folder, 0):
            api = _commands_per_second(url)
        yield API.measured(api, plain)
        with running(url, folder, 1) as address, Client(address) as client:
            yield WORKER.measured(_commands_per_second(url) - api, plain)
            analyze(client)  # loads the model
            waits = [_seconds_after_a_pause(pause, lambda: seconds_to_start(analyze(client))) for pause in PAUSES]
            yield START.measured(median(waits), pick_up)


@contextmanager
def _plain_worker(url: str) -> Iterator[Callable[[], float]]:
    """Run a worker of Dramatiq; yield a function that sends a message and returns the seconds until it starts."""
    broker = RedisBroker(url=url, namespace="plain")  # type: ignore[no-untyped-call]
    started: Queue[float] = Queue()
    actor = dramatiq.Actor(
        lambda: started.put(time.monotonic()),
        broker=broker,
        actor_name="note",
        queue_name="plain",
        priority=0,
        options={},
    )
    worker = dramatiq.Worker(broker, worker_threads=1)
    worker.start()

    def send() -> float:
        sent = time.monotonic()
        actor.send()
        return started.get(timeout=30) - sent

    try:
        yield send
    finally:
        worker.stop()
        broker.close()


def _seconds_after_a_pause(pause: float, measure_once: Callable[[], float]) -> float:
    time.sleep(pause)
    return measure_once()


def _commands_per_second(url: str) -> float:
    """Return the commands that Redis runs for idle clients, including those inside scripts."""
    with redis.Redis.from_url(url) as client:
        time.sleep(SETTLE_SECONDS)
        before, started = client.info("stats")["total_commands_processed"], time.monotonic()
        time.sleep(SECONDS)
        after = client.info("stats")["total_commands_processed"]
        return float(after - before) / (time.monotonic() - started)
