"""How a command reaches a service: the one at --server, or one in this process with --local."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from service.client import Client
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


@contextmanager
def connected(server: str | None, local: bool, dataset: str = "", evidence: str = "") -> Iterator[Client]:
    """Give a client of the service that the options name; a local one serves the bundle at the path `evidence`."""
    overrides: dict[str, Any] = {"server": server} if server else {}
    if not local:
        settings = read_settings(**overrides)
        token = settings.token.get_secret_value() if settings.token else None
        with Client(settings.server, token) as client:
            yield client
        return
    from service.bootstrap.local import local_service
    from service.telemetry import configure_logging

    overrides = {"grpc_address": "127.0.0.1:0", "http_address": "127.0.0.1:0", "grace_seconds": 2.0}
    if evidence and Path(evidence).is_dir():
        overrides["evidence"] = read_settings().evidence | {dataset: [Path(evidence)]}
    settings = read_settings(**overrides)
    configure_logging("warning" if settings.log_level == "info" else settings.log_level, settings.log_format)
    with local_service(settings) as addresses, Client(addresses.grpc) as client:
        yield client
