"""errata compare: changes from one analysis to another."""

from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console

from errata import Client, pb
from errata.accuracies import find_class_accuracy
from errata.changes import changes_of
from errata.cli.commands import command
from errata.cli.connect import Target, connect, json_option, server_options
from errata.cli.console import safe, stderr_console, stdout_console
from errata.cli.extensions import EXTENSIONS_GROUP, load_extension
from errata.cli.folder import all_folders, read_analysis
from errata.cli.limit import USE_LIMIT, is_limit_set, limit_option, print_limit_hint
from errata.cli.output import STDOUT, print_path, report_option, report_path, write_output
from errata.cli.resolve import resolve
from errata.cli.slices import show_slice_changes
from errata.cli.value_names import distinct_names
from errata.cli.views import NARROW, labeled, new_table, show_abstentions
from errata.coverage import compared_coverage_note
from errata.error_types import title_of
from errata.groups import ALL, sort_groups
from errata.messages import (
    CLASS_ACCURACY,
    IMAGE_ACCURACY,
    MISSING,
    format_change,
    format_count,
    format_p_value,
    format_percentage,
    format_range,
    labels_accuracy_name,
)
from errata.names import dataset_id
from errata.proto_json import to_json

CHANGE = ("change, points", "95 % interval", "p")
NARROW_CHANGE = ("points", "95 % interval")
DEFAULT_IMAGES = 1000  # fixed images, and as many broken images, in the JSON
MAX_IMAGES = 50_000  # maximum of a service
EXAMPLES = """
errata compare resnet50 resnet101
errata compare 01kb4t9z 01kb4tbq --output comparison.html
errata compare results/before results/after --json
"""


@command(examples=EXAMPLES)
@click.argument("a")
@click.argument("b")
@report_option
@limit_option(
    10,
    "Maximum number of fixed images, of broken images, and of changed superclasses, classes, and slices. With --json, "
    f"it applies only to images, and its default is {DEFAULT_IMAGES}.",
)
@click.option("--reanalyze", is_flag=True, help="Analyze B again with the evidence of A if B has other evidence.")
@json_option
@server_options
def compare(a: str, b: str, output: str | None, limit: int, reanalyze: bool, as_json: bool, target: Target) -> None:
    """Compare analysis A with analysis B of the same images, for example before and after a change of a model.

    To compare folders that 'errata analyze --output' wrote, install errata-service. No running service is needed.
    """
    path = report_path(output, "comparison.html", as_json)
    num_images = max(limit, DEFAULT_IMAGES)  # the report of folders needs more images than the table
    if all_folders([a, b]) and not reanalyze and not target.is_explicit:
        compare_folders = load_extension(EXTENSIONS_GROUP, "compare-folders", "'errata compare' on folders")
        comparison, html = compare_folders(Path(a), Path(b), with_report=path is not None, max_images=num_images)
        analyses = [read_analysis(Path(folder)) for folder in (a, b)]
    else:
        with connect(target) as connection:
            client = connection.client
            name_a, name_b = resolve(client, a), resolve(client, b)
            if reanalyze:
                name_b = _with_same_evidence(client, name_a, name_b)
            comparison = client.compare(name_a, name_b, min(num_images, MAX_IMAGES))
            html = client.comparison_report(name_a, name_b) if path is not None else b""
            analyses = [client.get(name) for name in (name_a, name_b)]
    if path is not None:
        write_output(path, html)
    if as_json:
        if is_limit_set():
            del comparison.fixed[limit:], comparison.broken[limit:]
        click.echo(to_json(comparison))
    elif path != STDOUT:
        _show_comparison(comparison, analyses, limit)
    if path is not None and path != STDOUT:
        print_path("Written", path)


def _with_same_evidence(client: Client, name_a: str, name_b: str) -> str:
    """Return the name of B. If B's evidence differs from A's, analyze B's predictions again and return the new name."""
    first, second = client.get(name_a), client.get(name_b)
    if first.evidence == second.evidence or first.dataset != second.dataset:
        return name_b
    name = client.reanalyze(second.name, first.evidence).name
    stderr_console().print(f"Analyzed B again with the evidence of A: {safe(name)}")
    return name


def _show_comparison(comparison: pb.Comparison, analyses: Sequence[pb.Analysis], limit: int) -> None:
    console = stdout_console()
    title = f"{comparison.display_name_a} → {comparison.display_name_b}"
    console.print(f"[bold]{safe(title)}[/] on {safe(dataset_id(comparison.dataset))}: {safe(comparison.headline)}")
    owners = [analysis.owner or MISSING for analysis in analyses]
    if any(analysis.owner for analysis in analyses):
        console.print(safe(f"Owner of A: {owners[0]}. Owner of B: {owners[1]}."))
    everything = comparison.groups["all"]
    if coverage := compared_coverage_note(analyses, everything.num_samples):
        console.print(safe(coverage))
    show_abstentions(comparison.abstained, console)
    if everything.num_samples:
        _show_rates(comparison, console)
        _show_groups(comparison, console)
        _show_changes(everything, limit, console)
    show_slice_changes(comparison.slices, limit, console)
    for label, images, total in (
        ("broken", comparison.broken, everything.broken),
        ("fixed", comparison.fixed, everything.fixed),
    ):
        visible = images[:limit]
        for image in visible:
            before, after = map(title_of, (image.error_type_a, image.error_type_b))
            text = (
                f"{safe(image.file_name)}, label {safe(image.effective_target_name or image.target_name)}: "
                f"{safe(image.predicted_a_name)} ({safe(before)}) → {safe(image.predicted_b_name)} ({safe(after)})"
            )
            console.print(labeled(f"  {label}", text))
        if limit and total > len(visible):
            command = f"errata images {comparison.b} --baseline {comparison.a} --change {label} --limit {total}"
            is_maximum = len(visible) < limit  # the limit is above the maximum of the service
            remedy = f"To list all of them, use '{command}'." if is_maximum else USE_LIMIT
            print_limit_hint(len(visible), f"{label} image", total=total, remedy=remedy)
    if comparison.num_left_out:
        count = format_count(comparison.num_left_out)
        stderr_console().print(f"Images excluded because only one analysis has a prediction: {count}.")


def _show_rates(comparison: pb.Comparison, console: Console) -> None:
    """Show the rates of A and B over all images, with the intervals of their changes."""
    group = comparison.groups[ALL]
    labels_accuracy = labels_accuracy_name(dataset_id(comparison.dataset), comparison.num_rejected_targets)
    table = new_table("rate", "A", "B", "change, points", "95 % interval")
    for name, interval in (
        ("top-1 accuracy", group.rates["top1"]),
        (labels_accuracy, group.accuracy_against_labels if group.HasField("accuracy_against_labels") else None),
        (IMAGE_ACCURACY, group.rates["multi_label"]),
        (CLASS_ACCURACY, find_class_accuracy(group)),
        ("severe error rate", group.rates["severe"]),
    ):
        if interval is not None:
            rates = (format_percentage(interval.a), format_percentage(interval.b))
            table.add_row(name, *rates, format_change(interval), format_range(interval))
    console.print(table)


def _show_groups(comparison: pb.Comparison, console: Console) -> None:
    """Show the accuracies of A and B in each group."""
    table = new_table("group", "images", "top-1 accuracy", IMAGE_ACCURACY, CLASS_ACCURACY)
    for group in sort_groups(comparison.groups):
        result = comparison.groups[group]
        if result.num_samples:
            cells = [_from_a_to_b(result.rates[metric]) for metric in ("top1", "multi_label")]
            accuracy = find_class_accuracy(result)
            cells.append(MISSING if accuracy is None else _from_a_to_b(accuracy))
            table.add_row(safe(group), format_count(result.num_samples), *cells)
    console.print(table)


def _from_a_to_b(interval: pb.Interval) -> str:
    return f"{format_percentage(interval.a)} → {format_percentage(interval.b)}"


def _show_changes(group: pb.GroupComparison, limit: int, console: Console) -> None:
    """Show the error types, superclasses, and classes with changes, the smallest adjusted p-value first."""
    for kind, title in (("error_type", "error type"), ("superclass", "superclass"), ("class", "class")):
        changes = list(changes_of(group, kind))
        rows = changes if kind == "error_type" else changes[:limit]  # error types are few
        if not rows:
            continue
        is_narrow = console.width < NARROW
        names = distinct_names((item.class_index, item.name) for item in changes)
        table = new_table(title, "only A", "only B", *(NARROW_CHANGE if is_narrow else CHANGE), "adjusted p")
        for change in rows:
            name = title_of(change.name) if kind == "error_type" else names[change.class_index, change.name]
            table.add_row(
                safe(name),
                format_count(change.only_a),
                format_count(change.only_b),
                format_change(change.share),
                format_range(change.share),
                *([] if is_narrow else [format_p_value(change.test.p_value)]),
                format_p_value(change.test.adjusted_p_value) + (" *" if change.test.significant else "  "),
            )
        console.print(table)
        significant = sum(change.test.significant for change in changes)
        console.print(
            f"[dim]{format_count(significant)} of {format_count(len(changes))} significant (*): McNemar's exact test, "
            "Benjamini–Hochberg at 5 %.[/]"
        )
        has = "this error type" if kind == "error_type" else "an error"
        console.print(f"[dim]only A, only B: images that have {has} in one analysis only.[/]")
