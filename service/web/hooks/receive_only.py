"""Registries that send webhooks but have no API to query. Generic registries can receive results at a URL."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from service.analyses.write_back import WriteBack
from service.domain import RegistryEvent, RegistryRule


@dataclass(frozen=True)
class ReceiveOnlyRegistry:
    """A registry without an API to query; `send` sends a result to it, if it has a URL."""

    id: str
    rules: Sequence[RegistryRule]
    identifier: Callable[[RegistryEvent], str]
    send: Callable[[WriteBack], None] | None = None

    def model_id(self, event: RegistryEvent) -> str:
        """Return the model ID that workers use to load a version."""
        return self.identifier(event)

    def resolve(self, event: RegistryEvent) -> RegistryEvent:
        """Return the event: the registry has no API to look up its version."""
        return event

    def version_of(self, model: str, alias: str) -> str | None:
        """Return None: the registry has no API to resolve an alias."""
        return None

    def aliases_and_tags(self, event: RegistryEvent) -> None:
        """Return None: the registry has no API to look up a version."""

    def events(self) -> Iterator[RegistryEvent]:
        """Yield nothing: the registry has no API to list versions."""
        return iter(())

    def write(self, result: WriteBack) -> None:
        """Send a result if the registry has a URL."""
        if self.send is not None:
            self.send(result)
