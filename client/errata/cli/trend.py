"""errata trend: analyses among models of the same accuracy."""

from pathlib import Path

import click

from errata import pb
from errata.cli.commands import FilePath, command
from errata.cli.connect import Target, connect, json_option, server_options
from errata.cli.console import safe, stderr_console, stdout_console
from errata.cli.extensions import EXTENSIONS_GROUP, load_extension
from errata.cli.folder import all_folders
from errata.cli.output import STDOUT, print_path, read_input, report_option, report_path, write_output
from errata.cli.resolve import resolve
from errata.cli.views import indented, new_table
from errata.errors import InvalidInput
from errata.groups import ALL, top1_title
from errata.messages import (
    METRIC_NAMES,
    MISSING,
    format_percentage,
    format_points,
    metric_name,
)
from errata.names import dataset_id
from errata.proto_json import to_json
from errata.trend_metrics import model_title, value_title

MAX_REFERENCE = 3 << 20  # bytes, as the API accepts
MAX_COLUMNS = 3  # models beside each other on a narrow terminal
MAX_RANKED = 10  # models whose percentiles are shown
EXAMPLES = """
errata trend
errata trend resnet50 resnet101 --by architecture
errata trend --dataset imagenet-real --output trend.html
errata trend --owner pipeline
errata trend results/a results/b results/c
"""


@command(examples=EXAMPLES)
@click.argument("analyses", nargs=-1, metavar="[ANALYSIS]...")
@click.option(
    "--dataset", default="", help="Without ANALYSIS: the data set. Default: the one with the most succeeded analyses."
)
@click.option(
    "--group",
    default=ALL,
    metavar="NAME",
    show_default=True,
    help="The group of images whose errors are compared: a group of the label space.",
)
@click.option(
    "--by",
    default="",
    metavar="LABEL",
    help="Group models by a label, or by owner, model, architecture, architecture-family, pre-training, or size.",
)
@click.option(
    "--owner",
    default="",
    help="Besides ANALYSIS, only analyses of this owner: a token's name, or registry:ID.",
)
@click.option(
    "--reference",
    type=FilePath(),
    metavar="FILE",
    help="Published models, in the CSV layout of the paper's authors.",
)
@report_option
@json_option
@server_options
def trend(
    analyses: tuple[str, ...],
    dataset: str,
    group: str,
    by: str,
    owner: str,
    reference: Path | None,
    output: str | None,
    as_json: bool,
    target: Target,
) -> None:
    """Compare the error types of analyses with those of models of the same accuracy.

    Without ANALYSIS, the trend is of all stored analyses of the data set, or of those of an owner.

    To compare folders that 'errata analyze --output' wrote, install errata-service. No running service is needed.
    """
    path = report_path(output, "trend.html", as_json)
    models = read_input(reference, MAX_REFERENCE, "reference") if reference is not None else None
    if models == b"":
        raise InvalidInput(f"{reference} is empty. Pass a CSV file of published models.", field="reference")
    request = pb.ComputeTrendRequest(
        dataset=dataset,
        group=group,
        by=by,
        owner=owner,
        reference=models,
    )
    if all_folders([*analyses]) and not target.is_explicit:
        trend_folders = load_extension(EXTENSIONS_GROUP, "trend-folders", "'errata trend' on folders")
        result, html = trend_folders([Path(folder) for folder in analyses], request, with_report=path is not None)
    else:
        with connect(target) as connection:
            client = connection.client
            request.analyses.extend(resolve(client, analysis) for analysis in analyses)
            result = client.trend(request)
            html = client.trend_report(request) if path is not None else b""
    if path is not None:
        write_output(path, html)
    if as_json:
        click.echo(to_json(result))
    elif path != STDOUT:
        _show_trend(result, is_selection=bool(analyses))
    if path is not None and path != STDOUT:
        print_path("Written", path)


def _show_trend(result: pb.Trend, is_selection: bool) -> None:
    console, dataset = stdout_console(), dataset_id(result.dataset)
    models = [model for model in result.models if (model.requested if is_selection else model.analysis)]
    if models and not is_selection:
        stderr_console().print(f"[dim]Data set: {safe(dataset)}[/]")
    for note in result.notes:
        stderr_console().print(f"[dim]{safe(note)}[/]")
    if not models and not is_selection:
        of_owner = f" and owner '{result.owner}'" if result.owner else ""
        stderr_console().print(
            safe(
                f"No analyses of data set '{dataset}'{of_owner}. Choose another data set with --dataset, or run "
                "'errata analyze'."
            )
        )
    if not models:
        return
    metrics = [metric for metric in METRIC_NAMES if any(metric in model.values for model in models)]
    rows = [["model", *map(model_title, models)]]
    rows.append([top1_title(result.group), *(format_percentage(model.top1_accuracy) for model in models)])
    for metric in metrics:
        values = [format_percentage(model.values[metric]) if metric in model.values else MISSING for model in models]
        rows.append([value_title(result, metric), *values])
    width = sum(max(map(len, row)) + 2 for row in rows)
    is_transposed = width > console.width and len(models) <= MAX_COLUMNS
    header, *body = rows if is_transposed else zip(*rows, strict=True)
    table = new_table(*map(safe, header))
    for row in body:
        table.add_row(*map(safe, row))
    console.print(table)
    for model in models[:MAX_RANKED]:
        for rank in model.percentile_ranks:
            text = f"{safe(model_title(model))}, {safe(metric_name(rank.metric))}: {safe(rank.message)}"
            console.print(indented(text, 2))
    shifts = [fit for fit in result.fits if fit.label and fit.HasField("shift")]
    if shifts:
        _show_shifts(result, shifts)


def _show_shifts(result: pb.Trend, shifts: list[pb.TrendFit]) -> None:
    metrics = list(dict.fromkeys(fit.metric for fit in shifts))
    title = "Points above the usual value at the same accuracy"
    table = new_table(safe(result.by), *(safe(metric_name(metric)) for metric in metrics), title=title)
    by_label: dict[str, dict[str, float]] = {}
    for fit in shifts:
        by_label.setdefault(fit.label, {})[fit.metric] = fit.shift
    for label, values in by_label.items():
        table.add_row(safe(label), *(format_points(values[name]) if name in values else MISSING for name in metrics))
    stdout_console().print(table)
