"""The last decisions of gates, so that a gate that is polled adds an audit event only when its decision changes."""

import threading
from collections import OrderedDict

from service.domain import GateDecision

MAX_DECISIONS = 10_000  # gates whose last decision a process remembers


class GateDecisions:
    """The last decisions of the gates that this process evaluated, so that a poll adds no event. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._decisions: OrderedDict[tuple[str, ...], GateDecision] = OrderedDict()

    def has_changed(self, key: tuple[str, ...], decision: GateDecision) -> bool:
        """Remember a decision, and return whether it differs from the last one."""
        with self._lock:
            before = self._decisions.pop(key, None)
            self._decisions[key] = decision
            if len(self._decisions) > MAX_DECISIONS:
                self._decisions.popitem(last=False)
            return before is not decision
