"""errata dataset: check the files of your own data set, and propose superclasses."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from errata.cli.commands import GroupWithExamples
from errata.cli.connect import json_option
from errata.cli.console import safe, stdout_console
from errata.cli.exit_codes import CHECK_FAILED
from errata.cli.views import labeled
from errata.errors import InvalidInput
from errata.messages import pluralize
from rich.console import Console

from service.bootstrap.dataset_check import Inputs, check_files
from service.cli.dataset_options import FILE, dataset_options, row_order_option
from service.cli.propose import propose
from service.domain import AnalysisRequest, RowOrder
from service.evidence.dataset_check import Advice, find_advice
from service.evidence.dataset_files import DatasetFiles, FileError
from service.settings import read_settings

EXAMPLES = """
errata dataset check --classes classes.csv --labels labels.csv
errata dataset check --classes classes.csv --labels labels.csv --predictions predictions.csv
"""


@click.group(cls=GroupWithExamples, examples=EXAMPLES)
def dataset() -> None:
    """Check the files of your own data set, and propose superclasses."""


dataset.add_command(propose)


@dataset.command(examples=EXAMPLES)
@dataset_options
@click.option("--predictions", type=FILE, metavar="FILE", help="Predictions of a model to check. Requires --labels.")
@row_order_option
@click.option(
    "--dataset", default="my-data-set", help="A built-in data set, such as cifar-100, whose classes the labels use."
)
@json_option
def check(dataset: str, predictions: Path | None, row_order: RowOrder, as_json: bool, **inputs: Any) -> None:
    """List the errors of all files of a data set, with their lines, and what would improve the error breakdown.

    'errata evidence build' accepts the same files. Exit code: 1 if a file has errors; 0 if there is only advice.
    """
    if not (inputs["classes"] or inputs["labels"]):
        raise InvalidInput("There is nothing to check. Add --classes FILE, --labels FILE, or both.", field="classes")
    request = AnalysisRequest(dataset, row_order=row_order)
    files = check_files(request, Inputs(**inputs), predictions, read_settings().max_upload_bytes)
    advice = [] if files.dataset is None else find_advice(files.dataset)
    if as_json:
        click.echo(json.dumps(_to_plain(files, advice), indent=2))
    else:
        _show(stdout_console(), files, advice)
    if files.errors:
        click.get_current_context().exit(CHECK_FAILED)


def _to_plain(files: DatasetFiles, advice: list[Advice]) -> dict[str, Any]:
    data = files.dataset
    return {
        "errors": [asdict(error) for error in files.errors],
        "advice": [asdict(item) for item in advice],
        "unchecked": files.unchecked,
        "classes": None if data is None else data.label_space.num_classes,
        "images": None if data is None or data.images is None else len(data.images.names),
    }


def _show(console: Console, files: DatasetFiles, advice: list[Advice]) -> None:
    for error in files.errors:
        console.print(labeled("[red]error[/]", f"{safe(_place(error))}: {safe(error.message)}"))
    for file in files.unchecked:
        console.print(labeled("[yellow]not checked[/]", f"{safe(file)}: it depends on a file with errors"))
    for item in advice:
        console.print(labeled("[yellow]advice[/]", safe(item.message)))
    if files.dataset is not None:
        images = files.dataset.images
        counts = [pluralize(files.dataset.label_space.num_classes, "class", "classes")]
        counts += [] if images is None else [pluralize(len(images.names), "image")]
        console.print(", ".join(counts), style="dim")
    console.print(f"{pluralize(len(files.errors), 'error')}, {pluralize(len(advice), 'recommendation')}")


def _place(error: FileError) -> str:
    place = "" if error.line is None else f", {error.unit} {error.line}"
    return f"{error.file}{place}{f', {error.field}' if error.field else ''}"
