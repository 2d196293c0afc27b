"""errata list: analyses, newest first."""

import json
from collections.abc import Sequence
from itertools import islice

import click
from click.core import ParameterSource
from rich.table import Table

from errata import pb
from errata.cli.commands import command
from errata.cli.connect import Target, connect, json_option, server_options
from errata.cli.console import print_json, safe, stderr_console, stdout_console
from errata.cli.labels import label_option, parse_labels
from errata.cli.resolve import PREFIX, short_id_length
from errata.cli.views import NARROW, new_table, state_name
from errata.messages import MISSING, format_count, format_percentage
from errata.proto_json import to_dict

STATES = [state.removeprefix("STATE_").lower() for state in pb.State.keys()[1:]]
DEFAULT_LIMIT = 50
MIN_NAME, MAX_DATASET = 12, 16  # columns
EXAMPLES = """
errata list
errata list --dataset imagenet-real --state succeeded --limit 10
errata list --label team=vision --json
"""


@command("list", examples=EXAMPLES)
@click.option("--state", "states", type=click.Choice(STATES), multiple=True, help="Only this state. Can be repeated.")
@click.option("--dataset", default="", help="Only this data set.")
@click.option("--model", default="", help="Only this model identifier.")
@label_option("Only analyses with this label. Can be repeated.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=DEFAULT_LIMIT,
    show_default=True,
    help="Maximum number of analyses; --json prints all unless you set it.",
)
@json_option
@server_options
@click.pass_context
def list_analyses(
    ctx: click.Context,
    states: tuple[str, ...],
    dataset: str,
    model: str,
    labels: tuple[str, ...],
    limit: int,
    as_json: bool,
    target: Target,
) -> None:
    """List analyses, newest first."""
    condition = pb.AnalysisFilter(
        states=[f"STATE_{state.upper()}" for state in states], dataset=dataset, model=model, labels=parse_labels(labels)
    )
    unlimited = as_json and ctx.get_parameter_source("limit") is ParameterSource.DEFAULT
    with connect(target) as connection:
        analyses = [*islice(connection.client.list(condition), None if unlimited else limit + 1)]
    shown = analyses if unlimited else analyses[:limit]
    if as_json:
        print_json(json.dumps({"analyses": [to_dict(analysis) for analysis in shown], "next_page_token": ""}, indent=2))
        return
    console = stdout_console()
    if not shown:
        has_condition = condition != pb.AnalysisFilter()
        stderr_console().print("No analyses match." if has_condition else "No analyses. 'errata analyze' creates one.")
        return
    console.print(analyses_table(analyses, len(shown), console.width))
    if len(analyses) > limit:
        stderr_console().print(f"{format_count(limit)} analyses are shown. --limit shows more.")


def analyses_table(analyses: Sequence[pb.Analysis], limit: int, width: int) -> Table:
    """Return a table of analyses, one per line.

    Args:
        analyses: The analyses; those beyond `limit` only lengthen the IDs, so that the others remain unique.
        limit: Number of analyses in the table.
        width: Columns of the output. Names are shortened to fit, and narrow tables have fewer columns.
    """
    length = short_id_length([analysis.name for analysis in analyses])
    wide = width >= NARROW
    table = new_table("id", "created (UTC)", "name", "data set", "state", "top-1", left=5)
    rates = ["top-1 accuracy"] if not wide else ["top-1 accuracy", "multi-label accuracy", "model failures"]
    rows = [_row(analysis, length, rates) for analysis in analyses[:limit]]
    widths = [max(len(row[column]) for row in [*rows, _TITLES]) for column in range(6)]
    for title in ("multi-label", "failures") if wide else ():
        table.add_column(title, justify="right")
    dataset_width = min(widths[3], MAX_DATASET) if not wide else widths[3]
    others = sum(widths) - widths[2] - widths[3] + dataset_width + 5 * 2
    for column in table.columns:
        column.no_wrap, column.overflow = True, "ellipsis"
    if not wide:
        table.columns[2].max_width = max(MIN_NAME, width - others)
        table.columns[3].max_width = dataset_width
    for row in rows:
        table.add_row(*map(safe, row))
    return table


_TITLES = ["id", "created (UTC)", "name", "data set", "state", "top-1"]


def _row(analysis: pb.Analysis, length: int, rates: list[str]) -> list[str]:
    values = dict.fromkeys(rates, MISSING)
    if analysis.HasField("summary"):
        group = analysis.summary.groups["all"]
        for name, field in (("top-1 accuracy", "top1_accuracy"), ("multi-label accuracy", "multi_label_accuracy")):
            values[name] = format_percentage(getattr(group, field) if group.HasField(field) else None)
        values["model failures"] = format_count(group.counts["MODEL_FAILURE"])
    return [
        analysis.name.removeprefix(PREFIX)[:length],
        f"{analysis.create_time.ToDatetime():%Y-%m-%d %H:%M}",
        " ".join(analysis.display_name.split()),
        analysis.dataset,
        state_name(analysis.state),
        *(values[name] for name in rates),
    ]
