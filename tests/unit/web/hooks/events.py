"""Events of payloads."""

from collections.abc import Sequence

from service.domain import RegistryEvent


def single(events: Sequence[RegistryEvent]) -> RegistryEvent | None:
    """Return the only event; None if there is none."""
    assert len(events) <= 1
    return events[0] if events else None
