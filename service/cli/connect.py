"""How a command reaches a service: the one at --server, or one in this process with --local."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
from errata import Client
from errata.errors import InvalidRequest

from service.evidence.bundle import read_manifest
from service.settings import read_settings

Command = TypeVar("Command", bound=Callable[..., Any])


def server_options(command: Command) -> Command:
    """Add --server and --local to a command."""
    command = click.option("--local", is_flag=True, help="Run the service in this process; same archive, no Redis.")(
        command
    )
    return click.option("--server", metavar="HOST:PORT", help="The service's address (default: ERRATA_SERVER).")(
        command
    )


json_option = click.option("--json", "as_json", is_flag=True, help="Print proto3 JSON to stdout, and nothing else.")


@dataclass(frozen=True)
class Choice:
    """Which evidence a command asks for: a digest prefix or a data set's name; with --local also a bundle at a path."""

    prefix: str
    path: Path | None = None
    dataset: str = ""  # of the bundle at the path


def chosen(evidence: str, local: bool) -> Choice:
    """Return what --evidence means; raise InvalidRequest for a path where there is no bundle."""
    if not local or not evidence:
        return Choice(evidence)
    path = Path(evidence)
    if (path / "manifest.json").is_file():
        manifest = read_manifest(path)
        return Choice(manifest.digest, path, manifest.dataset)
    if "/" in evidence or path.exists():
        raise InvalidRequest(f"expected an evidence bundle at {evidence}, got none", field="evidence")
    return Choice(evidence)


@contextmanager
def connected(server: str | None, local: bool, evidence: Choice = Choice("")) -> Iterator[Client]:
    """Give a client of the service that the options name; a local one serves the chosen bundle too."""
    overrides: dict[str, Any] = {"server": server} if server else {}
    if not local:
        settings = read_settings(**overrides)
        token = settings.token.get_secret_value() if settings.token else None
        with Client(
            settings.server,
            token,
            tls=settings.tls,
            ca_file=settings.ca_file,
            certificate=settings.client_certificate,
            key=settings.client_key,
        ) as client:
            yield client
        return
    from service.bootstrap.local import local_service
    from service.telemetry import configure_logging

    overrides = {"grpc_address": "127.0.0.1:0", "http_address": "127.0.0.1:0", "grace_seconds": 2.0}
    overrides["metrics_address"] = ""
    overrides["registries"] = {}  # one command is no service that polls
    overrides |= dict.fromkeys(("tokens", "tls_certificate", "tls_key", "tls_client_ca"))  # nor one that others call
    if evidence.path is not None:
        served = read_settings().evidence
        overrides["evidence"] = served | {evidence.dataset: [evidence.path, *served.get(evidence.dataset, ())]}
    settings = read_settings(**overrides)
    configure_logging("warning" if settings.log_level == "info" else settings.log_level, settings.log_format)
    with local_service(settings) as addresses, Client(addresses.grpc) as client:
        yield client
