"""errata dataset propose: superclasses as a starting point, in a file that a person edits."""

import json
from typing import Any

import click
from errata.cli.commands import FilePath, command
from errata.cli.connect import json_option
from errata.cli.console import safe, stderr_console
from errata.cli.output import STDOUT, check_outputs, output_path, print_path, write_output
from errata.cli.views import labeled
from errata.messages import format_count, pluralize

from service.bootstrap.superclass_proposal import ProposalInputs, propose_superclasses, write_proposal
from service.cli.dataset_options import FILE, row_order_option
from service.settings import read_settings


@command(
    examples="""
errata dataset propose --classes classes.csv --output superclasses.csv
errata dataset propose --classes classes.csv --labels val.csv --predictions model.csv --output superclasses.csv
errata dataset propose --classes classes.csv --encoder service.evidence.clip:OpenClip --output superclasses.csv
"""
)
@click.option("--classes", type=FILE, required=True, metavar="FILE", help="The classes, CSV or JSON.")
@click.option("--labels", type=FILE, metavar="FILE", help="Labels of images, with --predictions.")
@click.option(
    "--predictions", type=FILE, metavar="FILE", help="Predictions of a model, whose confused classes are grouped."
)
@row_order_option
@click.option(
    "--encoder",
    default="",
    metavar="MODULE:CLASS",
    help="Use the similarity of class names, for example by service.evidence.clip:OpenClip.",
)
@click.option(
    "--max-size",
    type=click.IntRange(min=2),
    default=10,
    show_default=True,
    metavar="N",
    help="The largest number of classes in a superclass.",
)
@click.option(
    "--output",
    type=FilePath(str),
    required=True,
    metavar="PATH",
    help="The CSV file to write, or a folder for it; '-' for stdout.",
)
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
@json_option
def propose(output: str, force: bool, as_json: bool, **inputs: Any) -> None:
    """Propose superclasses for classes that have none.

    They come from WordNet, from the confusions of a model, or from the similarity of class names. Check and edit the
    file, then pass it to 'errata evidence build' with --superclasses.
    """
    path = output_path(output, "superclasses.csv")
    check_outputs(as_json, path)
    proposal = propose_superclasses(ProposalInputs(**inputs, max_bytes=read_settings().max_upload_bytes))
    if path == STDOUT or force:
        write_output(path, proposal.to_csv())
    else:
        write_proposal(proposal, path)
    if as_json:
        summary = {
            "output": str(path),
            "origin": proposal.origin,
            "superclasses": len(proposal.superclasses),
            "classes_with_proposal": proposal.num_classes_with_proposal,
            "classes": proposal.label_space.num_classes,
            "notes": list(proposal.notes),
        }
        click.echo(json.dumps(summary, indent=2))
        return
    if path != STDOUT:
        print_path("Written", path)
    console = stderr_console()
    for note in proposal.notes:
        console.print(labeled("[yellow]note[/]", safe(note)))
    superclasses = pluralize(len(proposal.superclasses), "superclass", "superclasses")
    covered = format_count(proposal.num_classes_with_proposal)
    classes = pluralize(proposal.label_space.num_classes, "class", "classes")
    console.print(
        f"{superclasses} for {covered} of {classes}, proposed from {safe(proposal.origin)}. Check and edit the file "
        "before you use it.",
        style="dim",
    )
