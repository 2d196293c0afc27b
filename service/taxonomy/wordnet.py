"""The part of WordNet 3.0 around the 1000 classes, read from compiled package data (see compile.py).

data/wordnet.json: {"version", "classes": [offset of class 0 … 999],
                    "synsets": [[offset, [lemma name, …], [direct hypernym, …]], …]   every class, every synset above
                                                                                     one, every sibling (no hypernyms)
                    "hyponyms": [[offset, [direct hyponym, …]], …]                    of each class' direct hypernyms}
Offsets and lists are ascending; lemma names keep their order and their underscores.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files


@dataclass(frozen=True)
class Taxonomy:
    """Synsets by WordNet offset (noun), and which of them are classes."""

    version: str
    classes: tuple[int, ...]  # (C,) the synset of each class
    lemmas: Mapping[int, tuple[str, ...]]
    hypernyms: Mapping[int, tuple[int, ...]]
    hyponyms: Mapping[int, tuple[int, ...]]  # of the classes' direct hypernyms

    def wordnet_id(self, class_index: int) -> str:
        """Return the id that names the class' folder, such as n01440764."""
        return f"n{self.classes[class_index]:08d}"

    def ancestry(self, synset: int) -> frozenset[int]:
        """Return the synset and all of its hypernyms."""
        result, todo = {synset}, [synset]
        while todo:
            for above in self.hypernyms[todo.pop()]:
                if above not in result:
                    result.add(above)
                    todo.append(above)
        return frozenset(result)

    def hypernym_paths(self, synset: int) -> tuple[tuple[int, ...], ...]:
        """Return every path from the root down to the synset (included), in ascending order."""
        above = self.hypernyms[synset]
        if not above:
            return ((synset,),)
        return tuple(sorted((*path, synset) for parent in above for path in self.hypernym_paths(parent)))

    @cached_property
    def class_lemmas(self) -> tuple[frozenset[str], ...]:
        """Return for each class the lemma names of its synset and of all of its hypernyms."""
        return tuple(
            frozenset(lemma for above in self.ancestry(synset) for lemma in self.lemmas[above])
            for synset in self.classes
        )


@cache
def load_taxonomy() -> Taxonomy:
    """Return the taxonomy that ships with the package."""
    raw = json.loads((files("service.taxonomy") / "data" / "wordnet.json").read_bytes())
    return Taxonomy(
        version=raw["version"],
        classes=tuple(raw["classes"]),
        lemmas={offset: tuple(lemmas) for offset, lemmas, _ in raw["synsets"]},
        hypernyms={offset: tuple(hypernyms) for offset, _, hypernyms in raw["synsets"]},
        hyponyms={offset: tuple(hyponyms) for offset, hyponyms in raw["hyponyms"]},
    )
