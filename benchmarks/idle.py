"""An idle service: Redis commands per second of the API and of a worker, and the time until an idle worker starts.

`python -m benchmarks.idle` prints the figures. The benchmark uses Redis and separate processes. It needs redis-server,
and the folder `tests` on the Python path.
"""

import sys
import time
from collections.abc import Iterator
from statistics import median

import redis
from errata import Client

from benchmarks.jobs import _run, _seconds
from benchmarks.redis import redis_server
from benchmarks.result import Figure
from benchmarks.serving import running

SECONDS, SETTLE_SECONDS = 20.0, 5.0
MAX_COMMANDS = 20.0  # commands per second of one process; commands inside scripts count
PICKUPS = 15
PAUSES = (0.0, 0.1, 0.35, 0.8, 1.3)  # seconds before a request, so that it meets a consumer at any point of its pause


def measure() -> Iterator[Figure]:
    """Yield the commands per second of an idle API and of an idle worker beside it, and the pick-up time."""
    with redis_server() as (url, folder):
        with running(url, folder, workers=0):
            api = _commands_per_second(url)
        with running(url, folder, workers=1) as service, Client(service.grpc) as client:
            worker = _commands_per_second(url) - api
            yield from (
                Figure(
                    f"idle, Redis commands of {name} (reference: those of a poll every 50 ms)",
                    value=value,
                    unit="/s",
                    reference=20.0,
                    ratio=value / 20.0,
                    aim=f"at most {MAX_COMMANDS:g}",
                    holds=value <= MAX_COMMANDS,
                )
                for name, value in (("the API", api), ("a worker", worker))
            )
            yield _measure_pick_up(client)


def _measure_pick_up(client: Client) -> Figure:
    _run(client)  # loads the model
    delays = []
    for number in range(PICKUPS):
        time.sleep(PAUSES[number % len(PAUSES)])
        analysis = _run(client)
        delays.append(1000 * (_seconds(analysis.start_time) - _seconds(analysis.create_time)))
    return Figure(
        "idle, from submit to the start of work (reference: a poll every 50 ms, on average)",
        value=median(delays),
        unit="ms",
        reference=25.0,
        ratio=median(delays) / 25.0,
        aim="at most the reference",
        holds=median(delays) <= 25.0,
    )


def _commands_per_second(url: str) -> float:
    """Return the commands that Redis runs for idle clients, including those inside scripts."""
    with redis.Redis.from_url(url) as client:
        time.sleep(SETTLE_SECONDS)
        before, started = client.info("stats")["total_commands_processed"], time.monotonic()
        time.sleep(SECONDS)
        after = client.info("stats")["total_commands_processed"]
        return float(after - before) / (time.monotonic() - started)


if __name__ == "__main__":
    for figure in measure():
        sys.stdout.write(f"{figure.name}: {figure.value:.1f} {figure.unit} (ratio {figure.ratio:.2f}, {figure.aim})\n")
