"""errata evidence: build, show and verify evidence bundles."""

import json
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape

from service import wire
from service.bootstrap.build import build_evidence, verify_evidence
from service.cli.connect import json_option
from service.cli.output import people, print_json
from service.errors import InvalidEvidence
from service.evidence.bundle import Manifest, read_manifest
from service.report.words import number


@click.group()
def evidence() -> None:
    """Build, show and verify evidence bundles."""


@evidence.command()
@click.option("--dataset", required=True, help="demo or imagenet-real.")
@click.option("--output", required=True, type=click.Path(path_type=Path), metavar="BUNDLE", help="The folder to write.")
@json_option
def build(dataset: str, output: Path, as_json: bool) -> None:
    """Build a bundle from what is installed."""
    if (
        output.exists()
        and not (output / "manifest.json").is_file()
        and any(output.iterdir() if output.is_dir() else [output])
    ):
        raise InvalidEvidence(f"{output} is there and isn't a bundle: name a new folder", field="output")
    try:
        bundle = build_evidence(dataset, output)
    except OSError as error:
        raise InvalidEvidence(f"can't write the bundle to {output}: {error.strerror}", field="output") from error
    if not as_json:
        people().print(f"written: {output}")
    _tell(bundle.manifest, as_json)


@evidence.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@json_option
def show(bundle: Path, as_json: bool) -> None:
    """Show what a bundle holds, where it came from and which rules abstain."""
    _tell(read_manifest(bundle), as_json)


@evidence.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@json_option
def verify(bundle: Path, as_json: bool) -> None:
    """Check every byte of a bundle against its manifest, and its digest against its content."""
    wrong = verify_evidence(bundle)
    if as_json:
        print_json(json.dumps({"bundle": str(bundle), "wrong": wrong}))
    if wrong:
        raise InvalidEvidence(f"{bundle}: {'; '.join(wrong)}", field="bundle")
    if not as_json:
        people().print(f"{bundle}: sound, digest {read_manifest(bundle).digest}")


def _tell(manifest: Manifest, as_json: bool) -> None:
    if as_json:
        print_json(wire.to_json(wire.to_evidence(manifest)))
        return
    console = Console(highlight=False)
    console.print(f"[bold]{escape(manifest.dataset)}[/]  {manifest.digest}")
    for name, count in manifest.counts.items():
        console.print(f"  {name.replace('_', ' ')}: {number(count)}")
    abstained = ", ".join(error_type.name for error_type in manifest.abstained) or "none"
    console.print(f"  rules that abstain: {abstained}")
    for source in manifest.sources:
        console.print(f"  {escape(source.name)}: {escape(source.origin)} ({escape(source.license)})", style="dim")
