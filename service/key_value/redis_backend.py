"""A key-value store in Redis. An atomic step is one call of compare_and_set.lua."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.resources import files
from typing import Any

import redis
import structlog
from errata.errors import Unavailable
from redis.backoff import NoBackoff
from redis.retry import Retry

from service.circuit_breaker import CircuitBreaker, CircuitOpen
from service.key_value.commands import Argument, Command, MemoryUsage, Reply

_log = structlog.get_logger()
CONNECTIONS = 32  # maximum number of connections of one process; further callers wait
CONNECT_TIMEOUT = 1.0  # seconds
UNAVAILABLE_ERRORS = (redis.ConnectionError, redis.TimeoutError)  # the errors of redis-py while Redis does not answer
RETRY_AFTER = 2.0  # seconds, in the error for callers while Redis is unavailable
MESSAGES: dict[type[Exception], str] = {  # the first type that matches an error counts
    CircuitOpen: "The job store (Redis) does not answer. Try again later.",
    redis.AuthenticationError: (
        "The job store (Redis) rejects the service's credentials. Correct the password in ERRATA_REDIS_URL."
    ),
    redis.RedisError: "The job store (Redis) is unavailable. Try again later.",
}
WRONG_DATABASE = "DB index is out of range"  # error of Redis when a connection selects its database


def connect(url: str, timeout: float) -> redis.Redis:
    """Return a client whose calls time out after `timeout` seconds.

    The client never repeats a call, because Redis may have executed a call that timed out.
    """
    pool = redis.BlockingConnectionPool.from_url(
        url,
        max_connections=CONNECTIONS,
        timeout=timeout,
        socket_timeout=timeout,
        socket_connect_timeout=min(timeout, CONNECT_TIMEOUT),
        retry=Retry(NoBackoff(), 0),
    )
    return redis.Redis(connection_pool=pool)


def is_valid_url(url: str) -> bool:
    """Return whether redis-py can create a connection from a URL and its options; this does not connect."""
    try:
        connect(url, CONNECT_TIMEOUT).connection_pool.make_connection()
    except (ValueError, TypeError, redis.RedisError):
        return False
    return True


class RedisBackend:
    """Redis as the key-value store. Raises Unavailable while Redis does not answer. Thread-safe.

    After a call that timed out, calls fail immediately until Redis answers a probe.
    """

    def __init__(self, client: redis.Redis) -> None:
        self.client: Any = client  # redis-py's return types also cover pipelines and asyncio
        self._breaker = CircuitBreaker(self._is_answering)
        script = (files("service.key_value") / "compare_and_set.lua").read_text(encoding="utf-8")
        self._compare_and_set: Any = client.register_script(script)

    def read(self, commands: Sequence[Command]) -> list[Reply]:
        """Return the replies of reading commands."""
        if not commands:
            return []
        pipeline = self.client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        with self._translate_errors():
            return [_flatten(reply) for reply in pipeline.execute()]

    def commit(self, checks: Sequence[tuple[Command, Reply]], commands: Sequence[Command]) -> bool:
        """Run commands if the replies to the checks are still the same; return whether the commands ran."""
        arguments: list[Argument] = [len(checks)]
        for command, reply in checks:
            expected = reply if isinstance(reply, list) else [reply]
            arguments += [len(command), *command, len(expected), *map(_expected, expected)]
        arguments.append(len(commands))
        for command in commands:
            arguments += [len(command), *command]
        with self._translate_errors():
            return bool(self._compare_and_set(args=arguments))

    def memory_usage(self) -> MemoryUsage:
        """Return the memory that Redis uses for the data of all its clients."""
        with self._translate_errors():
            info = self.client.info("memory")
        return MemoryUsage(int(info["used_memory"]), int(info.get("maxmemory", 0)))

    def ping(self) -> bool:
        """Return whether Redis answers."""
        with suppress(CircuitOpen), self._breaker.call(*UNAVAILABLE_ERRORS):
            return self._is_answering()
        return False

    def _is_answering(self) -> bool:
        """Return whether Redis answers; call Redis even while the circuit breaker is open."""
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        """Raise Unavailable instead of the errors of Redis, and while the circuit breaker is open."""
        try:
            with self._breaker.call(*UNAVAILABLE_ERRORS):
                yield
        except (CircuitOpen, redis.RedisError) as error:
            message = next(text for kind, text in MESSAGES.items() if isinstance(error, kind))
            if WRONG_DATABASE in str(error):
                message = "The job store (Redis) has no such database. Correct its number in ERRATA_REDIS_URL."
            elif isinstance(error, redis.ResponseError):  # causes: a full disk, a read-only replica, or a bug
                _log.exception("Redis command failed")
            raise Unavailable(message, retry_after=RETRY_AFTER, detail=f"{error!s:.120}") from error


def _flatten(reply: Any) -> Reply:
    """Convert a reply: a set to a sorted list, and pairs of members and scores to one flat list."""
    if isinstance(reply, set):
        return sorted(reply)
    if isinstance(reply, list | tuple) and reply and isinstance(reply[0], list | tuple):
        return [value for pair in reply for value in pair]
    return list(reply) if isinstance(reply, tuple) else reply  # type: ignore[no-any-return]


def _expected(value: object) -> bytes:
    """Return an expected value in the encoding of compare_and_set.lua."""
    if value is None:
        return b""
    return b"$" + (value if isinstance(value, bytes) else str(value).encode())
