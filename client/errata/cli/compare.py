"""errata compare: changes from one analysis to another."""

from pathlib import Path

import click

from errata import Client, pb
from errata.cli.commands import command
from errata.cli.connect import Target, connect, json_option, server_options
from errata.cli.console import safe, stderr_console, stdout_console
from errata.cli.extensions import EXTENSIONS_GROUP, load_extension
from errata.cli.folder import all_folders
from errata.cli.output import STDOUT, limit_option, print_json, print_path, report_option, report_path, write_output
from errata.cli.resolve import resolve
from errata.cli.views import new_table
from errata.error_types import title_of
from errata.messages import format_change, format_count, format_percentage, format_range, labels_accuracy_name
from errata.names import dataset_id
from errata.proto_json import to_json

EXAMPLES = """
errata compare resnet50 resnet101
errata compare 01kb4t9z 01kb4tbq --output comparison.html
errata compare results/before results/after --json
"""


@command(examples=EXAMPLES)
@click.argument("a")
@click.argument("b")
@report_option
@limit_option(10, "Maximum number of fixed and of broken images to show.")
@click.option("--reanalyze", is_flag=True, help="Analyze B again with the evidence of A if B has other evidence.")
@json_option
@server_options
def compare(a: str, b: str, output: str | None, limit: int, reanalyze: bool, as_json: bool, target: Target) -> None:
    """Compare analysis A with analysis B of the same images, for example before and after a change of a model.

    Comparing two folders that 'errata analyze --output' wrote requires the package errata-service, but no service.
    """
    path = report_path(output, "comparison.html", as_json)
    if all_folders([a, b]) and not reanalyze and not target.is_explicit:
        compare_folders = load_extension(EXTENSIONS_GROUP, "compare-folders", "'errata compare' on folders")
        comparison, html = compare_folders(Path(a), Path(b), with_report=path is not None)
    else:
        with connect(target) as connection:
            client = connection.client
            name_a, name_b = resolve(client, a), resolve(client, b)
            if reanalyze:
                name_b = _with_same_evidence(client, name_a, name_b)
            comparison = client.compare(name_a, name_b)
            html = client.comparison_report(name_a, name_b) if path is not None else b""
    if path is not None:
        write_output(path, html)
    if as_json:
        print_json(to_json(comparison))
    elif path != STDOUT:
        _show_comparison(comparison, limit)
    if path is not None and path != STDOUT:
        print_path("Written", path)


def _with_same_evidence(client: Client, name_a: str, name_b: str) -> str:
    """Return the name of B, or of a new analysis of B's predictions if its evidence differs from that of A."""
    first, second = client.get(name_a), client.get(name_b)
    if first.evidence == second.evidence or first.dataset != second.dataset:
        return name_b
    name = client.reanalyze(second.name, first.evidence).name
    stderr_console().print(f"Analyzed B again with the evidence of A: {safe(name)}")
    return name


def _show_comparison(comparison: pb.Comparison, limit: int) -> None:
    console = stdout_console()
    title = f"{comparison.display_name_a} → {comparison.display_name_b}"
    console.print(f"[bold]{safe(title)}[/] on {safe(dataset_id(comparison.dataset))}: {safe(comparison.headline)}")
    everything = comparison.groups["all"]
    if everything.num_samples:
        table = new_table("rate", "A", "B", "change, points", "95 % interval")
        labels_accuracy = labels_accuracy_name(dataset_id(comparison.dataset), comparison.num_rejected_targets)
        for name, is_known, interval in (
            ("top-1 accuracy", True, everything.rates["top1"]),
            (labels_accuracy, everything.HasField("accuracy_against_labels"), everything.accuracy_against_labels),
            ("multi-label accuracy", everything.HasField("multi_label_accuracy"), everything.multi_label_accuracy),
            ("severe error rate", True, everything.rates["severe"]),
        ):
            if not is_known:
                continue
            rates = (format_percentage(interval.a), format_percentage(interval.b))
            table.add_row(name, *rates, format_change(interval), format_range(interval))
        console.print(table)
    for label, images, total in (
        ("broken", comparison.broken, everything.broken),
        ("fixed", comparison.fixed, everything.fixed),
    ):
        for image in images[:limit]:
            before, after = map(title_of, (image.error_type_a, image.error_type_b))
            console.print(
                f"  {label}  {safe(image.file_name)}, label {safe(image.effective_target_name or image.target_name)}: "
                f"{safe(image.predicted_a_name)} ({safe(before)}) → {safe(image.predicted_b_name)} ({safe(after)})"
            )
        if total > limit > 0:
            stderr_console().print(
                f"Showing {format_count(limit)} of {format_count(total)} {label} images. Use --limit to show more."
            )
    if comparison.num_left_out:
        count = format_count(comparison.num_left_out)
        stderr_console().print(f"Images excluded because only one analysis has a prediction: {count}.")
