"""A key-value store that runs functions as atomic steps."""

import random
import threading
import time
from collections.abc import Callable
from functools import update_wrapper
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from errata.errors import Unavailable

from service.key_value.commands import PREFIX, Backend, MemoryUsage
from service.key_value.transaction import Transaction

MAX_CONFLICTS = 100  # attempts of a step while other processes change the same values
LAST_CONFLICT_SECONDS = 0.05  # longest pause between two attempts
Value = TypeVar("Value")
Arguments = ParamSpec("Arguments")
Tx = TypeVar("Tx", bound=Transaction)
Store = TypeVar("Store", bound="KeyValueStore[Any]")


def atomic(
    step: Callable[Concatenate[Store, Tx, Arguments], Value],
) -> Callable[Concatenate[Store, Arguments], Value]:
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
        reply, is_done = self._attempt(step)
        if is_done:
            return reply
        with self._conflict_lock:  # after a conflict, the threads of this process run one after the other
            for attempt in range(MAX_CONFLICTS):
                reply, is_done = self._attempt(step)
                if is_done:
                    return reply
                time.sleep(random.uniform(0, min(0.001 * 2**attempt, LAST_CONFLICT_SECONDS)))  # noqa: S311 no secret
        raise Unavailable("The job store is busy. Try again later.", retry_after=1.0)

    def _attempt(self, step: Callable[[Tx], Value]) -> tuple[Value, bool]:
        tx = self._transaction(self._backend)
        reply = step(tx)
        is_done = not tx.commands or self._backend.commit(tx.checks, tx.commands)
        if is_done:
            self._after_step(tx)
        return reply, is_done

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
