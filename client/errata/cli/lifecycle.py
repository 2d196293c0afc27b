"""errata wait, cancel, retry, reanalyze, delete: the life of an analysis."""

import json
from collections.abc import Iterable
from typing import Any

import click

from errata import pb
from errata.choices import enum_name
from errata.cli.commands import command
from errata.cli.connect import Target, connect, evidence_option, json_option, server_options
from errata.cli.console import safe, stderr_console, stdout_console
from errata.cli.durations import parse_duration
from errata.cli.exit_codes import ANALYSIS_FAILED, UNDECIDED
from errata.cli.progress import follow
from errata.cli.resolve import resolve
from errata.cli.views import show_analysis
from errata.enums import State
from errata.errors import InvalidRequest
from errata.proto_json import to_dict, to_json


@command(
    examples="""
errata wait 01kb4t9z
errata wait resnet50 --timeout 30m && errata report resnet50
"""
)
@click.argument("analysis")
@click.option("--timeout", metavar="DURATION", help="Maximum time to wait, such as 90s, 30m, or 1h. Default: no limit.")
@json_option
@server_options
@click.pass_context
def wait(ctx: click.Context, analysis: str, timeout: str | None, as_json: bool, target: Target) -> None:
    """Wait until ANALYSIS has finished, and show it.

    Exit code: 0 if it succeeded, 4 if it failed or was canceled, 5 if it has not finished after --timeout.
    """
    seconds = None if timeout is None else parse_duration(timeout, "timeout")
    with connect(target) as connection:
        name = resolve(connection.client, analysis)
        connection.client.get(name)  # fails at once without a service, for which a watch waits
        latest = follow(connection.client, name, stderr_console(), seconds)
    _print_analysis(latest, as_json)
    if not State(latest.state).is_final:
        stderr_console().print(f"{safe(name)} is still {enum_name(pb.Analysis.State, latest.state)} after {timeout}.")
        ctx.exit(UNDECIDED)
    if latest.state != pb.Analysis.STATE_SUCCEEDED:
        ctx.exit(ANALYSIS_FAILED)


@command(
    examples="""
errata cancel 01kb4t9z
errata cancel resnet50 --json
"""
)
@click.argument("analysis")
@json_option
@server_options
def cancel(analysis: str, as_json: bool, target: Target) -> None:
    """Cancel ANALYSIS if it is queued or running. A finished analysis does not change."""
    with connect(target) as connection:
        name = resolve(connection.client, analysis, unique=True)
        before = connection.client.get(name)
        after = connection.client.cancel(name)
    _print_analysis(after, as_json)
    if State(before.state).is_final or after.state != pb.Analysis.STATE_CANCELLED:
        finished = (
            "was already canceled"
            if after.state == pb.Analysis.STATE_CANCELLED
            else f"has {enum_name(pb.Analysis.State, after.state)}"
        )
        stderr_console().print(f"{safe(name)} {finished}. Nothing was canceled.")


@command(
    examples="""
errata retry 01kb4t9z
errata list --state failed
"""
)
@click.argument("analysis")
@json_option
@server_options
def retry(analysis: str, as_json: bool, target: Target) -> None:
    """Queue a failed ANALYSIS again under the same name."""
    with connect(target) as connection:
        result = connection.client.retry(resolve(connection.client, analysis))
    _print_analysis(result, as_json)


@command(
    examples="""
errata reanalyze predictions.csv --evidence 3f2a90
errata reanalyze 01kb4t9z --local --evidence bundles/imagenet
errata reanalyze --all --dataset street --evidence 3f2a90
"""
)
@click.argument("analysis", default="")
@click.option("--all", "is_all", is_flag=True, help="All analyses of a data set that lack a result with the evidence.")
@click.option("--dataset", default="", help="The data set of --all.")
@evidence_option
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print proto3 JSON to stdout, and nothing else. With --all, print JSON lines, one per analysis.",
)
@server_options
def reanalyze(analysis: str, is_all: bool, dataset: str, evidence: str, as_json: bool, target: Target) -> None:
    """Analyze the stored predictions of ANALYSIS with other evidence. The result is a new analysis.

    With --all, analyze the stored predictions of all analyses of a data set. A repeated command creates only the
    analyses that are missing.
    """
    if is_all == bool(analysis) or is_all != bool(dataset):
        raise InvalidRequest("Pass either an analysis, or --all with --dataset.", field="analysis")
    with connect(target, evidence) as connection:
        if is_all:
            _print_outcomes(connection.client.reanalyze_all(dataset, connection.evidence), as_json)
            return
        result = connection.client.reanalyze(resolve(connection.client, analysis), connection.evidence)
    _print_analysis(result, as_json)


@command(
    examples="""
errata delete 01kb4t9z
"""
)
@click.argument("analysis")
@server_options
def delete(analysis: str, target: Target) -> None:
    """Delete ANALYSIS and its predictions. Cancel it first if it has not finished."""
    with connect(target) as connection:
        name = resolve(connection.client, analysis, unique=True)
        connection.client.delete(name)
    stderr_console().print(f"Deleted {safe(name)}")


def _print_analysis(analysis: pb.Analysis, as_json: bool) -> None:
    if as_json:
        click.echo(to_json(analysis))
    else:
        show_analysis(analysis, stdout_console())


def _print_outcomes(outcomes: Iterable[Any], as_json: bool) -> None:
    """Print the outcome for each analysis, and how many analyses have each outcome."""
    created = existing = skipped = 0
    for outcome in outcomes:
        created += outcome.created
        skipped += bool(outcome.skip_reason)
        existing += not (outcome.created or outcome.skip_reason)
        if as_json:
            click.echo(json.dumps(to_dict(outcome)))
        elif outcome.skip_reason:
            stderr_console().print(f"Skipped {safe(outcome.before)}: {safe(outcome.skip_reason)}")
        else:
            names = dict.fromkeys((outcome.before, outcome.after))  # one name: no other evidence was ever used
            stdout_console().print(" → ".join(map(safe, names)))
    stderr_console().print(f"{created} analyses created, {existing} existed, {skipped} skipped")
