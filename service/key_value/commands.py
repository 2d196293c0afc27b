"""Commands of a key-value store, and the conversion of their replies. The commands are those of Redis."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

PREFIX = "errata:"  # of all keys
Argument = str | bytes | int | float
Command = tuple[Argument, ...]
Reply = None | int | bytes | list[bytes | None]


@dataclass(frozen=True)
class MemoryUsage:
    """The memory that a store uses."""

    used: int  # bytes
    limit: int  # bytes; 0: no limit


class Backend(Protocol):
    """A key-value store. Thread-safe."""

    def read(self, commands: Sequence[Command]) -> list[Reply]:
        """Return the replies of reading commands, in one round trip. Other clients may write between two commands."""
        ...

    def commit(self, checks: Sequence[tuple[Command, Reply]], commands: Sequence[Command]) -> bool:
        """In one atomic step, run commands if the replies to the checks are still the same; return whether they ran."""
        ...

    def memory_usage(self) -> MemoryUsage:
        """Return the memory that the store uses."""
        ...

    def ping(self) -> bool:
        """Return whether the store answers."""
        ...


def values(reply: Reply) -> list[bytes | None]:
    """Return the values of a reply with several values."""
    assert isinstance(reply, list), f"this is a bug: {reply!r}"
    return reply


def texts(reply: Reply) -> list[str]:
    """Return the values of a reply as texts."""
    return [(value or b"").decode(errors="replace") for value in values(reply)]


def pairs(reply: Reply) -> list[tuple[str, float]]:
    """Return the members and scores of a reply to ZRANGE with scores."""
    flat = values(reply)
    return [(member, float(score or 0)) for member, score in zip(texts(flat[::2]), flat[1::2], strict=True)]


def text_of(reply: Reply) -> str:
    """Return the text of a reply; empty if there is none."""
    return reply.decode(errors="replace") if isinstance(reply, bytes) else ""


def number(reply: Reply) -> float:
    """Return the number in a reply; 0 if there is none."""
    with suppress(ValueError):
        return 0.0 if reply is None or isinstance(reply, list) else float(reply)
    return 0.0


def time_of(reply: Reply) -> float:
    """Return the time in a reply to TIME, in seconds since 1970."""
    seconds, microseconds = values(reply)
    return int(seconds or 0) + int(microseconds or 0) / 1e6


def format_time(seconds: float) -> str:
    """Return a time as it is stored."""
    return f"{seconds:.6f}"
