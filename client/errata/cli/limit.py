"""The option --limit of lists, and the hint that a list has more items."""

from collections.abc import Callable
from typing import Any

import click
from click.core import ParameterSource

from errata.cli.output import one_line
from errata.messages import format_count, pluralize

USE_LIMIT = "Use --limit to show more."


def limit_option(default: int, description: str) -> Callable[[Any], Any]:
    """Return a decorator that adds --limit to a command. `--most` is its former name."""
    return click.option(
        "--most",
        "--limit",
        "limit",
        type=click.IntRange(min=0),
        default=default,
        show_default=True,
        help=description,
    )


def is_limit_set() -> bool:
    """Return whether the caller of the current command has set --limit."""
    return click.get_current_context().get_parameter_source("limit") is not ParameterSource.DEFAULT


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
