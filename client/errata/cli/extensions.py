"""Parts of the command line that the package errata-service adds through entry points."""

from dataclasses import dataclass
from typing import Any

from errata.errors import InvalidInput
from errata.imports import without_garbage_collection

COMMANDS_GROUP = "errata.commands"  # click commands: serve, work, evidence, dataset, taxonomy, demo
EXTENSIONS_GROUP = "errata.extensions"  # functions: local, compare-folders, trend-folders, gate-folder, policy-schema


@dataclass(frozen=True)
class LocalService:
    """A service that runs in this process for one command."""

    address: str  # host:port of the API
    evidence: str = ""  # digest prefix of the evidence bundle to use; empty: the default
    dataset: str = ""  # data set of the bundle if the command names a bundle by its path


def load_extension(group: str, name: str, feature: str) -> Any:
    """Import a part of errata-service.

    Args:
        group: Group of the entry point.
        name: Name of the entry point.
        feature: The feature that needs the part, as the subject of a sentence, for example "'errata serve'".

    Raises:
        InvalidInput: errata-service is not installed.
    """
    from importlib.metadata import entry_points  # the import takes 15 ms, and most commands do not need it

    for entry_point in entry_points(group=group, name=name):
        with without_garbage_collection():
            return entry_point.load()
    raise InvalidInput(
        f"{feature} needs errata-service. Install it from a checkout (pip install ./client .), or from your package "
        "index."
    )
