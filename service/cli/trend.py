"""errata trend: what is normal at this accuracy."""

from pathlib import Path

import click
from errata import pb
from errata.errors import InvalidInput
from rich.table import Table

from service import wire
from service.analyses.trend import TrendRequest
from service.cli import folders
from service.cli.connect import connected, json_option, server_options
from service.cli.output import analysis_name, people, print_json, read, results, shown, tell_written, write
from service.domain import Group, Metric
from service.reference_models.layout import MAX_BYTES
from service.report.messages import METRIC_WORDS, points, share
from service.report.render import render_trend
from service.report.trend_view import trend_view

GROUPS = [group.value for group in Group]


@click.command()
@click.argument("analyses", nargs=-1, metavar="[A …]")
@click.option("--dataset", default="", help="Without A: the data set (default: imagenet-real).")
@click.option("--group", type=click.Choice(GROUPS), default="all", show_default=True, help="Whose errors.")
@click.option(
    "--by", default="", metavar="LABEL", help="Tell models apart: architecture, size, pre-training, or your own."
)
@click.option(
    "--reference", type=click.Path(path_type=Path), metavar="FILE", help="Published models, in the authors' CSV layout."
)
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="Write the trend as HTML.")
@json_option
@server_options
def trend(
    analyses: tuple[str, ...],
    dataset: str,
    group: str,
    by: str,
    reference: Path | None,
    output: Path | None,
    as_json: bool,
    server: str | None,
    local: bool,
) -> None:
    """Say where analyses (default: all stored ones) stand among models of their accuracy."""
    published = _read(reference) if reference is not None else b""
    question = TrendRequest(dataset=dataset, group=Group(group), by=by, reference=published)
    if folders.all_folders(analyses):
        result = folders.trend(analyses, question)
        message = wire.to_trend(result)
        if output is not None:
            write(output, render_trend(trend_view(result)).encode())
    else:
        request = pb.GetTrendRequest(
            names=[analysis_name(analysis) for analysis in analyses],
            dataset=dataset or ("" if analyses else "imagenet-real"),
            group=f"GROUP_{Group(group).name}",
            by=by,
            reference=published,
        )
        with connected(server, local) as client:
            message = client.trend(request)
            if output is not None:
                write(output, client.trend_report(request))
    if as_json:
        print_json(wire.to_json(message))
    else:
        _show_trend(message)
    tell_written(output)


def _show_trend(found: pb.Trend) -> None:
    console = results()
    own = [model for model in found.models if model.requested] or [model for model in found.models if model.name]
    for note in found.notes:
        people().print(f"[dim]{shown(note)}[/]")
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("model")
    table.add_column("top-1", justify="right")
    metrics = [metric for metric in Metric if any(metric.name in model.values for model in own)]
    for metric in metrics:
        table.add_column(METRIC_WORDS[metric], justify="right")
    for model in own:
        values = [share(model.values[item.name]) if item.name in model.values else "–" for item in metrics]
        table.add_row(shown(model.display_name), share(model.top1_accuracy), *values)
    console.print(table if own else "no analyses of this data set")
    for model in own[:10]:
        for standing in model.percentile_ranks:
            name = METRIC_WORDS[list(Metric)[standing.metric - 1]]
            console.print(f"  {shown(model.display_name)}, {name}: {shown(standing.message)}")
    shifts = [fit for fit in found.fits if fit.label and fit.HasField("shift")]
    if shifts:
        _show_shifts(found, shifts)


def _show_shifts(found: pb.Trend, shifts: list[pb.TrendFit]) -> None:
    metrics = list(dict.fromkeys(fit.metric for fit in shifts))
    table = Table(box=None, pad_edge=False, header_style="bold", title="points above what is usual at their accuracy")
    table.add_column(shown(found.by))
    for metric in metrics:
        table.add_column(METRIC_WORDS[list(Metric)[metric - 1]], justify="right")
    by_label: dict[str, dict[int, float]] = {}
    for fit in shifts:
        by_label.setdefault(fit.label, {})[fit.metric] = fit.shift
    for label, values in by_label.items():
        told = [points(values[metric]) if metric in values else "–" for metric in metrics]
        table.add_row(shown(label), *told)
    results().print(table)


def _read(file: Path) -> bytes:
    try:
        return read(file, MAX_BYTES)
    except OSError as error:
        raise InvalidInput(f"can't read {file}: {error.strerror}", field="reference") from error
