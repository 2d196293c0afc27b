"""Runs a service, or another program that logs its address, in a separate process."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass


@contextmanager
def serving(arguments: list[str], folder: str, event_name: str = "ready", **settings: str) -> Iterator[str]:
    """Run `python -m …` until the block ends; yield the address from the log event `event_name`."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ERRATA_")}
    environment |= {"ERRATA_DATA_DIR": folder, "ERRATA_LOG_FORMAT": "json"}
    environment |= {"ERRATA_GRPC_ADDRESS": "127.0.0.1:0", "ERRATA_HTTP_ADDRESS": "127.0.0.1:0"}
    environment |= settings
    process = subprocess.Popen([sys.executable, "-m", *arguments], env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    with process.stderr:
        try:
            for line in process.stderr:
                event = json.loads(line)
                if event["event"] == event_name:
                    break
            else:
                raise RuntimeError(f"{arguments} ended before it was ready")
            drained = threading.Thread(target=process.stderr.read, daemon=True)
            drained.start()
            yield event.get("grpc") or event["http"]
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


@dataclass(frozen=True)
class Service:
    """A running service with Redis."""

    grpc: str


@contextmanager
def running(redis: str, folder: str, workers: int, **settings: str) -> Iterator[Service]:
    """Run the API, workers, and Redis while a block runs."""
    settings = {"ERRATA_REDIS_URL": redis, "ERRATA_WORKER_HTTP_ADDRESS": "127.0.0.1:0"} | settings
    with ExitStack() as stack:
        grpc = stack.enter_context(serving(["service", "serve"], folder, "ready", **settings))
        for _ in range(workers):
            stack.enter_context(serving(["service", "work"], folder, "worker ready", **settings))
        yield Service(grpc)
