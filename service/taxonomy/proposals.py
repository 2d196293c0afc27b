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

from service.domain import NUM_CLASSES, Mask
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

    texts: NDArray[np.int32]  # (n,) index into Proposals.texts; one may stand under several synsets
    synsets: tuple[int, ...]  # (n,) WordNet offset that proposes the text
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
        number = {text: place for place, text in enumerate(self.texts)}
        return tuple(self._numbered(predicted, number) for predicted in range(NUM_CLASSES))

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """Return the distinct prompts of all proposals, sorted."""
        synsets = {synset for predicted in range(NUM_CLASSES) for synset, _ in self._synsets(predicted)}
        return tuple(sorted({text for synset in synsets for text in prompts(self.taxonomy, synset)}))

    @cached_property
    def blocked(self) -> tuple[frozenset[int], ...]:
        """Return what each target blocks: its synset and all of its hypernyms."""
        return tuple(self.taxonomy.ancestry(synset) for synset in self.taxonomy.classes)

    def allowed(self, predicted: int, target: int) -> Mask:
        """Return which texts of a prediction's list may win for a target, (n,)."""
        proposals, blocked = self.lists[predicted], self.blocked[target]
        hit = np.fromiter((each in blocked for each in proposals.synsets), dtype=bool)
        return np.asarray(~(proposals.blockable & hit))

    def _numbered(self, predicted: int, number: dict[str, int]) -> ProposalList:
        classes = set(self.taxonomy.classes)
        rows = [
            (number[text], synset, blockable)
            for synset, blockable in self._synsets(predicted)
            for text in prompts(self.taxonomy, synset)
        ]
        return ProposalList(
            texts=np.array([text for text, _, _ in rows], dtype=np.int32),
            synsets=tuple(synset for _, synset, _ in rows),
            blockable=np.array([blockable for _, _, blockable in rows]),
            outside=np.array([synset not in classes for _, synset, _ in rows]),
        )

    def _synsets(self, predicted: int) -> list[tuple[int, bool]]:
        """Return the synsets proposed for a prediction, in order, and whether a target can block each."""
        taxonomy, synset = self.taxonomy, self.taxonomy.classes[predicted]
        similar = [taxonomy.classes[index] for index in np.flatnonzero(self.same_superclass[predicted]).tolist()]
        siblings = sorted({each for above in taxonomy.hypernyms[synset] for each in taxonomy.hyponyms[above]})
        never = dict.fromkeys([synset, *similar], False)
        return [*(never | {each: True for each in [*siblings, *self._above(synset)] if each not in never}).items()]

    def _above(self, synset: int) -> list[int]:
        """Return the synsets on each hypernym path from its first meta label down."""
        found: list[int] = []
        for path in self.taxonomy.hypernym_paths(synset):
            meta = [place for place, each in enumerate(path) if META_LABELS & set(self.taxonomy.lemmas[each])]
            if meta:
                found += path[meta[0] :]
        return found


def prompts(taxonomy: Taxonomy, synset: int) -> Sequence[str]:
    """Return the prompts of a synset's lemma names."""
    return [PROMPT.format(lemma.lower().replace("_", " ")) for lemma in taxonomy.lemmas[synset]]
