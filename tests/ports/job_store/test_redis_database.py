"""Errors of the database."""

import pytest
import structlog
from errata.errors import Unavailable
from redis_server import RedisServer

from service.key_value.redis_backend import RedisBackend, connect


def test_a_database_that_redis_lacks_is_reported_with_the_setting_and_without_a_traceback(server: RedisServer) -> None:
    backend = RedisBackend(connect(f"redis://127.0.0.1:{server.port}/99", timeout=10))

    with (
        structlog.testing.capture_logs() as logs,
        pytest.raises(Unavailable, match=r"Correct its number in ERRATA_REDIS_URL"),
    ):
        backend.memory_usage()

    assert logs == []
    backend.client.connection_pool.disconnect()
