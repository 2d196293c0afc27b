"""Proposals: what an image might show instead of the prediction, as synsets and texts (spec: rule 5, "Proposals").

For a prediction p: p; every class that shares a superclass with p; p's direct siblings; and, on each hypernym path of p
from the root down, each synset once the path has met a meta label. The last two leave out what is blocked: the target's
synset and all of its hypernyms. First occurrence wins. A text is proposed by the first synset that has it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from service.domain import NUM_CLASSES, Classes, Mask
from service.taxonomy.wordnet import Taxonomy

PROMPT = "A photo of a {}"
META_LABELS = frozenset(
    {
        "device",
        "dog",
        "commodity",
        "bird",
        "structure",
        "covering",
        "wheeled_vehicle",
        "food",
        "equipment",
        "insect",
        "vehicle",
        "furniture",
        "primate",
        "vessel",
        "snake",
        "natural_object",
        "organism",
        "geological_formation",
        "clothing",
        "container",
    }
)


@dataclass(frozen=True)
class ProposalList:
    """The proposals for one prediction, before a target blocks some (n texts, synsets in the spec's order)."""

    texts: NDArray[np.intp]  # (n,) index into Proposals.texts; one may stand under several synsets
    synsets: NDArray[np.intp]  # (n,) index into Proposals.synsets of what proposes the text
    blockable: Mask  # (n,) whether a target can block the synset
    outside: Mask  # (n,) whether the synset is none of the 1000 classes


@dataclass(frozen=True)
class Proposals:
    """The proposals for every prediction, over one list of distinct prompts."""

    taxonomy: Taxonomy
    same_superclass: Mask  # (C, C)

    @cached_property
    def lists(self) -> tuple[ProposalList, ...]:
        """Return the proposals for each class."""
        texts = {text: place for place, text in enumerate(self.texts)}
        synsets = {synset: place for place, synset in enumerate(self.synsets)}
        classes = frozenset(self.taxonomy.classes)
        return tuple(self._numbered(rows, texts, synsets, classes) for rows in self._rows)

    @cached_property
    def synsets(self) -> tuple[int, ...]:
        """Return the distinct synsets of all proposals, ascending WordNet offsets."""
        return tuple(sorted({synset for rows in self._rows for synset, _ in rows}))

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """Return the distinct prompts of all proposals, sorted."""
        return tuple(sorted({text for synset in self.synsets for text in prompts(self.taxonomy, synset)}))

    @cached_property
    def blocked(self) -> Mask:
        """Return which synsets each target blocks, (C, S): its own and all of its hypernyms."""
        above = [self.taxonomy.ancestry(synset) for synset in self.taxonomy.classes]
        return np.array([[synset in blocked for synset in self.synsets] for blocked in above])

    def allowed(self, predicted: int, targets: Classes) -> Mask:
        """Return which texts of a prediction's list may win for each of k targets, (k, n)."""
        proposals = self.lists[predicted]
        return np.asarray(~(proposals.blockable & self.blocked[np.ix_(targets, proposals.synsets)]))

    @cached_property
    def _rows(self) -> tuple[list[tuple[int, bool]], ...]:
        return tuple(self._synsets(predicted) for predicted in range(NUM_CLASSES))

    def _numbered(
        self, rows: list[tuple[int, bool]], texts: dict[str, int], synsets: dict[int, int], classes: frozenset[int]
    ) -> ProposalList:
        entries = [
            (texts[text], synsets[synset], blockable, synset not in classes)
            for synset, blockable in rows
            for text in prompts(self.taxonomy, synset)
        ]
        columns = list(zip(*entries, strict=True))
        return ProposalList(
            texts=np.array(columns[0], dtype=np.intp),
            synsets=np.array(columns[1], dtype=np.intp),
            blockable=np.array(columns[2], dtype=bool),
            outside=np.array(columns[3], dtype=bool),
        )

    def _synsets(self, predicted: int) -> list[tuple[int, bool]]:
        """Return the synsets proposed for a prediction, in order, and whether a target can block each."""
        taxonomy, synset = self.taxonomy, self.taxonomy.classes[predicted]
        similar = [taxonomy.classes[index] for index in np.flatnonzero(self.same_superclass[predicted]).tolist()]
        siblings = sorted({hyponym for above in taxonomy.hypernyms[synset] for hyponym in taxonomy.hyponyms[above]})
        never = dict.fromkeys([synset, *similar], False)
        return [
            *(never | {sibling: True for sibling in [*siblings, *self._above(synset)] if sibling not in never}).items()
        ]

    def _above(self, synset: int) -> list[int]:
        """Return the synsets on each hypernym path from its first meta label down."""
        result: list[int] = []
        for path in self.taxonomy.hypernym_paths(synset):
            meta = [place for place, each in enumerate(path) if META_LABELS & set(self.taxonomy.lemmas[each])]
            if meta:
                result += path[meta[0] :]
        return result


def prompts(taxonomy: Taxonomy, synset: int) -> Sequence[str]:
    """Return the prompts of a synset's lemma names."""
    return [PROMPT.format(lemma.lower().replace("_", " ")) for lemma in taxonomy.lemmas[synset]]
