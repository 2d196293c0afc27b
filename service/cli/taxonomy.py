"""errata taxonomy: look at classes and superclasses."""

import json
from dataclasses import asdict
from pathlib import Path

import click
import numpy as np
from errata.errors import InvalidEvidence, InvalidRequest
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from service.cli.connect import json_option
from service.evidence.artefacts import read_grouping
from service.taxonomy.check import AUTHORS, Findings, check_grouping, names_of
from service.taxonomy.classes import class_names, parse_class
from service.taxonomy.superclasses import default_grouping
from service.taxonomy.wordnet import load_taxonomy


@click.group()
def taxonomy() -> None:
    """Look at the 1000 classes and the superclasses that Errata ships."""


@taxonomy.command()
@click.argument("class_", metavar="CLASS")
@json_option
def show(class_: str, as_json: bool) -> None:
    """Show a class: an index, a WordNet id or a unique name."""
    index = parse_class(class_)
    if index is None:
        raise InvalidRequest(
            f"expected a class index 0..999, a WordNet id or a unique name, got {class_!r}", field="class"
        )
    wordnet, grouping, names = load_taxonomy(), default_grouping(), class_names()
    superclasses = {
        name: [names[item] for item in np.flatnonzero(row).tolist() if item != index]
        for name, row in zip(grouping.ids, grouping.members, strict=True)
        if row[index]
    }
    synset = wordnet.classes[index]
    paths = [[wordnet.lemmas[item][0] for item in path] for path in wordnet.hypernym_paths(synset)]
    told = {
        "class_index": index,
        "wordnet_id": wordnet.wordnet_id(index),
        "lemmas": list(wordnet.lemmas[synset]),
        "superclasses": superclasses,
        "hypernym_paths": paths,
    }
    if as_json:
        click.echo(json.dumps(told, indent=2))
        return
    console = Console(highlight=False)
    console.print(f"[bold]{names[index]}[/]  class {index}, {told['wordnet_id']}: {', '.join(wordnet.lemmas[synset])}")
    for name, others in superclasses.items():
        console.print(f"  in [bold]{name}[/] with {', '.join(others) or 'no other'}")
    if not superclasses:
        console.print("  in no superclass: it is one of its own")
    for path in paths:
        console.print(f"  {' > '.join(path)}", style="dim")


@taxonomy.command()
@json_option
def pairs(as_json: bool) -> None:
    """Print the pairs of classes that share a superclass: a JSON list of [i, j], i < j, or a line each."""
    first, second = np.nonzero(np.triu(default_grouping().same_superclass(), k=1))
    result = list(zip(first.tolist(), second.tolist(), strict=True))
    if as_json:
        click.echo(json.dumps(result))
        return
    names = class_names()
    for i, j in result:
        click.echo(f"{i} {j}\t{names[i]} / {names[j]}")


@taxonomy.command()
@click.argument("file", type=click.Path(path_type=Path))
@json_option
def check(file: Path, as_json: bool) -> None:
    """Check a grouping of your own: form, unknown lemmas, empty superclasses, sizes beside the authors'.

    Exits with 2 if a lemma is unknown or a superclass empty; a bundle can be built all the same.
    """
    findings = check_grouping(read_grouping(file), load_taxonomy())
    if as_json:
        click.echo(json.dumps(asdict(findings) | {"sound": findings.is_valid, "authors": asdict(AUTHORS)}, indent=2))
    else:
        _tell(findings)
    if not findings.is_valid:
        raise InvalidEvidence(f"{file}: unknown lemmas or empty superclasses, see above", field="superclasses")


def _tell(findings: Findings) -> None:
    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("", "here", "the authors'"):
        table.add_column(title, justify="left" if not title else "right")
    rows = {
        "superclasses with two or more classes": "superclasses",
        "their smallest size": "smallest",
        "their median size": "median",
        "their mean size": "mean",
        "their largest size": "largest",
        "classes alone": "alone",
        "pairs that share one": "pairs",
    }
    for title, name in rows.items():
        table.add_row(title, *(f"{round(getattr(sizes, name), 2):,}" for sizes in (findings.sizes, AUTHORS)))
    console.print(table)
    for name, lemmas in findings.unknown_lemmas.items():
        console.print(f"[red]unknown[/] in {escape(name)}: {escape(', '.join(lemmas))} — no class has such a lemma")
    for name in findings.empty:
        console.print(f"[red]empty[/]: {escape(name)}")
    for name in findings.single:
        console.print(f"[yellow]one class[/]: {escape(name)}")
    console.print(f"alone: {', '.join(names_of(findings.alone))}", style="dim")
