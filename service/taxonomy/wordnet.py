"""The part of WordNet 3.0 around the 1000 classes, from compiled package data (see compile.py).

data/wordnet.json: {"version", "classes": [offset of class 0 … 999],
                    "synsets": [[offset, [lemma name, …], [direct hypernym, …]], …]   classes, their hypernyms, and
                                                                                     their siblings (no hypernyms)
                    "hyponyms": [[offset, [direct hyponym, …]], …]                    of the classes' direct hypernyms}
Offsets and lists are in ascending order. Lemma names have WordNet's order and underscores.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any


@dataclass(frozen=True)
class Taxonomy:
    """Noun synsets by WordNet offset, and the synsets of the classes."""

    version: str
    classes: tuple[int, ...]  # (C,) the synset of each class
    lemmas: Mapping[int, tuple[str, ...]]
    hypernyms: Mapping[int, tuple[int, ...]]
    hyponyms: Mapping[int, tuple[int, ...]]  # only of the direct hypernyms of classes

    def wordnet_id(self, class_index: int) -> str:
        """Return the WordNet ID of a class, such as n01440764."""
        return f"n{self.classes[class_index]:08d}"

    def ancestry(self, synset: int) -> frozenset[int]:
        """Return the synset and all of its hypernyms."""
        ancestry, pending = {synset}, [synset]
        while pending:
            for hypernym in self.hypernyms[pending.pop()]:
                if hypernym not in ancestry:
                    ancestry.add(hypernym)
                    pending.append(hypernym)
        return frozenset(ancestry)

    def hypernym_paths(self, synset: int) -> tuple[tuple[int, ...], ...]:
        """Return all paths from the root to the synset, inclusive, in ascending order."""
        parents = self.hypernyms[synset]
        if not parents:
            return ((synset,),)
        return tuple(sorted((*path, synset) for parent in parents for path in self.hypernym_paths(parent)))

    def class_lemmas(self) -> tuple[frozenset[str], ...]:
        """Compute, for each class, the lemma names of its synset and of all of its hypernyms, which need 2 MB."""
        return tuple(
            frozenset(lemma for ancestor in self.ancestry(synset) for lemma in self.lemmas[ancestor])
            for synset in self.classes
        )

    def covers(self, synset: int) -> bool:
        """Return whether a synset's hypernyms and siblings are known. They are unknown for mere siblings of classes."""
        parents = self.hypernyms.get(synset, ())
        return bool(parents) and all(parent in self.hyponyms for parent in parents)


@cache
def load_taxonomy() -> Taxonomy:
    """Load the taxonomy of the package."""
    return to_taxonomy(json.loads((files("service.taxonomy") / "data" / "wordnet.json").read_bytes()))


def to_taxonomy(raw: Mapping[str, Any]) -> Taxonomy:
    """Return a taxonomy from the content of a compiled file."""
    return Taxonomy(
        version=raw["version"],
        classes=tuple(raw["classes"]),
        lemmas={offset: tuple(lemmas) for offset, lemmas, _ in raw["synsets"]},
        hypernyms={offset: tuple(hypernyms) for offset, _, hypernyms in raw["synsets"]},
        hyponyms={offset: tuple(hyponyms) for offset, hyponyms in raw["hyponyms"]},
    )
