"""Registries that call, but aren't polled; of these, generic ones are told results where the operator gave a URL."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from service.analyses.write_back import WriteBack
from service.domain import RegistryEvent, RegistryRule


@dataclass(frozen=True)
class ReceiveOnlyRegistry:
    """A registry that can't be asked what it holds; `tell` sends it a result, if it takes any."""

    id: str
    rules: Sequence[RegistryRule]
    identifier: Callable[[RegistryEvent], str]
    tell: Callable[[WriteBack], None] | None = None

    def model_id(self, event: RegistryEvent) -> str:
        """Return the identifier by which a worker loads a version."""
        return self.identifier(event)

    def version_of(self, model: str, alias: str) -> str | None:
        """Return None: what an alias points to isn't known here."""
        return None

    def events(self) -> Iterator[RegistryEvent]:
        """Yield nothing: it can't be asked."""
        return iter(())

    def write(self, result: WriteBack) -> None:
        """Tell a result; nothing where the registry takes none."""
        if self.tell is not None:
            self.tell(result)
