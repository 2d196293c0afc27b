"""Redis for benchmarks."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redis_server import RedisServer


@contextmanager
def redis_server() -> Iterator[tuple[str, str]]:
    """Run Redis while a block runs; yield its URL and a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder)).start()
        try:
            yield server.url, folder
        finally:
            server.stop()
