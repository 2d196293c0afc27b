"""errata evidence: build, show and verify evidence bundles."""

import json
from pathlib import Path
from typing import Any

import click
from errata.errors import InvalidEvidence
from errata.messages import format_count
from rich.markup import escape
from rich.progress import Progress, TaskID

from service import wire
from service.bootstrap.build import Inputs, build_evidence, embedding_cache, verify_evidence
from service.cli.connect import json_option
from service.cli.output import people, print_json, results
from service.evidence.bundle import Manifest, read_manifest
from service.settings import read_settings


@click.group()
def evidence() -> None:
    """Build, show and verify evidence bundles."""


FILE = click.Path(path_type=Path)


@evidence.command()
@click.option("--dataset", required=True, help="imagenet, imagenet-real, imagenet-a, demo, or a name of your own.")
@click.option("--annotations", type=FILE, help="The multi-label annotation, official JSON or CSV.")
@click.option("--mistakes", type=FILE, metavar="DIR", help="The metadata folder of imagenet-mistakes.")
@click.option("--artefacts", type=FILE, metavar="DIR", help="The authors' artefact folder.")
@click.option("--superclasses", type=FILE, help="A grouping in the authors' form; default: Errata's own.")
@click.option(
    "--labels", type=FILE, help="Labels of your own images: CSV file_name,labels or JSON {file_name: [labels]}."
)
@click.option("--encoder", default="", metavar="MODULE:CLASS", help="For example service.evidence.clip:OpenClip.")
@click.option("--images", type=FILE, metavar="DIR", help="The data set's images: a real encoder needs them.")
@click.option("--train-images", type=FILE, metavar="DIR", help="Training images, wnid/file: neighbors are computed.")
@click.option("--output", required=True, type=FILE, metavar="BUNDLE", help="The folder to write.")
@json_option
def build(dataset: str, output: Path, as_json: bool, **inputs: Any) -> None:
    """Build a bundle. What is missing falls back or makes its rule abstain, and the bundle says so."""
    if output.exists() and not (output / "manifest.json").is_file() and not _is_empty(output):
        raise InvalidEvidence(f"{output} is there and isn't a bundle: name a new folder", field="output")
    try:
        with Progress(console=people(), transient=True) as bars:
            tasks: dict[str, TaskID] = {}

            def progress(what: str, done: int, total: int) -> None:
                if what not in tasks:
                    tasks[what] = bars.add_task(what, total=total)
                bars.update(tasks[what], completed=done)

            given = Inputs(**inputs, cache=embedding_cache(read_settings()), progress=progress)
            bundle = build_evidence(dataset, given, output)
    except OSError as error:
        raise InvalidEvidence(
            f"can't write the bundle to {output}: {error.strerror or error}", field="output"
        ) from error
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
@click.option("--digest", default="", metavar="PREFIX", help="The digest that it must have, or the start of it.")
@json_option
def verify(bundle: Path, digest: str, as_json: bool) -> None:
    """Check every byte of a bundle against its manifest, and its digest against its content."""
    wrong = verify_evidence(bundle)
    result = read_manifest(bundle).digest
    if not result.startswith(digest):
        wrong.append(f"expected the digest {digest!r:.80}, got {result}")
    if as_json:
        print_json(json.dumps({"bundle": str(bundle), "wrong": wrong}))
    if wrong:
        raise InvalidEvidence(f"{bundle}: {'; '.join(wrong)}", field="bundle")
    if not as_json:
        people().print(f"{bundle}: sound, digest {result}")


def _is_empty(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _tell(manifest: Manifest, as_json: bool) -> None:
    if as_json:
        print_json(wire.to_json(wire.to_evidence(manifest)))
        return
    console = results()
    console.print(f"[bold]{escape(manifest.dataset)}[/]  {manifest.digest}")
    for name, count in manifest.counts.items():
        console.print(f"  {name.replace('_', ' ')}: {format_count(count)}")
    abstained = ", ".join(error_type.name for error_type in manifest.abstained) or "none"
    console.print(f"  rules that abstain: {abstained}")
    for source in manifest.sources:
        digest = f", SHA-256 {source.sha256[:16]}…" if source.sha256 else ""
        what = f"{source.name}: {source.origin} ({source.license}){digest}"
        console.print(f"  {escape(what)}", style="dim")
