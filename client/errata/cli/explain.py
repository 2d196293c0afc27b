"""errata explain: the verdict on a prediction for one image, and its evidence."""

from pathlib import Path

import click

from errata import pb
from errata.cli.commands import command
from errata.cli.connect import Target, connect, evidence_option, json_option, server_options
from errata.cli.console import stderr_console, stdout_console
from errata.cli.folder import find_verdict, is_folder, read_analysis
from errata.cli.resolve import resolve
from errata.cli.views import show_owner_and_coverage, show_verdicts
from errata.errors import InvalidRequest
from errata.proto_json import to_json
from errata.requests import DEFAULT_DATASET

EXAMPLES = """
errata explain ILSVRC2012_val_00000003.JPEG --analysis predictions.csv
errata explain ILSVRC2012_val_00000003.JPEG --predicted "rock python"
errata explain ILSVRC2012_val_00000003.JPEG --analysis results/
"""


@command(examples=EXAMPLES)
@click.argument("image")
@click.option("--analysis", help="The analysis whose data set, evidence, and prediction are used.")
@click.option("--dataset", default="", help=f"Without --analysis: the data set. Default: {DEFAULT_DATASET}.")
@evidence_option
@click.option(
    "--predicted",
    default="",
    metavar="CLASS",
    help="A class instead of the model's prediction: an index, an ID, or a unique name.",
)
@json_option
@server_options
def explain(
    image: str, analysis: str | None, dataset: str, evidence: str, predicted: str, as_json: bool, target: Target
) -> None:
    """Explain the verdict on a prediction for IMAGE, a file name of the data set.

    Needs --analysis or --predicted. If --analysis is a folder, no service is required, but no evidence is shown.
    """
    if analysis is not None and (dataset or evidence):
        raise InvalidRequest(
            "--analysis cannot be used with --dataset or --evidence. Remove --dataset and --evidence: "
            "the analysis determines them.",
            field="analysis",
        )
    if analysis is None and not predicted:
        raise InvalidRequest("--predicted and --analysis are missing. Use one of them.", field="predicted")
    details: pb.Analysis | None
    if analysis is not None and is_folder(analysis) and not predicted and not target.is_explicit:
        verdict, details = find_verdict(Path(analysis), image), read_analysis(Path(analysis))
        if not as_json:
            stderr_console().print(
                "The folder has no evidence. For the evidence, use --server or --local, and the ID of the analysis."
            )
    else:
        verdict, details = _explain(image, analysis, dataset, evidence, predicted, target)
    if as_json:
        click.echo(to_json(verdict))
        return
    console = stdout_console()
    if details is not None:
        show_owner_and_coverage(details, console)
    show_verdicts([verdict], console)


def _explain(
    image: str, analysis: str | None, dataset: str, evidence: str, predicted: str, target: Target
) -> tuple[pb.Verdict, pb.Analysis | None]:
    """Return a verdict, and its analysis; None without an analysis."""
    with connect(target, evidence) as connection:
        if analysis is not None:
            name = resolve(connection.client, analysis)
            return connection.client.explain(name, image, predicted or None), connection.client.get(name)
        dataset = dataset or connection.dataset or DEFAULT_DATASET
        return connection.client.explain_prediction(dataset, image, predicted, connection.evidence), None
