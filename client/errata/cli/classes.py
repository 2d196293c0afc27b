"""errata classes: the classes of a data set."""

from collections.abc import Iterator, Sequence

import click

from errata import pb
from errata.cli.commands import command
from errata.cli.connect import Target, connect, evidence_option, json_option, server_options
from errata.cli.output import without_controls
from errata.proto_json import to_json
from errata.requests import DEFAULT_DATASET

EXAMPLES = """
errata classes products
errata classes products --class "running shoe"
errata classes --local --evidence bundles/products --json
"""


@command(examples=EXAMPLES)
@click.argument("dataset", default="")
@click.option(
    "--class", "class_", default="", metavar="CLASS", help="Only this class: an index, an ID, or a unique name."
)
@evidence_option
@json_option
@server_options
def classes(dataset: str, class_: str, evidence: str, as_json: bool, target: Target) -> None:
    """List the classes of DATASET: index, ID, name, superclasses, and groups, separated by tabs.

    Uploads, labels, and filters accept the index, the ID, and a name or synonym that only one class has.
    """
    with connect(target, evidence) as connection:
        client, name = connection.client, dataset or connection.dataset or DEFAULT_DATASET
        if class_:
            result = [client.find_class(name, class_, connection.evidence)]
        else:
            result = client.classes(name, connection.evidence)
    if as_json:
        click.echo(to_json(pb.ListClassesResponse(classes=result)))
        return
    click.echo(without_controls("\n".join(class_lines(result))))


def class_lines(classes: Sequence[pb.Class]) -> Iterator[str]:
    """Yield a header, and a line for each class."""
    yield "index\tID\tname\tsuperclasses\tgroups"
    for item in classes:
        cells = (str(item.class_index), item.class_id, item.display_name, "; ".join(item.superclasses))
        yield "\t".join(" ".join(cell.split()) for cell in (*cells, "; ".join(item.groups)))
