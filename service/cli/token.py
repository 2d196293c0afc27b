"""errata token: make a bearer token; only its digest is kept."""

import click

from service.authorization import Scope, line_of, new_token


@click.command()
@click.argument("name")
@click.option(
    "--scope", type=click.Choice(["read", "write"]), default="read", show_default=True, help="write may read too."
)
def token(name: str, scope: str) -> None:
    """Make a token: it goes to stdout, this once; its line for the file ERRATA_TOKENS goes to stderr."""
    made = new_token()
    line = line_of(name, Scope(scope), made)
    click.echo(f"# a line for the file that ERRATA_TOKENS names, which is read anew when it changes:\n{line}", err=True)
    click.echo(made)
