"""The caller of the current call: its name, its limits, and the analyses that it may see."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class Caller:
    """Who makes a call. The default is a caller without a token, or a task of the service itself."""

    name: str = ""  # of the token
    visible_owner: str | None = None  # the owner whose analyses alone exist for the caller; None: those of all owners
    max_requests: int = 0  # per minute; 0: no limit
    max_open: int = 0  # open analyses; 0: no limit


CALLER: ContextVar[str] = ContextVar("caller", default="")  # the name of the current caller
_CURRENT: ContextVar[Caller] = ContextVar("current", default=Caller())  # noqa: B039 - frozen


def bind_caller(caller: Caller) -> None:
    """Set the caller of the current call."""
    CALLER.set(caller.name)
    _CURRENT.set(caller)


def current_caller() -> Caller:
    """Return the caller of the current call."""
    return _CURRENT.get()


def visible_owner() -> str | None:
    """Return the owner whose analyses alone exist for the current caller; None if those of all owners do."""
    return _CURRENT.get().visible_owner


@contextmanager
def restricted_to(owner: str | None) -> Iterator[None]:
    """Run a block in which only the analyses of an owner exist; None for no change."""
    if owner is None:
        yield
        return
    token = _CURRENT.set(Caller(visible_owner=owner))
    try:
        yield
    finally:
        _CURRENT.reset(token)
