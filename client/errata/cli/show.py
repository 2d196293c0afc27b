"""errata show: an analysis, its verdicts, or its breakdown by class."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from errata import Client, pb
from errata.cli.commands import FilePath, command
from errata.cli.connect import Target, connect, json_option, server_options
from errata.cli.console import stdout_console
from errata.cli.folder import (
    MAX_VERDICTS,
    VERDICTS,
    VerdictSelection,
    is_folder,
    read_analysis,
    read_part,
    select_verdicts,
)
from errata.cli.limit import is_limit_set, limit_option, print_limit_hint
from errata.cli.output import STDOUT, output_path, print_path, write_output
from errata.cli.resolve import resolve
from errata.cli.slices import show_slices
from errata.cli.views import show_abstentions, show_analysis, show_breakdown, show_owner_and_coverage, show_verdicts
from errata.connection import ConnectionFailed
from errata.error_types import ERROR_TYPES, MULTI_LABEL_ERROR_TYPES
from errata.errors import InvalidRequest
from errata.proto_json import to_json

TYPES = [error_type.key for error_type in ERROR_TYPES]
BREAKDOWNS = ["class", "superclass", "slice"]
FORMATS = ["jsonl", "csv", "parquet"]
EXAMPLES = """
errata show predictions.csv
errata show 01kb4t9z --type model_failure --target "great white shark"
errata show 01kb4t9z --by superclass
errata show 01kb4t9z --by slice
errata show 01kb4t9z --export parquet --output verdicts.parquet
errata show results/ --errors
"""


@dataclass(frozen=True)
class Conditions:
    """Conditions on verdicts, from the options of the command."""

    types: tuple[str, ...]
    target_class: str
    predicted: str
    superclass: str
    group: str | None
    errors: bool
    slice: str

    def __bool__(self) -> bool:
        return self != Conditions((), "", "", "", None, False, "")

    @property
    def error_types(self) -> list[str]:
        """The names of the error types."""
        return [*self.types, *(error_type.key for error_type in MULTI_LABEL_ERROR_TYPES if self.errors)]

    def to_filter(self) -> pb.VerdictFilter:
        """Return the conditions for a service."""
        return pb.VerdictFilter(
            error_types=self.error_types,
            target_class=self.target_class,
            predicted_class=self.predicted,
            superclass=self.superclass,
            group=self.group,
            problematic=False if self.errors else None,
            slice=self.slice,
        )

    @property
    def missing_in_folders(self) -> str:
        """The objects that a condition needs and a folder does not have; empty: the folder suffices."""
        return "superclasses" if self.superclass else "slices" if self.slice else ""

    def to_selection(self) -> VerdictSelection:
        """Return the conditions for a folder, which has neither superclasses nor slices."""
        return VerdictSelection(
            frozenset(self.error_types),
            self.target_class,
            self.predicted,
            self.group,
            False if self.errors else None,
        )


@command(examples=EXAMPLES)
@click.argument("analysis")
@click.option(
    "--type",
    "types",
    type=click.Choice(TYPES, case_sensitive=False),
    multiple=True,
    help="Verdicts with this error type. Can be repeated.",
)
@click.option("--errors", is_flag=True, help="Verdicts with any multi-label error.")
@click.option(
    "--target",
    "target_class",
    default="",
    metavar="CLASS",
    help="Verdicts with this original label, or this first label if the labels reject the original label.",
)
@click.option("--predicted", default="", metavar="CLASS", help="Verdicts with this prediction.")
@click.option("--superclass", default="", help="Verdicts whose effective target or prediction is in this superclass.")
@click.option("--group", metavar="NAME", help="Verdicts of this group of the label space.")
@click.option("--slice", default="", metavar="NAME", help="Verdicts of a slice, such as time=night.")
@limit_option(50, "Maximum number of verdicts. With --json, there is no maximum by default.")
@click.option("--by", type=click.Choice(BREAKDOWNS), help="The breakdown by class, superclass, or slice.")
@click.option("--export", "form", type=click.Choice(FORMATS), help="All verdicts as a file.")
@click.option(
    "--output",
    type=FilePath(str),
    metavar="PATH",
    help="With --export: the file to write, or a folder for it; '-' for stdout, the default.",
)
@json_option
@server_options
def show(
    analysis: str,
    limit: int,
    by: str | None,
    form: str | None,
    output: str | None,
    as_json: bool,
    target: Target,
    **conditions: Any,
) -> None:
    """Show ANALYSIS, some of its verdicts, or a breakdown.

    A CLASS is an index, an ID, or a unique name. A folder that 'errata analyze --output' wrote
    requires no service, except for --superclass, --slice, --by, and --export csv or parquet.
    """
    selected = Conditions(**conditions)
    _check_options(selected, by, form, output, as_json)
    if by is not None:
        _show_by(analysis, by, as_json, target)
    elif form is not None:
        path = STDOUT if output is None else output_path(output, f"verdicts.{form}")
        _export(analysis, form, path, target)
    elif selected:
        page = _select(analysis, selected, None if as_json and not is_limit_set() else limit, target)
        if as_json:
            click.echo(to_json(page))
            return
        show_verdicts(page.verdicts, stdout_console())
        if page.total_size > len(page.verdicts):
            print_limit_hint(len(page.verdicts), "verdict", total=page.total_size)
    else:
        result = _get(analysis, target)
        if as_json:
            click.echo(to_json(result))
        else:
            show_analysis(result, stdout_console())


def _check_options(selected: Conditions, by: str | None, form: str | None, output: str | None, as_json: bool) -> None:
    if sum([bool(selected), by is not None, form is not None]) > 1:
        raise InvalidRequest(
            "--by, --export, and conditions on verdicts cannot be used together. Use one of them.", field="show"
        )
    if is_limit_set() and not selected:
        raise InvalidRequest(
            "--limit needs a condition on verdicts. Add one, for example --errors, or remove --limit.", field="limit"
        )
    if form is not None and as_json:
        raise InvalidRequest("--export and --json cannot be used together. Use one of them.", field="export")
    if output is not None and form is None:
        raise InvalidRequest("--output needs --export. Add --export FORMAT, or remove --output.", field="output")


def _show_by(analysis: str, by: str, as_json: bool, target: Target) -> None:
    with _folder_remedy(analysis, f"breakdown by {by}"), connect(target) as connection:
        name = resolve(connection.client, analysis)
        slices = connection.client.slices(name) if by == "slice" else None
        breakdown = connection.client.breakdown(name, by) if slices is None else pb.Breakdown()
        details = connection.client.get(name)
    if as_json:
        click.echo(to_json(breakdown if slices is None else slices))
        return
    console = stdout_console()
    show_owner_and_coverage(details, console)
    if slices is None:
        show_breakdown(breakdown, details.summary.abstained, by == "superclass", console)
    else:
        show_slices(slices, console)
    show_abstentions(details.summary.abstained, console)


@contextmanager
def _folder_remedy(analysis: str, missing: str) -> Iterator[None]:
    """If ANALYSIS is a folder and no service is available, raise an error that names the options for a service."""
    try:
        yield
    except ConnectionFailed as error:
        if not missing or not is_folder(analysis):
            raise
        raise ConnectionFailed(
            f"A folder has no {missing}. Use --local, or --server with a service that has the analysis. {error.message}"
        ) from error


def _get(analysis: str, target: Target) -> pb.Analysis:
    if is_folder(analysis) and not target.is_explicit:
        return read_analysis(Path(analysis))
    with connect(target) as connection:
        return connection.client.get(resolve(connection.client, analysis))


def _select(analysis: str, selected: Conditions, limit: int | None, target: Target) -> pb.ListVerdictsResponse:
    missing = selected.missing_in_folders
    if is_folder(analysis) and not missing and not target.is_explicit:
        verdicts = select_verdicts(Path(analysis), selected.to_selection())
        return pb.ListVerdictsResponse(verdicts=verdicts[:limit], total_size=len(verdicts))
    with _folder_remedy(analysis, missing), connect(target) as connection:
        name = resolve(connection.client, analysis)
        return connection.client.some_verdicts(name, selected.to_filter(), limit)


def _export(analysis: str, form: str, output: Path, target: Target) -> None:
    if is_folder(analysis) and form == "jsonl" and not target.is_explicit:
        read_analysis(Path(analysis))  # refuses other names of the error types
        write_output(output, read_part(Path(analysis), VERDICTS, MAX_VERDICTS))
    else:
        with _folder_remedy(analysis, f"verdicts in the format {form}"), connect(target) as connection:
            _write_export(connection.client, resolve(connection.client, analysis), form, output)
    if output != STDOUT:
        print_path("Written", output)


def _write_export(client: Client, name: str, form: str, output: Path) -> None:
    chunks = client.export(name, form)
    if output != STDOUT:
        write_output(output, b"".join(chunks))
        return
    for chunk in chunks:
        sys.stdout.buffer.write(chunk)
