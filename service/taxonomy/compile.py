"""Compile data/wordnet.json from WordNet 3.0 (needs the `taxonomy` extra): python -m service.taxonomy.compile --help.

Debian's packages wordnet-base and wordnet-sense-index contain WordNet 3.0 without the `lexnames` file that NLTK needs.
NLTK reads files in its data path only. The script therefore copies the folder to a temporary data path and adds the
file.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nltk
from nltk.corpus.reader.wordnet import WordNetCorpusReader

LEXICOGRAPHER_FILES = (  # numbered from 0, in the order of lexnames(5WN)
    "adj.all",
    "adj.pert",
    "adv.all",
    "noun.Tops",
    "noun.act",
    "noun.animal",
    "noun.artifact",
    "noun.attribute",
    "noun.body",
    "noun.cognition",
    "noun.communication",
    "noun.event",
    "noun.feeling",
    "noun.food",
    "noun.group",
    "noun.location",
    "noun.motive",
    "noun.object",
    "noun.person",
    "noun.phenomenon",
    "noun.plant",
    "noun.possession",
    "noun.process",
    "noun.quantity",
    "noun.relation",
    "noun.shape",
    "noun.state",
    "noun.substance",
    "noun.time",
    "verb.body",
    "verb.change",
    "verb.cognition",
    "verb.communication",
    "verb.competition",
    "verb.consumption",
    "verb.contact",
    "verb.creation",
    "verb.emotion",
    "verb.motion",
    "verb.perception",
    "verb.possession",
    "verb.social",
    "verb.stative",
    "verb.weather",
    "adj.ppl",
)
SYNTACTIC_CATEGORY = {"noun": 1, "verb": 2, "adj": 3, "adv": 4}


@contextmanager
def open_wordnet(folder: Path) -> Iterator[Any]:
    """Yield NLTK's reader for a folder of WordNet files such as data.noun."""
    with tempfile.TemporaryDirectory() as scratch:
        corpus = Path(scratch) / "corpora" / "wordnet"
        corpus.mkdir(parents=True)
        for file in folder.iterdir():
            (corpus / file.name).write_bytes(file.read_bytes())
        lines = [
            f"{i:02d}\t{name}\t{SYNTACTIC_CATEGORY[name.split('.')[0]]}\n" for i, name in enumerate(LEXICOGRAPHER_FILES)
        ]
        (corpus / "lexnames").write_text("".join(lines))
        nltk.data.path.insert(0, scratch)
        try:
            yield WordNetCorpusReader(nltk.data.FileSystemPathPointer(str(corpus)), None)
        finally:
            nltk.data.path.remove(scratch)


def compile_taxonomy(wordnet: Any, wordnet_ids: Sequence[str]) -> dict[str, Any]:
    """Return the content of data/wordnet.json for the classes, sorted by WordNet ID."""
    classes = [wordnet.synset_from_pos_and_offset("n", int(wordnet_id[1:])) for wordnet_id in sorted(wordnet_ids)]
    above = {synset for class_ in classes for path in class_.hypernym_paths() for synset in path}
    parents = {parent for class_ in classes for parent in class_.hypernyms()}
    siblings = {sibling for parent in parents for sibling in parent.hyponyms()}
    return {
        "version": wordnet.get_version(),
        "classes": [synset.offset() for synset in classes],
        "synsets": [
            [
                synset.offset(),
                synset.lemma_names(),
                sorted(hypernym.offset() for hypernym in synset.hypernyms()) if synset in above else [],
            ]
            for synset in sorted(above | siblings, key=lambda synset: int(synset.offset()))
        ],
        "hyponyms": [
            [parent.offset(), sorted(hyponym.offset() for hyponym in parent.hyponyms())]
            for parent in sorted(parents, key=lambda synset: int(synset.offset()))
        ],
    }


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
    """Write the compiled taxonomy."""
    parser = argparse.ArgumentParser(prog="python -m service.taxonomy.compile", description=__doc__)
    parser.add_argument("--wordnet", type=Path, default=Path("/usr/share/wordnet"), help="folder with data.noun")
    parser.add_argument("--classes", type=Path, required=True, help="file with the 1000 WordNet IDs, one per line")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "data" / "wordnet.json")
    options = parser.parse_args(arguments)
    with open_wordnet(options.wordnet) as wordnet:
        options.output.write_text(dump(compile_taxonomy(wordnet, options.classes.read_text().split())))


if __name__ == "__main__":
    main(sys.argv[1:])
