"""The connection of a command: a service at an address, or a local one in this process."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import click

from errata import Client
from errata.cli.extensions import EXTENSIONS_GROUP, LocalService, load_extension
from errata.environment import connection_settings
from errata.errors import InvalidRequest


@dataclass(frozen=True)
class Target:
    """The service that the options of a command select."""

    server: str | None
    local: bool

    @property
    def is_explicit(self) -> bool:
        """Whether an option selects a service, rather than ERRATA_SERVER or the default."""
        return self.local or self.server is not None


@dataclass(frozen=True)
class Connection:
    """A client, and the evidence that the command selects."""

    client: Client
    evidence: str  # digest prefix; empty: the default of the data set
    dataset: str  # data set of the bundle if the command names a bundle by its path; otherwise empty


server_option = click.option("--server", metavar="HOST:PORT", help="Address of the service. Default: ERRATA_SERVER.")


def server_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --server and --local to a command, which receives them as `target`."""

    @server_option
    @click.option(
        "--local", is_flag=True, help="Run the service in this process, with the same archive. Needs errata-service."
    )
    @functools.wraps(function)
    def with_target(*args: Any, server: str | None, local: bool, **kwargs: Any) -> Any:
        if server is not None and local:
            raise InvalidRequest("--server and --local cannot be used together. Use one of them.", field="local")
        return function(*args, target=Target(server, local), **kwargs)

    return with_target


json_option = click.option("--json", "as_json", is_flag=True, help="Print proto3 JSON to stdout, and nothing else.")
evidence_option = click.option(
    "--evidence",
    default="",
    metavar="BUNDLE",
    help="Digest prefix of an evidence bundle; with --local also its path. Default: the bundle of the data set.",
)


@contextmanager
def connect(target: Target, evidence: str = "") -> Iterator[Connection]:
    """Connect to the service that a command selects.

    Args:
        target: The service.
        evidence: Value of --evidence: a digest prefix, or the path of a bundle for a local service.

    Raises:
        InvalidInput: The address, a setting, or the path of a bundle is invalid, or errata-service is missing.
    """
    if target.local:
        open_service = load_extension(EXTENSIONS_GROUP, "local", "'--local'")
        with open_service(evidence) as service:
            assert isinstance(service, LocalService), "this is a bug: the extension returns another type"
            with Client(service.address) as client:
                yield Connection(client, service.evidence, service.dataset)
        return
    settings = connection_settings()
    server = target.server or settings.server
    with Client(
        server,
        settings.token,
        tls=settings.tls,
        ca_file=settings.ca_file,
        certificate=settings.certificate,
        key=settings.key,
    ) as client:
        yield Connection(client, evidence, "")
