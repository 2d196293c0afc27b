"""errata taxonomy: classes and superclasses."""

import json
from dataclasses import asdict
from pathlib import Path

import click
import numpy as np
from errata.cli.commands import GroupWithExamples
from errata.cli.connect import json_option
from errata.cli.console import safe, stdout_console
from errata.cli.views import new_table
from errata.errors import InvalidEvidence
from errata.messages import format_count, pluralize

from service.analyses.class_names import class_named
from service.evidence.artefacts import read_grouping
from service.taxonomy.check import AUTHORS, Findings, check_grouping
from service.taxonomy.imagenet_1k import imagenet_1k
from service.taxonomy.superclasses import Grouping, default_grouping
from service.taxonomy.wordnet import load_taxonomy

MAX_NAMES = 20  # classes in a list
EXAMPLES = """
errata taxonomy show "great white shark"
errata taxonomy pairs
errata taxonomy check superclasses.json
"""


@click.group(cls=GroupWithExamples, examples=EXAMPLES)
def taxonomy() -> None:
    """Show the 1000 classes of ImageNet and the superclasses that Errata includes."""


@taxonomy.command(
    examples="""
errata taxonomy show 2
errata taxonomy show n01484850 --json
errata taxonomy show "great white shark"
"""
)
@click.argument("class_", metavar="CLASS")
@json_option
def show(class_: str, as_json: bool) -> None:
    """Show a class: CLASS is an index from 0 to 999, a WordNet ID, or a unique name."""
    index = class_named(class_, "class", imagenet_1k())
    wordnet, grouping, names = load_taxonomy(), default_grouping(), imagenet_1k().names
    superclasses = {
        name: [names[member] for member in np.flatnonzero(row).tolist() if member != index]
        for name, row in zip(grouping.ids, grouping.members, strict=True)
        if row[index]
    }
    synset = wordnet.classes[index]
    paths = [[wordnet.lemmas[ancestor][0] for ancestor in path] for path in wordnet.hypernym_paths(synset)]
    wordnet_id, lemmas = wordnet.wordnet_id(index), list(wordnet.lemmas[synset])
    if as_json:
        description = {
            "class_index": index,
            "wordnet_id": wordnet_id,
            "lemmas": lemmas,
            "superclasses": superclasses,
            "hypernym_paths": paths,
        }
        click.echo(json.dumps(description, indent=2))
        return
    console = stdout_console()
    console.print(f"[bold]{names[index]}[/]  class {index}, {wordnet_id}: {', '.join(lemmas)}")
    for name, others in superclasses.items():
        console.print(f"  in [bold]{name}[/] with {', '.join(others) or 'no other class'}")
    if not superclasses:
        console.print("  in no superclass")
    for path in paths:
        console.print(f"  {' > '.join(path)}", style="dim")


@taxonomy.command(
    examples="""
errata taxonomy pairs
errata taxonomy pairs --json > pairs.json
"""
)
@json_option
def pairs(as_json: bool) -> None:
    """Print the pairs of classes that share a superclass: one per line, or as a JSON list of [i, j] with i < j."""
    classes = np.arange(imagenet_1k().num_classes)
    first, second = np.nonzero(np.triu(default_grouping().superclasses.share(classes[:, None], classes), k=1))
    result = list(zip(first.tolist(), second.tolist(), strict=True))
    if as_json:
        click.echo(json.dumps(result))
        return
    names = imagenet_1k().names
    for i, j in result:
        click.echo(f"{i} {j}\t{names[i]} / {names[j]}")


@taxonomy.command(
    examples="""
errata taxonomy check superclasses.json
"""
)
@click.argument("file", type=click.Path(path_type=Path))
@json_option
def check(file: Path, as_json: bool) -> None:
    """Check custom superclasses: format, unknown lemmas, empty superclasses, and sizes.

    The sizes are compared with those of the paper's authors. Exit code: 2 if a lemma is unknown, a superclass is empty,
    or no superclass has two classes; a bundle can still be built.
    """
    findings = check_grouping(_read(file), load_taxonomy())
    if as_json:
        click.echo(json.dumps(asdict(findings) | {"sound": findings.is_valid, "authors": asdict(AUTHORS)}, indent=2))
    else:
        _show_findings(findings)
    if not findings.is_valid:
        problem = (
            "unknown lemmas or empty superclasses. They are listed above"
            if findings.sizes.superclasses
            else "no superclass with two classes, so that no error would be fine-grained"
        )
        raise InvalidEvidence(f"{file} has {problem}.", field="superclasses")


def _read(file: Path) -> Grouping:
    """Read a file of superclasses; explain which command uses a CSV file."""
    try:
        return read_grouping(file)
    except InvalidEvidence as error:
        if file.suffix.lower() != ".csv" or not file.is_file():
            raise
        raise InvalidEvidence(
            f"{file.name} is not in the format of the paper's authors, which this command checks. A CSV file has the "
            "superclasses of your own classes. Pass it as --superclasses, together with --classes, to 'errata dataset "
            "check'.",
            field="superclasses",
        ) from error


def _show_findings(findings: Findings) -> None:
    console = stdout_console()
    table = new_table("", "this file", "the authors'")
    rows = {
        "superclasses with two or more classes": "superclasses",
        "their smallest size": "smallest",
        "their median size": "median",
        "their mean size": "mean",
        "their largest size": "largest",
        "classes without a superclass": "alone",
        "pairs that share a superclass": "pairs",
    }
    for title, name in rows.items():
        table.add_row(title, *(f"{round(getattr(sizes, name), 2):,}" for sizes in (findings.sizes, AUTHORS)))
    console.print(table)
    for name, lemmas in findings.unknown_lemmas.items():
        console.print(f"[red]unknown lemmas[/] in {safe(name)}: {safe(', '.join(lemmas))}")
    for name in findings.empty:
        console.print(f"[red]empty[/]: {safe(name)}")
    for name in findings.single:
        console.print(f"[yellow]one class[/]: {safe(name)}")
    names = [imagenet_1k().names[index] for index in findings.alone]
    more = f", and {format_count(len(names) - MAX_NAMES)} more" if len(names) > MAX_NAMES else ""
    console.print(
        f"{pluralize(len(names), 'class', 'classes')} without a superclass: {', '.join(names[:MAX_NAMES])}{more}",
        style="dim",
    )
