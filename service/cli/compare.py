"""errata compare: what changed from one analysis to another."""

from pathlib import Path

import click
from errata import Client, pb
from errata.messages import ERROR_TYPE_TITLES, format_count, format_percentage, format_points
from rich.table import Table

from service import wire
from service.analyses.compare import comparison_of_sides
from service.cli import folders
from service.cli.connect import connected, json_option, server_options
from service.cli.output import analysis_name, people, print_json, results, shown, tell_written, write
from service.domain import ErrorType
from service.report.comparison_view import comparison_view
from service.report.render import render_comparison


@click.command()
@click.argument("a")
@click.argument("b")
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="Write the comparison as HTML.")
@click.option("--most", default=10, show_default=True, help="How many fixed and broken images to show.")
@click.option("--reanalyze", is_flag=True, help="Judge B anew with A's evidence, if it was judged with another.")
@json_option
@server_options
def compare(
    a: str, b: str, output: Path | None, most: int, reanalyze: bool, as_json: bool, server: str | None, local: bool
) -> None:
    """Say what changed from A to B: two analyses of the same images, by name or as folders of --output."""
    if folders.all_folders([a, b]) and not reanalyze:
        one, other = folders.read_side(a), folders.read_side(b)
        result = comparison_of_sides(one, other, superclasses=None)
        message = wire.to_comparison(result)
        if output is not None:
            assert one.analysis.summary is not None and other.analysis.summary is not None, "this is a bug: finished"
            view = comparison_view(result, one.analysis.summary, other.analysis.summary)
            write(output, render_comparison(view).encode())
    else:
        with connected(server, local) as client:
            name_a, name_b = analysis_name(a), analysis_name(b)
            if reanalyze:
                name_b = _judged_alike(client, name_a, name_b)
            message = client.compare(name_a, name_b)
            if output is not None:
                write(output, client.comparison_report(name_a, name_b))
    if as_json:
        print_json(wire.to_json(message))
    else:
        _show_comparison(message, most)
    tell_written(output)


def _judged_alike(client: Client, name_a: str, name_b: str) -> str:
    """Return the name of B as judged with A's evidence, judged anew now if it was judged with another."""
    first, second = client.get(name_a), client.get(name_b)
    if first.evidence == second.evidence or first.dataset != second.dataset:
        return name_b
    result = client.reanalyze(second.name, first.evidence).name
    people().print(f"judged anew with A's evidence: {result}")
    return result


def _show_comparison(found: pb.Comparison, most: int) -> None:
    console = results()
    title = f"{found.display_name_a} → {found.display_name_b}"
    console.print(f"[bold]{shown(title)}[/] on {shown(found.dataset)}: {shown(found.verdict)}")
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("rate")
    for name in ("A", "B", "change, points", "95 % interval"):
        table.add_column(name, justify="right")
    everything = found.groups["all"]
    rows = [("top-1 accuracy", everything.rates["top1"]), ("multi-label accuracy", everything.multi_label_accuracy)]
    rows += [("severe error rate", everything.rates["severe"])] if everything.num_samples else []
    for name, rate in rows if everything.num_samples else []:
        interval = f"{format_points(-rate.high)} to {format_points(-rate.low)}"
        table.add_row(
            name, format_percentage(rate.a), format_percentage(rate.b), format_points(-rate.difference), interval
        )
    console.print(table)
    for what, flips, total in (
        ("broken", found.broken, everything.broken),
        ("fixed", found.fixed, everything.fixed),
    ):
        for flip in flips[: max(0, most)]:
            kinds = [ERROR_TYPE_TITLES[ErrorType(kind)] for kind in (flip.error_type_a, flip.error_type_b)]
            console.print(
                f"  {what}  {shown(flip.file_name)} shows {shown(flip.target_name)}: {shown(flip.predicted_a_name)} "
                f"({kinds[0]}) → {shown(flip.predicted_b_name)} ({kinds[1]})"
            )
        if total > most > 0:
            people().print(f"{format_count(most)} of {format_count(total)} {what}; --most shows more")
    if found.num_left_out:
        people().print(
            f"{format_count(found.num_left_out)} images that only one of both has a prediction for are left out"
        )
