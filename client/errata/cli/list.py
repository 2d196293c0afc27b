"""errata list: analyses, newest first."""

import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice

import click
from rich.cells import cell_len, set_cell_size

from errata import Client, pb
from errata.choices import choices, enum_name, enum_names
from errata.cli.commands import command
from errata.cli.connect import Target, connect, json_option, server_options
from errata.cli.labels import label_option, parse_labels
from errata.cli.limit import is_limit_set, print_limit_hint
from errata.cli.output import PIPE_WIDTH, without_controls
from errata.cli.resolve import INCOMPLETE
from errata.cli.times import Time
from errata.cli.value_names import creation_time
from errata.coverage import partial_coverage
from errata.error_types import severe_total
from errata.errors import DatasetNotFound, ErrataError
from errata.messages import MISSING, format_count, format_optional
from errata.names import ANALYSES, dataset_id, short_id_length
from errata.proto_json import to_dict

STATES = enum_names(pb.Analysis.State)
DEFAULT_LIMIT, MAX_LIMIT = 50, 1_000_000
TITLES = ["ID", "created (UTC)", "name", "data set", "state", "top-1", "multi-label", "failures"]
NARROW_TITLES = ["ID", "created", "name", "data set", "state", "top-1", "m-label", "fail."]
CREATED, NAME, DATASET, OWNER = 1, 2, 3, 4  # columns of the table; wide tables of analyses with owners have OWNER
NUM_RATES = 3  # last columns
WIDE = 100  # characters
MIN_NAME, MAX_DATASET = 10, 13  # characters
EXAMPLES = """
errata list
errata list --dataset imagenet-real --state succeeded --limit 10
errata list --label team=vision --json
errata list --owner pipeline
errata list --created-after 2026-01-01 --created-before 2026-02-01
"""


@command("list", examples=EXAMPLES)
@click.option("--state", "states", type=click.Choice(STATES), multiple=True, help="Only this state. Can be repeated.")
@click.option("--dataset", default="", help="Only this data set.")
@click.option("--model", default="", help="Only this model ID.")
@label_option("Only analyses with this label. Can be repeated.")
@click.option("--owner", default="", help="Only analyses of this owner: a token's name, or registry:ID.")
@click.option(
    "--evidence", default="", metavar="DIGEST", help="Only analyses with this evidence bundle: its digest or a prefix."
)
@click.option("--request-id", default="", metavar="ID", help="Only the analysis of the call with this request ID.")
@click.option(
    "--created-after",
    type=Time(),
    metavar="TIME",
    help="Only analyses that were created at this time (UTC) or later: 2026-01-31[T23:59:59].",
)
@click.option("--created-before", type=Time(), metavar="TIME", help="Only analyses that were created before this time.")
@click.option(
    "--limit",
    type=click.IntRange(min=1, max=MAX_LIMIT),
    default=DEFAULT_LIMIT,
    show_default=True,
    help="Maximum number of analyses. With --json, there is no maximum by default.",
)
@json_option
@server_options
def list_analyses(
    states: tuple[str, ...],
    dataset: str,
    model: str,
    labels: tuple[str, ...],
    owner: str,
    evidence: str,
    request_id: str,
    created_after: datetime | None,
    created_before: datetime | None,
    limit: int,
    as_json: bool,
    target: Target,
) -> None:
    """List analyses, newest first."""
    condition = pb.AnalysisFilter(
        states=choices(pb.Analysis.State, states, "state"),
        dataset=dataset,
        model=model,
        labels=parse_labels(labels),
        owner=owner,
        evidence=evidence,
        request_id=request_id,
        start_create_time=created_after,
        end_create_time=created_before,
    )
    is_unlimited = as_json and not is_limit_set()
    incomplete_pages: list[bool] = []
    with connect(target) as connection:
        listing = connection.client.list(condition, on_incomplete=lambda: incomplete_pages.append(True))
        analyses = [*islice(listing, None if is_unlimited else limit + 1)]
        if dataset and not analyses and not incomplete_pages:
            try:
                connection.client.dataset(dataset)
            except DatasetNotFound:
                if not _has_analyses(connection.client, dataset):
                    raise
            except ErrataError:
                pass  # for example, the evidence of the data set is damaged
    visible = analyses if is_unlimited else analyses[:limit]
    if incomplete_pages:
        click.echo(f"{INCOMPLETE} List again later.", err=True)
    if as_json:
        document = {
            "analyses": [to_dict(analysis) for analysis in visible],
            "next_page_token": "",
            "index_incomplete": bool(incomplete_pages),
        }
        click.echo(json.dumps(document, indent=2))
    elif visible:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else PIPE_WIDTH
        header, *lines = analysis_lines(analyses, len(visible), width)
        click.secho(header, bold=True)
        click.echo("\n".join(lines))
    elif not analyses:
        has_condition = condition != pb.AnalysisFilter()
        click.echo(
            "No analyses match the conditions." if has_condition else "No analyses. 'errata analyze' creates one.",
            err=True,
        )
    if len(analyses) > len(visible):
        print_limit_hint(limit, "analysis", "analyses")


def _has_analyses(client: Client, dataset: str) -> bool:
    return next(iter(client.list(pb.AnalysisFilter(dataset=dataset))), None) is not None


def analysis_lines(analyses: Sequence[pb.Analysis], limit: int, width: int) -> list[str]:
    """Return a table of analyses: a header, and a line for each analysis.

    Args:
        analyses: The analyses. Analyses beyond `limit` are not shown, but the shown IDs are long enough to differ
            from the IDs of these analyses too.
        limit: Number of analyses in the table.
        width: Columns of the output. Names are shortened to fit, and narrow tables have shorter
            titles and times without the year.
    """
    length = short_id_length(analysis.name.removeprefix(ANALYSES) for analysis in analyses)
    is_wide = width >= WIDE
    rows = [TITLES if is_wide else NARROW_TITLES, *(_row(analysis, length, is_wide) for analysis in analyses[:limit])]
    if is_wide and any(analysis.owner for analysis in analyses[:limit]):
        owners = ["owner", *(_text(analysis.owner) for analysis in analyses[:limit])]
        rows = [[*row[:OWNER], owner, *row[OWNER:]] for row, owner in zip(rows, owners, strict=True)]
    gap = "  " if is_wide else " "
    if not is_wide:
        for row in rows[1:]:
            row[CREATED] = row[CREATED][len("2026-") :] if "-" in row[CREATED] else row[CREATED]
    widths = [max(cell_len(row[column]) for row in rows) for column in range(len(rows[0]))]
    if not is_wide:
        widths[DATASET] = min(widths[DATASET], MAX_DATASET)
        for column in (NAME, DATASET):  # the data set is shortened only if a shortened name is not enough
            excess = sum(widths) + len(gap) * (len(widths) - 1) - width
            widths[column] = max(min(widths[column], MIN_NAME), widths[column] - max(0, excess))
    return [gap.join(_cells(row, widths)).rstrip() for row in rows]


def _row(analysis: pb.Analysis, length: int, is_wide: bool) -> list[str]:
    rates = [MISSING] * 3
    if analysis.HasField("summary"):
        group = analysis.summary.groups["all"]
        rates = [
            format_optional(group, "top1_accuracy"),
            format_optional(group, "multi_label_accuracy"),
            format_count(severe_total(group.counts)),
        ]
    return [
        analysis.name.removeprefix(ANALYSES)[:length],
        creation_time(analysis),
        _text(analysis.display_name),
        _text(dataset_id(analysis.dataset)),
        _state(analysis, is_wide),
        *rates,
    ]


def _state(analysis: pb.Analysis, is_wide: bool) -> str:
    """Return the state of an analysis and notes on its result, or in narrow tables only a partial coverage."""
    coverage = partial_coverage(analysis) if analysis.HasField("summary") else ""
    if coverage and not is_wide:
        return f"{'subset' if analysis.HasField('subset') else 'partial'} {coverage.removesuffix(' of a subset')}"
    notes = ["implausible"] * analysis.implausible + [f"coverage {coverage}"] * bool(coverage)
    return enum_name(pb.Analysis.State, analysis.state) + (f" ({', '.join(notes)})" if notes else "")


def _text(text: str) -> str:
    return " ".join(without_controls(text).split())


def _cells(row: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    """Yield the cells of a row with the widths of their columns; rates are aligned to the right."""
    for column, (text, width) in enumerate(zip(row, widths, strict=True)):
        if cell_len(text) > width:
            yield set_cell_size(text, width - 1) + "…"
        elif column >= len(row) - NUM_RATES:
            yield " " * (width - cell_len(text)) + text
        else:
            yield set_cell_size(text, width)
