"""The options --min-coverage and --subset."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from errata.cli.output import read_text
from errata.errors import InvalidInput

MAX_SUBSET = 4 << 20  # bytes of a subset file
Command = TypeVar("Command", bound=Callable[..., Any])


def min_coverage_option(help: str) -> Callable[[Command], Command]:
    """Return the option --min-coverage."""
    return click.option("--min-coverage", type=click.FloatRange(0, 1), metavar="SHARE", help=help)


def read_subset(file: Path) -> list[str]:
    """Return the image names of a subset file.

    Raises:
        InvalidInput: The file cannot be read, is too large, is not UTF-8, or has no names.
    """
    names = read_text(file, MAX_SUBSET, "subset").splitlines()
    if not any(name.strip() for name in names):
        raise InvalidInput(f"Subset file {file} has no names. Write one image name per line.", field="subset")
    return names
