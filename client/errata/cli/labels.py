"""Labels on the command line: KEY=VALUE."""

from collections.abc import Callable, Sequence
from typing import Any

import click

from errata.errors import InvalidRequest


def label_option(help: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return the option --label with a help text."""
    return click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help=help)


def parse_labels(pairs: Sequence[str]) -> dict[str, str]:
    """Return labels by key.

    Raises:
        InvalidRequest: A text is not KEY=VALUE.
    """
    labels = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise InvalidRequest(f"Invalid label {pair!r:.120}. Expected KEY=VALUE.", field="label")
        labels[key] = value
    return labels
