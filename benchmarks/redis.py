"""Runs a Redis for a benchmark."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redis_server import RedisServer


@contextmanager
def redis_server() -> Iterator[tuple[str, str]]:
    """Run a Redis until the block ends; yield its URL and a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder)).start()
        try:
            yield server.url, folder
        finally:
            server.stop()
