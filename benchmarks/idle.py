"""An idle service: the Redis commands of the API and of a worker, and the time until an idle worker starts.

The benchmark uses Redis and separate processes. Its reference is a client that polls Redis every 50 ms.
"""

import time
from collections.abc import Iterator
from statistics import median

import redis
from errata import Client

from benchmarks.caller import analyze, seconds_to_start
from benchmarks.harness import Case, Result, at_most
from benchmarks.processes import redis_server, running

SECONDS, SETTLE_SECONDS, REFERENCE_SECONDS = 20.0, 5.0, 5.0
POLL_SECONDS = 0.05
PAUSES = (0.0, 0.1, 0.35, 0.8, 1.3)  # seconds before a request, so that it meets a consumer at any point of its pause
TIMES = 15
POLLING = "a client that polls every 50 ms"
API = Case("idle.api", "Redis commands of an idle API, in scripts too", POLLING, "commands/s", at_most(1))
WORKER = Case("idle.worker", "Redis commands of an idle worker, in scripts too", POLLING, "commands/s", at_most(1))
START = Case(
    "idle.start", "from submit to the start of work by an idle worker", "half a poll of 50 ms", "ms", at_most(1)
)


def measure() -> Iterator[Result]:
    """Yield the commands per second of an idle API and of an idle worker beside it, and the pick-up time."""
    with redis_server() as (url, folder):
        reference = _polls_per_second(url)
        with running(url, folder, workers=0):
            api = _commands_per_second(url)
        yield API.measured(api, reference)
        with running(url, folder, workers=1) as address, Client(address) as client:
            yield WORKER.measured(_commands_per_second(url) - api, reference)
            yield START.measured(_pick_up_seconds(client), POLL_SECONDS / 2)


def _pick_up_seconds(client: Client) -> float:
    analyze(client)  # loads the model
    delays = []
    for number in range(TIMES):
        time.sleep(PAUSES[number % len(PAUSES)])
        delays.append(seconds_to_start(analyze(client)))
    return median(delays)


def _polls_per_second(url: str) -> float:
    with redis.Redis.from_url(url) as client:
        started = time.monotonic()
        count = 0
        while time.monotonic() - started < REFERENCE_SECONDS:
            client.ping()
            count += 1
            time.sleep(POLL_SECONDS)
        return count / (time.monotonic() - started)


def _commands_per_second(url: str) -> float:
    """Return the commands that Redis runs for idle clients."""
    with redis.Redis.from_url(url) as client:
        time.sleep(SETTLE_SECONDS)
        before, started = client.info("stats")["total_commands_processed"], time.monotonic()
        time.sleep(SECONDS)
        after = client.info("stats")["total_commands_processed"]
        return float(after - before) / (time.monotonic() - started)
