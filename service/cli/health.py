"""errata health: whether a service answers, for probes that can only run a command."""

import click

from service.cli.connect import connected
from service.cli.output import people


@click.command()
@click.option("--server", metavar="HOST:PORT", help="The service's address (default: ERRATA_SERVER).")
@click.option("--timeout", type=click.FloatRange(0.1, 60), default=2.0, metavar="SECONDS", show_default=True)
def health(server: str | None, timeout: float) -> None:
    """Ask a service's gRPC health; end with 0 if it serves and with 3 if not."""
    with connected(server, local=False) as client:
        client.check(timeout)
    people().print("serving")
