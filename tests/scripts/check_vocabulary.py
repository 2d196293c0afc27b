"""Check that the repository's text files do not use words that the glossary replaced, nor variables that are no nouns.

`make check` runs it.

Prints each match as `FILE:LINE: "WORD": use REPLACEMENT` and exits with 1 if there are any.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple


class Word(NamedTuple):
    """A word that must not occur, alone or as a part of a snake_case name."""

    pattern: str  # regular expression, case-insensitive
    replacement: str


class Exemption(NamedTuple):
    """Files in which a word may occur."""

    files: str  # glob pattern, relative to the repository's root
    pattern: str  # regular expression of text that is not checked, case-insensitive
    reason: str


WORDS = [
    Word(r"told|tells|telling", "show, report, or a noun such as `result`"),
    Word(r"said", "a noun such as `output`"),
    Word(r"asked for", "requested"),
    Word(r"twins?", "fake, in-memory implementation, or duplicate"),
    Word(r"doors?", "authentication or server"),
    Word(r"edges?", "server, listener, or boundary"),
    Word(r"kept", "stored or unchanged"),
    Word(r"beats?|beaten", "renew the lease, or exceed"),
    Word(r"heard|hears?", "receive"),
    Word(r"hand(s|ed|ing)?[ _]back", "release or return"),
    Word(r"errands?", "shard or job"),
    Word(r"owe[sd]?", "outbox item"),
    Word(r"shelf|shelves", "repository"),
    Word(r"anew", "again"),
    Word(r"whoever|who (calls|asks|shows|reads|sends|trickles)", "a noun, such as `a caller that reads`"),
]

EXEMPTIONS = [
    Exemption("tests/scripts/check_vocabulary.py", r".+", "this table"),
    Exemption("service/taxonomy/data/*", r".+", "WordNet's lemmas"),
    Exemption("service/jobs/*", r"['\"`:]errands\b", "stored name of the queue for judging"),
    Exemption("service/jobs/*", r"\bowed(:tries)?\b", "stored name of the outbox in Redis"),
    Exemption("tests/ports/previous/*", r".+", "the script of the previous release, unchanged"),
    Exemption("docs/operations/threat-model.md", r"an attacker who reads", "a person"),
    Exemption("docs/adr/*", r"errata:owed", "stored name of the outbox in Redis"),
    Exemption("tests/processes/*", r"errata:owed", "stored name of the outbox in Redis"),
    Exemption("tests/ports/*", r"errata:owed", "stored name of the outbox in Redis"),
    Exemption("service/predictions/wandb_client.py", r"\bedges?\b", "field of W&B's GraphQL schema"),
    Exemption("tests/wandb*_server.py", r"\bedges?\b", "field of W&B's GraphQL schema"),
    Exemption("service/predictions/models/image_processor.py", r'"edge"', "part of keys such as shortest_edge"),
    Exemption("tests/unit/predictions/models/*", r"shortest_edge", "key of image processors"),
    Exemption("client/errata/cli/views.py", r"pad_edge", "parameter of rich"),
    Exemption("deploy/*", r"\bedge\b", "label of the metric errata_refused_calls_total"),
    Exemption("service/telemetry.py", r"\bedge\b", "label of the metric errata_refused_calls_total"),
    Exemption("tests/api/test_security.py", r"\bedge\b", "label of the metric errata_refused_calls_total"),
]

VARIABLES = frozenset({"said", "told", "found", "given", "taken", "each"})  # names of variables that are no nouns
ROOT = Path(__file__).resolve().parents[2]
FORBIDDEN = re.compile(
    "|".join(rf"(?P<word{index}>(?<![a-z])(?:{word.pattern})(?![a-z]))" for index, word in enumerate(WORDS)), re.I
)


def list_files() -> list[str]:
    """Return the tracked files, relative to the repository's root."""
    output = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [name for name in output.split("\0") if name and (ROOT / name).is_file()]


def find_matches(name: str) -> Iterator[str]:
    """Yield a message for each match in a file; nothing for a binary file."""
    try:
        text = (ROOT / name).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return
    exempt = [re.compile(exemption.pattern, re.I) for exemption in EXEMPTIONS if fnmatch(name, exemption.files)]
    for number, line in enumerate(text.splitlines(), start=1):
        checked = line
        for pattern in exempt:
            checked = pattern.sub("", checked)
        for match in FORBIDDEN.finditer(checked):
            word = WORDS[int((match.lastgroup or "word0").removeprefix("word"))]
            yield f'{name}:{number}: "{match.group()}": use {word.replacement}'


def find_variables(name: str) -> Iterator[str]:
    """Yield a message for each variable and parameter of a module whose name is no noun."""
    if not name.endswith(".py"):
        return
    for node in ast.walk(ast.parse((ROOT / name).read_text(encoding="utf-8"))):
        match node:
            case ast.Name(id=variable, ctx=ast.Store()) | ast.arg(arg=variable) if variable in VARIABLES:
                yield f'{name}:{node.lineno}: "{variable}": use a noun'


def main() -> int:
    """Print all matches; return the exit code."""
    names = list_files()
    matches = [match for find in (find_matches, find_variables) for name in names for match in find(name)]
    print("\n".join(matches) or "No replaced words found.")
    return 1 if matches else 0


if __name__ == "__main__":
    sys.exit(main())
