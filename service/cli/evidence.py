"""errata evidence: build, show, verify, and assess evidence bundles, and show who changed the evidence."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click
from errata.cli.commands import GroupWithExamples
from errata.cli.connect import json_option
from errata.cli.console import safe, stderr_console, stdout_console
from errata.cli.output import one_line, print_path, resolve_path
from errata.cli.views import indented, new_table
from errata.errors import EvidenceNotFound, InvalidEvidence
from errata.messages import format_count
from errata.names import evidence_id
from errata.proto_json import to_json

from service import wire
from service.analyses.evidence_versions import export_audit_events
from service.bootstrap.build import (
    Inputs,
    audit_events,
    build_evidence,
    build_from_reviews,
    embedding_cache,
    expert_agreement,
    find_published,
    verify_evidence,
)
from service.cli.build_progress import show_progress
from service.cli.bundle_paths import SHORT_DIGEST, BundlePaths
from service.cli.dataset_options import FILE, dataset_options
from service.evidence.agreement import agreement_to_plain
from service.evidence.bundle import Bundle, open_bundle
from service.evidence.manifest import LABEL_SPACE, MANIFEST, folder_of, is_bundle, read_manifest
from service.report.agreement_view import agreement_view
from service.settings import read_settings

FILE_MANAGER_FILES = (".DS_Store", "Thumbs.db", "desktop.ini")
ARCHIVE = Path("/dev/null/archive")  # value of --reviews without a file; no file can have this path
COUNT_NAMES = {  # other counts have the names of the manifest
    "co_occurrence_pairs": "co-occurrence pairs",
    "judged": "images with verdicts",
}
EXAMPLES = """
errata evidence build --dataset imagenet-real --output bundles/imagenet-real
errata evidence show bundles/imagenet-real
errata evidence verify 3f2a90
errata evidence audit
errata evidence agreement bundles/imagenet --mistakes imagenet-mistakes/metadata
"""


@click.group(cls=GroupWithExamples, examples=EXAMPLES)
def evidence() -> None:
    """Build, show, verify, and assess bundles. BUNDLE is the folder of a bundle, or the start of its digest."""


@evidence.command(
    examples="""
errata evidence build --dataset imagenet-real --output bundles/imagenet-real
errata evidence build --dataset street --labels labels.csv --output bundles/street
errata evidence build --dataset products --classes classes.csv --labels labels.csv --output bundles/products
errata evidence build --base bundles/products --reviews reviews.jsonl --output bundles/products-2
"""
)
@click.option(
    "--dataset",
    default="",
    help="imagenet, imagenet-real, imagenet-a, imagenet-c, imagenet-r, imagenet-sketch, imagenet-v2, cifar-100, demo, "
    "or a name of your choice. Required without --base.",
)
@click.option("--base", default="", metavar="BUNDLE", help="Bundle whose labels reviews correct: its digest or path.")
@click.option(
    "--reviews",
    type=FILE,
    metavar="[FILE]",
    is_flag=False,
    flag_value=str(ARCHIVE),
    help="With --base: JSON lines of 'errata review export'. Without a file, as by default, those of the archive.",
)
@click.option(
    "--min-reviews",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Count only classes on which this many reviewers voted.",
)
@dataset_options
@click.option("--annotations", type=FILE, metavar="FILE", help="The multi-label annotation, official JSON or CSV.")
@click.option("--mistakes", type=FILE, metavar="DIR", help="The metadata folder of imagenet-mistakes.")
@click.option("--artefacts", type=FILE, metavar="DIR", help="Folder with the artifacts of the paper's authors.")
@click.option("--encoder", default="", metavar="MODULE:CLASS", help="For example service.evidence.clip:OpenClip.")
@click.option(
    "--images",
    type=FILE,
    metavar="DIR",
    help="The images of the data set, for an encoder, or for a built-in data set whose folders are classes.",
)
@click.option(
    "--train-images",
    type=FILE,
    metavar="DIR",
    help="Training images in one folder per class, for the nearest neighbors.",
)
@click.option("--output", required=True, type=FILE, metavar="PATH", help="The folder to write.")
@json_option
def build(
    dataset: str, base: str, reviews: Path | None, min_reviews: int, output: Path, as_json: bool, **inputs: Any
) -> None:
    """Build a bundle from files, or with --base from another bundle and reviews.

    A rule without its input abstains or uses a default; 'errata evidence show' lists the rules that abstain. If the
    folder has another bundle, a backup of that bundle is written to a folder beside it, because its analyses need it.
    """
    _check_source(dataset, base, reviews, inputs)
    reviews = None if reviews == ARCHIVE else reviews
    if output.exists() and not is_bundle(output) and not _is_empty(output):
        raise InvalidEvidence(f"{output} exists and is not a bundle. Choose another folder.", field="output")
    if output.exists() and (other := _other_files(output)):
        raise InvalidEvidence(
            f"{output} has other files than the bundle: {', '.join(other):.200}. Move them, or choose another folder: "
            "the bundle replaces the folder.",
            field="output",
        )
    settings = read_settings()
    paths = BundlePaths(settings.data_dir)
    try:
        with _previous_backed_up(resolve_path(output), paths):
            if base:
                bundle = build_from_reviews(_find(base), reviews, min_reviews, output, settings)
            else:
                with show_progress(stderr_console()) as progress:
                    bundle = build_evidence(
                        dataset, Inputs(**inputs, cache=embedding_cache(settings), progress=progress), output
                    )
    except OSError as error:
        raise InvalidEvidence(
            f"Cannot write the bundle to {output}: {error.strerror or error}.", field="output"
        ) from error
    paths.remember(output, used=False)
    if not as_json:
        print_path("Written", output)
    _print_bundle(bundle, as_json)


@evidence.command(
    examples="""
errata evidence show bundles/imagenet-real
errata evidence show 3f2a90 --json
"""
)
@click.argument("bundle")
@json_option
def show(bundle: str, as_json: bool) -> None:
    """Show the contents of BUNDLE, their sources, and the rules that abstain."""
    _print_bundle(open_bundle(_find(bundle)), as_json)


@evidence.command(
    examples="""
errata evidence verify bundles/imagenet-real
errata evidence verify bundles/imagenet-real --digest 3f2a90
"""
)
@click.argument("bundle")
@click.option("--digest", default="", metavar="PREFIX", help="The digest that the bundle must have, or its start.")
@json_option
def verify(bundle: str, digest: str, as_json: bool) -> None:
    """Verify the files and the digest of BUNDLE against its manifest."""
    folder = _find(bundle)
    problems = verify_evidence(folder)
    opened = open_bundle(folder)
    actual = opened.digest
    if not actual.startswith(digest):
        problems.append(f"Its digest is {actual}, which does not start with {digest!r:.80}")
    if as_json:
        click.echo(json.dumps({"bundle": str(folder), "wrong": problems}))
    if problems:
        raise InvalidEvidence(f"{folder}: {'; '.join(problems)}", field="bundle")
    if not as_json:
        click.echo(one_line(_label_space(opened)), err=True)
        print_path(f"Valid, digest {actual}", folder)


@evidence.command(
    examples="""
errata evidence audit
errata evidence audit --json > audit.jsonl
"""
)
@json_option
def audit(as_json: bool) -> None:
    """Show the changes of evidence in the archive: builds, uploads, defaults, and imports; --json prints JSON lines."""
    events = audit_events(read_settings())
    if as_json:
        click.echo(export_audit_events(events), nl=False)
        return
    titles = ("time (UTC)", "actor", "action", "data set", "evidence")
    table = new_table(*titles, left=len(titles), unbroken=("time (UTC)", "evidence"))
    for event in events:
        table.add_row(
            f"{event.time:%Y-%m-%d %H:%M:%S}", *map(safe, (event.actor, event.action, event.dataset, event.digest[:12]))
        )
    stdout_console().print(table)


@evidence.command(
    examples="""
errata evidence agreement bundles/imagenet
errata evidence agreement bundles/imagenet --mistakes imagenet-mistakes/metadata --json
"""
)
@click.argument("bundle")
@click.option("--mistakes", type=FILE, metavar="DIR", help="The metadata folder of imagenet-mistakes.")
@json_option
def agreement(bundle: str, mistakes: Path | None, as_json: bool) -> None:
    """Compare the verdicts of BUNDLE with the judgments of experts.

    Without --mistakes, BUNDLE must contain the judgments, so it must have been built with --mistakes.
    """
    result = expert_agreement(_find(bundle), mistakes)
    if as_json:
        click.echo(json.dumps(agreement_to_plain(result)))
        return
    console = stdout_console()
    table = new_table("error type", "judged", "agreed", "precision", "recall", "kappa", "severity agreed")
    view = agreement_view(result)
    for row in view.rows:
        table.add_row(*map(safe, row.cells))
    console.print(table)
    for note in (*view.notes, view.severity_note):
        console.print(safe(note), style="dim")


def _check_source(dataset: str, base: str, reviews: Path | None, inputs: dict[str, Any]) -> None:
    """Raise InvalidEvidence unless the options select exactly one source: a data set or a base."""
    context = click.get_current_context()
    options = [name for name in inputs if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE]
    if base and (dataset or options):
        other = f"--{(['dataset'] * bool(dataset) + options)[0].replace('_', '-')}"
        raise InvalidEvidence(f"{other} has no effect with --base. Leave one of them out.", field="base")
    if not base and reviews is not None:
        raise InvalidEvidence("--reviews correct the labels of a bundle. Add --base BUNDLE.", field="reviews")
    if not base and not dataset:
        raise InvalidEvidence("The data set is missing. Add --dataset NAME, or --base BUNDLE.", field="dataset")


def _find(bundle: str) -> Path:
    """Return the folder of a bundle; the settings are read only for a digest."""
    if Path(bundle).exists():
        return folder_of(Path(bundle))
    settings = read_settings()
    try:
        return BundlePaths(settings.data_dir).find(bundle, settings.evidence)
    except EvidenceNotFound:
        if published := find_published(evidence_id(bundle), settings):
            return published
        raise


def _other_files(folder: Path) -> list[str]:
    """Return the entries of a bundle's folder that are not part of the bundle, except those of file managers."""
    names = sorted(entry.name for entry in folder.iterdir() if entry.name not in FILE_MANAGER_FILES)
    try:
        files = {MANIFEST, *read_manifest(folder).files}
    except InvalidEvidence:  # damaged, or of another version
        files = {MANIFEST, LABEL_SPACE, *(name for name in names if name.endswith(".npy"))}
    return [name for name in names if name not in files]


@contextmanager
def _previous_backed_up(output: Path, paths: BundlePaths) -> Iterator[None]:
    """Back up the bundle of a folder beside it while a block replaces it, unless the new bundle is the same."""
    digest = ""
    with suppress(InvalidEvidence):  # no analysis can use a damaged bundle
        digest = read_manifest(output).digest
    backup = output.with_name(f"{output.name}-{digest[:SHORT_DIGEST]}")
    if not digest or backup.exists():
        yield
        return
    try:
        shutil.copytree(output, backup, copy_function=_link)
        yield
        is_same = read_manifest(output).digest == digest
    except BaseException:
        shutil.rmtree(backup, ignore_errors=True)
        raise
    if is_same:
        shutil.rmtree(backup)
    else:
        paths.remember(backup, used=False)
        print_path("Backup of the previous bundle", backup)


def _link(source: str, target: str) -> None:
    """Link a file, or copy it if the file system has no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _is_empty(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _label_space(bundle: Bundle) -> str:
    return f"label space: {bundle.label_space.name}, {format_count(bundle.label_space.num_classes)} classes"


def _print_bundle(bundle: Bundle, as_json: bool) -> None:
    manifest = bundle.manifest
    if as_json:
        click.echo(to_json(wire.to_evidence(manifest)))
        return
    console = stdout_console()
    console.print(f"[bold]{safe(manifest.dataset)}[/]  {manifest.digest}")
    console.print(indented(safe(_label_space(bundle)), 2))
    for name, count in manifest.counts.items():
        if name != "classes":
            text = f"{safe(COUNT_NAMES.get(name, name.replace('_', ' ')))}: {format_count(count)}"
            console.print(indented(text, 2))
    abstained = "; ".join(error_type.title for error_type in manifest.abstained) or "none"
    console.print(indented(f"rules that abstain: {abstained}", 2))
    for source in manifest.sources:
        digest = f", SHA-256 {source.sha256[:16]}…" if source.sha256 else ""
        text = f"{source.name}: {source.origin} (license: {source.license}){digest}"
        console.print(indented(safe(text), 2, "dim"))
