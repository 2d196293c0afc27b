"""The caller of the current call: its name, its limits, and the analyses that it may see."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Caller:
    """The caller of the service. The default is a caller without a token, or a task of the service itself."""

    name: str = ""  # of the token
    visible_owner: str | None = None  # the only owner whose analyses the caller can see; None: all owners
    can_write: bool = True  # whether the caller may create and delete analyses
    max_requests: int = 0  # per minute; 0: no limit
    max_open: int = 0  # open analyses; 0: no limit


CALLER: ContextVar[Caller] = ContextVar("caller", default=Caller())  # noqa: B039 - frozen


def visible_owner() -> str | None:
    """Return the only owner whose analyses the current caller can see; None if all owners' are visible."""
    return CALLER.get().visible_owner


@contextmanager
def restricted_to(owner: str | None) -> Iterator[None]:
    """Run a block in which only the analyses of `owner` are visible; if it is None, change nothing."""
    if owner is None:
        yield
        return
    token = CALLER.set(replace(CALLER.get(), visible_owner=owner))
    try:
        yield
    finally:
        CALLER.reset(token)
