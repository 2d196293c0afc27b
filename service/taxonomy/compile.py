"""Compile data/wordnet.json and data/nouns.txt.xz from WordNet: python -m service.taxonomy.compile --help.

Needs the `taxonomy` extra.
"""

import argparse
import json
import lzma
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from service.taxonomy.nltk_wordnet import open_wordnet
from service.taxonomy.nouns import FILE

PHYSICAL_ENTITY = 1930


def compile_taxonomy(wordnet: Any, wordnet_ids: Sequence[str]) -> dict[str, Any]:
    """Return the content of data/wordnet.json. The classes are sorted by WordNet ID."""
    classes = [wordnet.synset_from_pos_and_offset("n", int(wordnet_id[1:])) for wordnet_id in sorted(wordnet_ids)]
    above = {synset for class_ in classes for path in class_.hypernym_paths() for synset in path}
    parents = {parent for class_ in classes for parent in _hypernyms(class_)}
    siblings = {sibling for parent in parents for sibling in parent.hyponyms()}
    return {
        "version": wordnet.get_version(),
        "classes": [synset.offset() for synset in classes],
        "synsets": [
            [
                synset.offset(),
                synset.lemma_names(),
                sorted(hypernym.offset() for hypernym in _hypernyms(synset)) if synset in above else [],
            ]
            for synset in sorted(above | siblings, key=lambda synset: int(synset.offset()))
        ],
        "hyponyms": [
            [parent.offset(), sorted(hyponym.offset() for hyponym in parent.hyponyms())]
            for parent in sorted(parents, key=lambda synset: int(synset.offset()))
        ],
    }


def compile_nouns(wordnet: Any, taxonomy: dict[str, Any], plurals: str) -> list[str]:
    """Return the lines of data/nouns.txt.xz.

    Args:
        wordnet: NLTK's reader.
        taxonomy: The content of data/wordnet.json.
        plurals: The content of WordNet's file noun.exc.
    """
    physical = wordnet.synset_from_pos_and_offset("n", PHYSICAL_ENTITY)
    synsets = {physical, *physical.closure(lambda synset: synset.hyponyms())}
    synsets |= {wordnet.synset_from_pos_and_offset("n", offset) for offset, _, _ in taxonomy["synsets"]}
    synsets |= {above for synset in synsets for above in synset.closure(_hypernyms)}
    lines = [
        " ".join(str(number) for number in (synset.offset(), *sorted(parent.offset() for parent in _hypernyms(synset))))
        + "|"
        + " ".join(synset.lemma_names())
        for synset in sorted(synsets, key=lambda synset: int(synset.offset()))
    ]
    return [*lines, *(f"!{line}" for line in sorted(plurals.split("\n")) if line and "_" not in line)]


def _hypernyms(synset: Any) -> list[Any]:
    """Return the direct hypernyms. An instance, such as Mount Everest, has instance hypernyms only."""
    return [*synset.hypernyms(), *synset.instance_hypernyms()]


def dump(taxonomy: dict[str, Any]) -> str:
    """Return the text of the file, with one synset per line for readable diffs."""
    lines = [
        f'"version": {json.dumps(taxonomy["version"])}',
        f'"classes": {json.dumps(taxonomy["classes"])}',
        *(
            f'"{key}": [\n' + ",\n".join(json.dumps(row, separators=(",", ":")) for row in taxonomy[key]) + "\n]"
            for key in ("synsets", "hyponyms")
        ),
    ]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def main(arguments: Sequence[str]) -> None:
    """Write the compiled taxonomy and nouns."""
    parser = argparse.ArgumentParser(prog="python -m service.taxonomy.compile", description=__doc__)
    parser.add_argument("--wordnet", type=Path, default=Path("/usr/share/wordnet"), help="folder with data.noun")
    parser.add_argument("--classes", type=Path, required=True, help="file with the 1000 WordNet IDs, one per line")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "data" / "wordnet.json")
    options = parser.parse_args(arguments)
    with open_wordnet(options.wordnet) as wordnet:
        taxonomy = compile_taxonomy(wordnet, options.classes.read_text().split())
        nouns = compile_nouns(wordnet, taxonomy, (options.wordnet / "noun.exc").read_text())
        options.output.write_text(dump(taxonomy))
        options.output.with_name(FILE).write_bytes(lzma.compress("\n".join(nouns).encode(), preset=9))


if __name__ == "__main__":
    main(sys.argv[1:])
