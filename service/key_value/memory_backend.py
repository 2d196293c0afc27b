"""A key-value store in this process, for `--local` and for tests."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

from service.key_value.commands import Argument, Command, MemoryUsage, Reply


class MemoryBackend:
    """A key-value store in a dictionary, under one lock. Each command works like the Redis command with its name."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._values: dict[str, Any] = {}  # bytes, or a dictionary of members (None or a score) or fields (bytes)
        self._expiry: dict[str, float] = {}  # time at which a key expires

    def read(self, commands: Sequence[Command]) -> list[Reply]:
        """Return the replies of reading commands."""
        with self._lock:
            return [self._call(command) for command in commands]

    def commit(self, checks: Sequence[tuple[Command, Reply]], commands: Sequence[Command]) -> bool:
        """Run commands if the replies to the checks are still the same; return whether the commands ran."""
        with self._lock:
            if any(self._call(command) != reply for command, reply in checks):
                return False
            for command in commands:
                self._call(command)
            return True

    def memory_usage(self) -> MemoryUsage:
        """Return zeros, because the memory of this process is already a metric."""
        return MemoryUsage(0, 0)

    def ping(self) -> bool:
        """Return True."""
        return True

    def _call(self, command: Command) -> Reply:
        name, *arguments = command
        if name == "TIME":
            return [*map(_encode, divmod(round(self._clock() * 1e6), 1_000_000))]
        key, *rest = map(_encode, arguments)
        reply: Reply = getattr(self, f"_{str(name).lower()}")(self._live_key(key.decode()), *rest)
        return reply

    def _live_key(self, key: str) -> str:
        """Return the key; delete its value first if it has expired."""
        if self._expiry.get(key, float("inf")) <= self._clock():
            self._del(key)
        return key

    def _del(self, *keys: str | bytes) -> None:
        for key in keys:
            name = key if isinstance(key, str) else key.decode()
            self._values.pop(name, None)
            self._expiry.pop(name, None)

    def _exists(self, key: str) -> int:
        return int(key in self._values)

    def _expire(self, key: str, seconds: bytes) -> None:
        if key in self._values:
            self._expiry[key] = self._clock() + float(seconds)

    def _persist(self, key: str) -> None:
        self._expiry.pop(key, None)

    def _get(self, key: str) -> bytes | None:
        value: bytes | None = self._values.get(key)
        return value

    def _set(self, key: str, value: bytes, *options: bytes) -> None:
        self._values[key] = value
        self._expiry.pop(key, None)
        if b"EX" in options:
            self._expire(key, options[options.index(b"EX") + 1])

    def _incr(self, key: str) -> None:
        self._values[key] = _encode(int(self._values.get(key, 0)) + 1)

    def _hmget(self, key: str, *fields: bytes) -> list[bytes | None]:
        return [self._values.get(key, {}).get(field) for field in fields]

    def _hset(self, key: str, *pairs: bytes) -> None:
        self._values.setdefault(key, {}).update(zip(pairs[::2], pairs[1::2], strict=True))

    def _remove(self, key: str, *members: bytes) -> None:
        """Remove members of a set, a hash, or a sorted set, and the key if it is then empty."""
        for member in members:
            self._values.get(key, {}).pop(member, None)
        if not self._values.get(key, True):
            self._del(key)

    _srem = _hdel = _zrem = _remove

    def _sadd(self, key: str, *members: bytes) -> None:
        self._values.setdefault(key, {}).update(dict.fromkeys(members))

    def _smembers(self, key: str) -> list[bytes]:
        return sorted(self._values.get(key, ()))

    def _zadd(self, key: str, *arguments: bytes) -> None:
        must_exist, pairs = arguments[0] == b"XX", arguments[arguments[0] == b"XX" :]
        for score, member in zip(pairs[::2], pairs[1::2], strict=True):
            if not must_exist or member in self._values.get(key, {}):
                self._values.setdefault(key, {})[member] = float(score)

    def _zcard(self, key: str) -> int:
        return len(self._values.get(key, {}))

    def _ranked(self, key: str) -> list[tuple[bytes, float]]:
        return sorted(self._values.get(key, {}).items(), key=lambda item: (item[1], item[0]))

    def _zrank(self, key: str, member: bytes) -> int | None:
        members = [ranked for ranked, _ in self._ranked(key)]
        return members.index(member) if member in members else None

    def _zrange(self, key: str, start: bytes, stop: bytes, *options: bytes) -> list[bytes]:
        members = self._ranked(key)[int(start) : int(stop) + 1 or None]
        return [part for member, score in members for part in ((member, _encode(score)) if options else (member,))]

    def _zrangebyscore(self, key: str, low: bytes, high: bytes) -> list[bytes]:
        return [member for member, score in self._ranked(key) if float(low) <= score <= float(high)]

    def _zremrangebyscore(self, key: str, low: bytes, high: bytes) -> None:
        self._remove(key, *self._zrangebyscore(key, low, high))


def _encode(argument: Argument) -> bytes:
    return argument if isinstance(argument, bytes) else str(argument).encode()
