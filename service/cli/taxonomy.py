"""errata taxonomy: look at classes and superclasses."""

import json

import click
import numpy as np
from rich.console import Console

from service.cli.connect import json_option
from service.errors import InvalidRequest
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
        name: [names[each] for each in np.flatnonzero(row).tolist() if each != index]
        for name, row in zip(grouping.ids, grouping.members, strict=True)
        if row[index]
    }
    synset = wordnet.classes[index]
    paths = [[wordnet.lemmas[each][0] for each in path] for path in wordnet.hypernym_paths(synset)]
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
    found = list(zip(first.tolist(), second.tolist(), strict=True))
    if as_json:
        click.echo(json.dumps(found))
        return
    names = class_names()
    for i, j in found:
        click.echo(f"{i} {j}\t{names[i]} / {names[j]}")
