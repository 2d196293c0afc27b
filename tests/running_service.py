"""A service with a hash predictor in this process."""

import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from errata import Client

from service.bootstrap.local import local_service
from service.bootstrap.servers import Addresses
from service.predictions.fake import FakePredictor
from service.settings import read_settings

MODEL = "demo:efficientnet_lite0"


@dataclass(frozen=True)
class Running:
    """A running service and its client."""

    addresses: Addresses
    client: Client
    gate: threading.Event  # models wait for this event before each batch


Start = Callable[..., AbstractContextManager[Running]]


@contextmanager
def start_service(
    data_dir: Path, archive: Path, batch_size: int = 8, open_gate: bool = True, **settings: object
) -> Iterator[Running]:
    """Run a service with bundles in `data_dir` and analyses in `archive`."""
    gate = threading.Event()
    if open_gate:
        gate.set()
    environment = {"ERRATA_DATA_DIR": str(data_dir), "ERRATA_THREADS": "1", "ERRATA_ARCHIVE": str(archive)}
    environment |= {"ERRATA_GRPC_ADDRESS": "127.0.0.1:0", "ERRATA_HTTP_ADDRESS": "127.0.0.1:0"}
    predictor = FakePredictor([MODEL, "demo:efficientnet_lite1"], batch_size, before_batch=lambda: _wait(gate))
    chosen_settings = read_settings(environment, **({"grace_seconds": 2.0} | settings))
    with local_service(chosen_settings, predictor) as addresses, Client(addresses.grpc) as client:
        yield Running(addresses, client, gate)


def wait_for_metric(service: Running, line: str) -> None:
    """Wait until a line is in the metrics, which are generated at most once a second."""
    deadline = time.monotonic() + 30
    while True:
        with urllib.request.urlopen(f"http://{service.addresses.http}/metrics") as response:
            if line in response.read().decode().splitlines():
                return
        assert time.monotonic() < deadline, f"no line {line}"
        time.sleep(0.1)


def _wait(gate: threading.Event) -> None:
    assert gate.wait(30), "a test left the gate shut"
