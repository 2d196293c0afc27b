"""A client in its own process, with the client package of any revision: python caller.py ADDRESS PREDICTIONS.

Reads the names of calls from standard input, and prints the seconds of each. Imports only the client.
"""

import io
import sys
import time
from collections.abc import Callable
from pathlib import Path

from errata import Client, pb

MODEL = "demo:efficientnet_lite0"


def main(address: str, predictions: str) -> None:
    """Make calls until standard input ends."""
    content = Path(predictions).read_bytes()
    with Client(address) as client:
        calls: dict[str, Callable[[], object]] = {
            "upload": lambda: client.upload(io.BytesIO(content), "imagenet-real"),
            "cached": lambda: client.analyze(MODEL, "demo"),
            "analysis": lambda: analyze(client),
        }
        for line in sys.stdin:
            if line.strip() == "start":
                seconds = seconds_to_start(analyze(client))
            else:
                started = time.perf_counter()
                calls[line.strip()]()
                seconds = time.perf_counter() - started
            print(seconds, flush=True)


def analyze(client: Client, dataset: str = "demo") -> pb.Analysis:
    """Create an analysis without cached results, and wait for its end."""
    *_, last = client.watch(client.analyze(MODEL, dataset, fresh=True).name)
    assert last.HasField("summary"), last.failure  # the enum of states has another place in older revisions
    return last


def seconds_to_start(analysis: pb.Analysis) -> float:
    """Return the time from the creation of an analysis to the start of its first shard."""
    return float((analysis.start_time.ToNanoseconds() - analysis.create_time.ToNanoseconds()) / 1e9)


if __name__ == "__main__":
    main(*sys.argv[1:])
