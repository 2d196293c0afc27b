"""errata token: a new bearer token."""

import click

from errata.cli.commands import command
from errata.tokens import INCLUDED_SCOPES, Quota, Scope, line_of, new_token

EXAMPLES = """
errata token ci --scope write 2>> tokens
errata token alice --scope review --requests 600 --open 20
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
@click.option("--requests", type=click.IntRange(0, 9_999_999), help="Maximum requests per minute. 0: no limit.")
@click.option(
    "--open",
    "max_open",
    type=click.IntRange(0, 9_999_999),
    help="Maximum model analyses that have not ended. 0: no limit.",
)
def token(name: str, scope: str, requests: int | None, max_open: int | None) -> None:
    """Create a token called NAME.

    The token goes to stdout and is not stored anywhere. Its line for the file that ERRATA_TOKENS names goes to stderr.
    Without --requests and --open, the limits of ERRATA_TOKEN_REQUESTS and ERRATA_TOKEN_OPEN apply.
    """
    secret = new_token()
    line = line_of(name, Scope(scope), secret, Quota(requests, max_open))
    click.echo(
        f"# Add this line to the file that ERRATA_TOKENS names. The service reads the file when it changes.\n{line}",
        err=True,
    )
    click.echo(secret)
