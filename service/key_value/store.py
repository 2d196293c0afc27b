"""A key-value store that runs functions as atomic steps: a step reads values, and changes them if they are the same."""

import random
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import cached_property, update_wrapper
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from errata.errors import Unavailable

from service.key_value.commands import PREFIX, Argument, Backend, Command, MemoryUsage, Reply, text_of, time_of

MAX_CONFLICTS = 100  # attempts of a step while other processes change the same values
LAST_CONFLICT_SECONDS = 0.05  # longest pause between two attempts
Value = TypeVar("Value")
Arguments = ParamSpec("Arguments")
Tx = TypeVar("Tx", bound="Transaction")
Store = TypeVar("Store", bound="KeyValueStore[Any]")


class Transaction:
    """Reads and changes values in one atomic step. Reads do not see the changes of the same step.

    A transaction collects changes. They are written at the end, and only if no reply has changed meanwhile.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._replies: dict[Command, Reply] = {}
        self.checks: dict[Command, Reply] = {}  # the replies that must still be the same when the changes are written
        self.commands: list[Command] = []

    @cached_property
    def now(self) -> float:
        """The time of the store's clock, in seconds."""
        return time_of(self.read("TIME", check=False))

    def prefetch(self, *commands: Command) -> None:
        """Read replies in one round trip. Later calls of `read` return them; the step depends only on those."""
        missing = [command for command in (*commands, ("TIME",)) if command not in self._replies]
        if missing:
            self._replies.update(zip(missing, self._backend.read(missing), strict=True))

    def read(self, *command: Argument, check: bool = True) -> Reply:
        """Return the reply of a reading command.

        Args:
            command: The command and its arguments.
            check: Whether the step depends on the reply. False if the step stays correct when the reply changes.
        """
        if command not in self._replies:
            self.prefetch(command)
        if check:
            self.checks[command] = self._replies[command]
        return self._replies[command]

    def get(self, name: str) -> str:
        """Return a text; empty if there is none."""
        return text_of(self.read("GET", PREFIX + name))

    def write(self, *command: Argument) -> None:
        """Add a command to the changes."""
        self.commands.append(command)


def atomic(step: Callable[Concatenate[Store, Tx, Arguments], Value]) -> Callable[Concatenate[Store, Arguments], Value]:
    """Make a method of a store one atomic step (KeyValueStore.run), which passes the transaction to the method."""

    def run(self: Store, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Value:
        return self.run(lambda tx: step(self, tx, *args, **kwargs))

    return update_wrapper(run, step)


class KeyValueStore(Generic[Tx]):
    """Runs atomic steps on a backend. Thread-safe.

    Args:
        backend: Stores the values.
        transaction: Creates the transaction of a step.
    """

    def __init__(self, backend: Backend, transaction: Callable[[Backend], Tx]) -> None:
        self._backend = backend
        self._transaction = transaction
        self._conflict_lock = threading.RLock()

    def run(self, step: Callable[[Tx], Value]) -> Value:
        """Run a function as one atomic step. Run it again if other clients change the values meanwhile."""
        with ExitStack() as stack:
            for attempt in range(MAX_CONFLICTS):
                tx = self._transaction(self._backend)
                reply = step(tx)
                if not tx.commands or self._backend.commit([*tx.checks.items()], tx.commands):
                    self._after_step(tx)
                    return reply
                if attempt == 0:  # after a conflict, the threads of this process run one after the other
                    stack.enter_context(self._conflict_lock)
                else:
                    time.sleep(random.uniform(0, min(0.001 * 2**attempt, LAST_CONFLICT_SECONDS)))  # noqa: S311 no secret
        raise Unavailable("The job store is busy. Try again later.", retry_after=1.0)

    def _after_step(self, tx: Tx) -> None:
        """Do nothing. A subclass can act after each step."""

    def memory_usage(self) -> MemoryUsage:
        """Return the memory that the store uses."""
        return self._backend.memory_usage()

    def ping(self) -> bool:
        """Return whether the store answers."""
        return self._backend.ping()

    def _get(self, name: str) -> bytes | None:
        (content,) = self._backend.read([("GET", PREFIX + name)])
        return content if isinstance(content, bytes) else None
