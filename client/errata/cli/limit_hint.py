"""The hint that a list has more items than --limit permits."""

import click

from errata.cli.output import one_line
from errata.messages import format_count, pluralize

USE_LIMIT = "Use --limit to show more."


def print_limit_hint(
    num_visible: int, noun: str, plural: str = "", total: int | None = None, remedy: str = USE_LIMIT
) -> None:
    """Write to stderr that a list has more items than shown.

    Args:
        num_visible: Number of items that are shown.
        noun: The singular noun for an item.
        plural: The plural noun, if it is not the singular with an "s".
        total: Number of all items; None if it is not known.
        remedy: A sentence that says how to list more items.
    """
    number = pluralize(num_visible if total is None else total, noun, plural)
    shown = number if total is None else f"{format_count(num_visible)} of {number}"
    click.echo(one_line(f"Showing {shown}. {remedy}"), err=True)
