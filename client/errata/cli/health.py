"""errata health: whether a service accepts calls, for probes that can only run a command."""

import math

import click

from errata.cli.commands import command
from errata.cli.connect import Target, connect, server_option

EXAMPLES = """
errata health
errata health --server errata.example:443 --timeout 5
"""


def _check_number(_context: click.Context, _option: click.Parameter, value: float) -> float:
    """Return the value; raise BadParameter for NaN, which is in every range."""
    if math.isnan(value):
        raise click.BadParameter("nan is not a number of seconds.")
    return value


@command(examples=EXAMPLES)
@server_option
@click.option(
    "--timeout",
    type=click.FloatRange(0.1, 60),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    callback=_check_number,
    help="Seconds to wait for the response.",
)
def health(server: str | None, timeout: float) -> None:
    """Check the gRPC health of a service. Exit code: 0 if it accepts calls, 3 if not."""
    with connect(Target(server, local=False)) as connection:
        connection.client.check(timeout)
    click.echo("serving", err=True)
