"""errata token: a new bearer token."""

import click

from errata.cli.commands import command
from errata.tokens import INCLUDED_SCOPES, Scope, line_of, new_token

EXAMPLES = """
errata token ci --scope write 2>> tokens
errata token alice --scope review
errata token dashboard
"""


@command(examples=EXAMPLES)
@click.argument("name")
@click.option(
    "--scope",
    type=click.Choice([scope.value for scope in INCLUDED_SCOPES]),
    default=Scope.READ.value,
    show_default=True,
    help="What the token permits. All scopes include read, and admin includes all others.",
)
def token(name: str, scope: str) -> None:
    """Create a token called NAME.

    The token goes to stdout and is not stored anywhere. Its line for the file that ERRATA_TOKENS names goes to stderr.
    """
    secret = new_token()
    line = line_of(name, Scope(scope), secret)
    click.echo(
        f"# Add this line to the file that ERRATA_TOKENS names. The service reads the file when it changes.\n{line}",
        err=True,
    )
    click.echo(secret)
