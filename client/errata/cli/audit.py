"""errata audit: who changed the analyses and the evidence of a service."""

import json
import sys
from collections.abc import Iterable
from datetime import datetime
from itertools import islice

import click

from errata import Client, pb
from errata.choices import enum_name, enum_names
from errata.cli.commands import command
from errata.cli.connect import Target, connect, server_options
from errata.cli.console import safe, stderr_console, stdout_console
from errata.cli.limit import is_limit_set, limit_option, print_limit_hint
from errata.cli.resolve import MAX_CANDIDATES, resolve
from errata.cli.times import Time
from errata.cli.value_names import creation_time
from errata.cli.views import new_table
from errata.errors import AnalysisNotFound, InvalidRequest
from errata.names import ANALYSES, dataset_id, evidence_id
from errata.proto_json import to_dict

ACTIONS = [name.replace("_", "-") for name in enum_names(pb.AuditEvent.Action)]
EXAMPLES = """
errata audit
errata audit --action delete --since 2026-01-01
errata audit --actor pipeline --analysis 01kb4t9zq8v5m7c2x4w6y
errata audit --json > audit.jsonl
"""


@command(examples=EXAMPLES)
@click.option("--action", type=click.Choice(ACTIONS), help="Only this action.")
@click.option(
    "--actor", default="", help="Only events of this actor: a token, registry:ID, retention, or unauthenticated."
)
@click.option("--analysis", default="", help="Only events of this analysis, also if it is deleted.")
@click.option("--dataset", default="", help="Only events of this data set.")
@click.option(
    "--since", type=Time(), metavar="TIME", help="Only events at this time (UTC) or later: 2026-01-31[T23:59:59]."
)
@click.option("--until", type=Time(), metavar="TIME", help="Only events before this time (UTC).")
@limit_option(50, "Maximum number of events. With --json, there is no maximum by default.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines to stdout, one per event, and nothing else.")
@server_options
def audit(
    action: str | None,
    actor: str,
    analysis: str,
    dataset: str,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    as_json: bool,
    target: Target,
) -> None:
    """Show the audit log, newest first: created and deleted analyses, reviews, gates, and changes of evidence.

    It requires a token with the scope admin.
    """
    is_unlimited, limit = as_json and not is_limit_set(), min(limit, sys.maxsize - 1)
    with connect(target) as connection:
        events = connection.client.audit_events(
            dataset,
            action or "",
            actor=actor,
            analysis=_resolve(connection.client, analysis) if analysis else "",
            start=since,
            end=until,
        )
        if as_json:
            for event in islice(events, None if is_unlimited else limit):
                click.echo(json.dumps(to_dict(event)))
            return
        selected = [*islice(events, limit + 1)]
    if not selected:
        stderr_console().print("No events match the conditions.")
        return
    _print_table(selected[:limit])
    if len(selected) > limit:
        print_limit_hint(limit, "event")


def _resolve(client: Client, analysis: str) -> str:
    """Return the name of an analysis, as other commands do. If there is none, find a deleted one by its ID's start."""
    try:
        return resolve(client, analysis)
    except AnalysisNotFound as error:
        start = ANALYSES + analysis.removeprefix(ANALYSES)
        events = (event for event in client.audit_events(action="delete") if event.analysis.startswith(start))
        deleted = {event.analysis: event for event in events}
        if not deleted:
            raise AnalysisNotFound(
                f"Analysis {analysis!r:.200} not found. 'errata list' shows all analyses, and "
                "'errata audit --action delete' shows the IDs of deleted ones.",
                field="analysis",
            ) from error
    if len(deleted) > 1:
        listed = [
            f"  {name.removeprefix(ANALYSES)}  deleted {creation_time(event, seconds=True)}"
            for name, event in islice(deleted.items(), MAX_CANDIDATES)
        ]
        more = ["  …"] if len(deleted) > MAX_CANDIDATES else []
        raise InvalidRequest(
            "\n".join([f"Several deleted analyses match {analysis!r:.200}. Use the ID of one of them:", *listed, *more])
        )
    return next(iter(deleted))


def _print_table(events: Iterable[pb.AuditEvent]) -> None:
    titles = ("time (UTC)", "actor", "action", "data set", "analysis", "details")
    table = new_table(*titles, left=len(titles), unbroken=("time (UTC)", "analysis"))
    for event in events:
        values = [(name, _shorten(name, value)) for name, value in sorted(event.details.items())]
        if event.evidence:
            values.insert(0, ("evidence", evidence_id(event.evidence)[:12]))
        details = ", ".join(f"{name}: {value}" for name, value in values)
        action = enum_name(pb.AuditEvent.Action, event.action).replace("_", "-")
        texts = event.actor, action, dataset_id(event.dataset), event.analysis.removeprefix(ANALYSES), details
        table.add_row(creation_time(event, seconds=True), *map(safe, texts))
    stdout_console().print(table)


def _shorten(name: str, value: str) -> str:
    """Return the value of a detail. Shorten a digest to its start."""
    return value[:12] if name.endswith("sha256") else value
