"""WordNet 3.0 through NLTK (needs the `taxonomy` extra). Only builds of bundles need it, not the service.

Debian's packages wordnet-base and wordnet-sense-index contain WordNet 3.0 without the `lexnames` file that NLTK needs.
NLTK reads only files in its data path. `open_wordnet` therefore copies the WordNet folder to a temporary data path, and
adds the `lexnames` file there.
"""

import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nltk
from errata.errors import InvalidEvidence
from nltk.corpus.reader.wordnet import WordNetCorpusReader

VERSION = "3.0"
DEBIAN_FOLDER = Path("/usr/share/wordnet")
FOLDER_VARIABLE = "WNSEARCHDIR"  # WordNet's own variable for the folder of its files
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


@contextmanager
def find_wordnet() -> Iterator[Any]:
    """Yield NLTK's reader for the WordNet of this machine.

    WordNet is read from the folder that the variable WNSEARCHDIR names, else from the folder of Debian's packages, else
    from NLTK's download.

    Raises:
        InvalidEvidence: There is no WordNet, or it has another version.
    """
    variable = os.environ.get(FOLDER_VARIABLE, "")
    folder = Path(variable or DEBIAN_FOLDER)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The multilingual functions are not available", UserWarning)
        if variable or (folder / "data.noun").is_file():
            if not (folder / "data.noun").is_file():
                raise InvalidEvidence(
                    f"{FOLDER_VARIABLE} names {variable!r:.120}, which has no file data.noun. Set it to the folder of "
                    "WordNet's files.",
                    field="wordnet",
                )
            with open_wordnet(folder) as reader:
                yield _check_version(reader)
        else:
            yield _check_version(_downloaded())


def _downloaded() -> Any:
    """Return the reader of the WordNet that NLTK downloaded."""
    try:
        nltk.corpus.wordnet.ensure_loaded()
    except LookupError as error:
        raise InvalidEvidence(
            "WordNet 3.0 was not found. Install the Debian packages wordnet-base and wordnet-sense-index, or run "
            f"'python -m nltk.downloader wordnet', or set {FOLDER_VARIABLE} to a folder with data.noun.",
            field="wordnet",
        ) from error
    return nltk.corpus.wordnet


def _check_version(reader: Any) -> Any:
    version = reader.get_version()
    if version != VERSION:
        raise InvalidEvidence(
            f"Found WordNet {version!r:.20}. Expected WordNet {VERSION}, to which the IDs of synsets refer.",
            field="wordnet",
        )
    return reader
