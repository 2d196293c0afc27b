"""errata report: the report of an analysis as one HTML file."""

from pathlib import Path

import click

from errata.cli.commands import FilePath, command
from errata.cli.connect import Target, connect, server_options
from errata.cli.folder import MAX_REPORT, REPORT, is_folder, read_part
from errata.cli.output import STDOUT, output_path, print_path, write_output
from errata.cli.resolve import resolve
from errata.errors import InvalidRequest

EXAMPLES = """
errata report predictions.csv
errata report 01kb4t9z --output reports/resnet50.html
errata report results/ --output - > report.html
errata report 01kb4t9z --thumbnails
"""


@command(examples=EXAMPLES)
@click.argument("analysis")
@click.option(
    "--output",
    type=FilePath(str),
    default=REPORT,
    show_default=True,
    metavar="PATH",
    help="The file to write, or a folder for it; '-' for stdout.",
)
@click.option(
    "--thumbnails",
    is_flag=True,
    help="Embed thumbnails of the worst 200 errors, at most 5 MB. A reader of the file then sees these images.",
)
@server_options
def report(analysis: str, output: str, thumbnails: bool, target: Target) -> None:
    """Write the report of ANALYSIS as one HTML file, which needs no other files."""
    if is_folder(analysis) and not target.is_explicit:
        if thumbnails:
            raise InvalidRequest(
                f"The report in {analysis} is already written. Add --local or --server to write it with thumbnails.",
                field="thumbnails",
            )
        content = read_part(Path(analysis), REPORT, MAX_REPORT)
    else:
        with connect(target) as connection:
            content = connection.client.report(resolve(connection.client, analysis), thumbnails)
    path = output_path(output, REPORT)
    write_output(path, content)
    if path != STDOUT:
        print_path("Written", path)
