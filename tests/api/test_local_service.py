"""The service of --local, in this process."""

import socket
import threading
from pathlib import Path

import pytest
from errata.errors import Unavailable

from ..running_service import start_service


def test_a_local_service_that_cannot_listen_stops_its_threads(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with (
            pytest.raises(Unavailable, match="ERRATA_HTTP_ADDRESS"),
            start_service(tmp_path, tmp_path / "archive", http_address=address),
        ):
            pass

    own = [thread for thread in set(threading.enumerate()) - before if "_poll_wrapper" not in thread.name]  # of gRPC
    for thread in own:
        thread.join(30)
    assert not any(thread.is_alive() for thread in own)
