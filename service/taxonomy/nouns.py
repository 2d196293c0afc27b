"""Nouns of WordNet 3.0 for physical things, from compiled package data (see compile.py), and their plurals.

data/nouns.txt.xz has one line for each synset, `OFFSET HYPERNYM …|LEMMA …`, then one line for each irregular plural,
`!PLURAL SINGULAR …`. It has the synsets below `physical entity`, except for instances such as Mount Everest; the
synsets of data/wordnet.json; and all hypernyms of both. A lemma has underscores instead of spaces.
"""

import lzma
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.resources import files

from service.domain import normalize_answer

# Plural suffixes and their singular suffixes, in WordNet's order (morphy(7WN)). `ves` comes from NLTK.
SUFFIXES = (
    ("s", ""),
    ("ses", "s"),
    ("ves", "f"),
    ("xes", "x"),
    ("zes", "z"),
    ("ches", "ch"),
    ("shes", "sh"),
    ("men", "man"),
    ("ies", "y"),
)
PLURAL_ENDINGS = frozenset("sn")  # last letters of the suffixes of plurals
FILE = "nouns.txt.xz"


@dataclass(frozen=True)
class Nouns:
    """Synsets by normalized lemma, and the hypernyms of each synset by WordNet offset."""

    synsets: Mapping[str, tuple[int, ...]]
    hypernyms: Mapping[int, tuple[int, ...]]
    plurals: Mapping[str, tuple[str, ...]]  # irregular plurals of single words and their singulars
    _ancestors: dict[int, frozenset[int]] = field(default_factory=dict)

    def ancestors(self, synset: int) -> frozenset[int]:
        """Return all hypernyms of a synset, without itself; none for an unknown synset."""
        if synset not in self._ancestors:
            parents = self.hypernyms.get(synset, ())
            self._ancestors[synset] = frozenset(parents).union(*map(self.ancestors, parents))
        return self._ancestors[synset]

    @cached_property
    def starts(self) -> frozenset[str]:
        """Return the starts of all lemmas of several words."""
        return phrase_starts(self.synsets)

    @cached_property
    def lemmas(self) -> Mapping[int, tuple[str, ...]]:
        """Return the normalized lemmas of each synset."""
        lemmas: dict[int, tuple[str, ...]] = {}
        for lemma, synsets in self.synsets.items():
            for synset in synsets:
                lemmas[synset] = (*lemmas.get(synset, ()), lemma)
        return lemmas

    def find(self, text: str) -> tuple[int, ...]:
        """Return the synsets of a normalized text, else of its first known singular form; empty if there is no noun."""
        return next((synsets for form in self.forms(text) if (synsets := self.synsets.get(form))), ())

    def forms(self, text: str) -> tuple[str, ...]:
        """Return a normalized text, followed by its possible singular forms."""
        if text[-1:] not in PLURAL_ENDINGS and text.rpartition(" ")[2] not in self.plurals:
            return (text,)
        return (text, *self.singulars(text))

    def singulars(self, text: str) -> Iterator[str]:
        """Yield the possible singular forms of a normalized text, by WordNet's rules.

        Only the last word changes. A form is not necessarily a noun.
        """
        start, space, word = text.rpartition(" ")
        if word in self.plurals:
            for singular in self.plurals[word]:
                yield start + space + singular
            return
        if len(word) <= 2 or word[-1] not in PLURAL_ENDINGS or word.endswith("ss"):
            return
        for suffix, replacement in SUFFIXES:
            if word.endswith(suffix) and len(word) > len(suffix):
                yield start + space + word[: -len(suffix)] + replacement


def phrase_starts(texts: Iterable[str]) -> frozenset[str]:
    """Return the starts of texts of several words: one or more of their first words, without the last word."""
    starts = set()
    for text in texts:
        start = text.rpartition(" ")[0]
        while start and start not in starts:
            starts.add(start)
            start = start.rpartition(" ")[0]
    return frozenset(starts)


@cache
def load_nouns() -> Nouns:
    """Load the nouns of the package. This takes about 0.3 s and 40 MB of memory."""
    with (files("service.taxonomy") / "data" / FILE).open("rb") as file, lzma.open(file) as lines:
        return parse_nouns(line.decode().rstrip("\n") for line in lines)


def parse_nouns(lines: Iterable[str]) -> Nouns:
    """Return the nouns of the lines of the file."""
    synsets: dict[str, tuple[int, ...]] = {}
    hypernyms: dict[int, tuple[int, ...]] = {}
    plurals: dict[str, tuple[str, ...]] = {}
    for line in lines:
        if line.startswith("!"):
            plural, *singulars = line[1:].split(" ")
            plurals[plural] = tuple(singulars)
            continue
        numbers, _, lemmas = line.partition("|")
        offset, *parents = map(int, numbers.split())
        hypernyms[offset] = tuple(parents)
        for lemma in dict.fromkeys(map(normalize_answer, lemmas.split(" "))):
            synsets[lemma] = (*synsets.get(lemma, ()), offset)
    return Nouns(synsets, hypernyms, plurals)
