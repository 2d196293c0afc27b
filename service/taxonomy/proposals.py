"""Proposals of rule 5: synsets, and their texts, that an image may show instead of the prediction (spec: "Proposals").

The proposals for a prediction p are, in this order: p; the classes that share a superclass with p; the direct siblings
of p; and the synsets on each hypernym path of p, from the first meta label downward. Siblings and hypernyms exclude the
blocked synsets: the effective target's synset and all of its hypernyms. The first occurrence of a synset counts, and a
text belongs to the first synset that has it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from service.domain import Classes, Mask, Superclasses
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
    """Proposals for one prediction and any target: n texts, in the order of their synsets."""

    texts: NDArray[np.intp]  # (n,) index into Proposals.texts; a text can belong to several synsets
    synsets: NDArray[np.intp]  # (n,) index of the text's synset into Proposals.synsets
    blockable: Mask  # (n,) whether a target can block the synset
    outside: Mask  # (n,) whether the synset is no class


@dataclass(frozen=True)
class Proposals:
    """Proposals for all predictions, with one list of distinct texts."""

    taxonomy: Taxonomy
    superclasses: Superclasses

    @cached_property
    def lists(self) -> tuple[ProposalList, ...]:
        """Return the proposals for each class."""
        text_index = self._text_index
        synset_index = {synset: index for index, synset in enumerate(self.synsets)}
        classes = frozenset(self.taxonomy.classes)
        return tuple(self._to_list(synsets, text_index, synset_index, classes) for synsets in self._proposed_synsets)

    @cached_property
    def synsets(self) -> tuple[int, ...]:
        """Return the distinct synsets of all proposals, in ascending order of WordNet offset."""
        return tuple(sorted({synset for synsets in self._proposed_synsets for synset, _ in synsets}))

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """Return the distinct texts of all proposals, sorted."""
        return tuple(sorted({text for synset in self.synsets for text in prompts(self.taxonomy, synset)}))

    @cached_property
    def class_texts(self) -> tuple[NDArray[np.intp], ...]:
        """Return the indices into `texts` of the texts of each class's own synset."""
        return tuple(
            np.array([self._text_index[text] for text in prompts(self.taxonomy, synset)], dtype=np.intp)
            for synset in self.taxonomy.classes
        )

    @cached_property
    def blocked(self) -> Mask:
        """Return the synsets that each target blocks, (C, S): its own synset and all of its hypernyms."""
        above = [self.taxonomy.ancestry(synset) for synset in self.taxonomy.classes]
        return np.array([[synset in blocked for synset in self.synsets] for blocked in above])

    def allowed_texts(self, predicted: int, targets: Classes) -> Mask:
        """Return the texts of a prediction's list that no target blocks, for each of k targets, (k, n)."""
        proposals = self.lists[predicted]
        return np.asarray(~(proposals.blockable & self.blocked[np.ix_(targets, proposals.synsets)]))

    @cached_property
    def _text_index(self) -> dict[str, int]:
        return {text: index for index, text in enumerate(self.texts)}

    @cached_property
    def _proposed_synsets(self) -> tuple[list[tuple[int, bool]], ...]:
        return tuple(self._propose(predicted) for predicted in range(len(self.taxonomy.classes)))

    def _to_list(
        self,
        synsets: list[tuple[int, bool]],
        text_index: dict[str, int],
        synset_index: dict[int, int],
        classes: frozenset[int],
    ) -> ProposalList:
        entries = [
            (text_index[text], synset_index[synset], blockable, synset not in classes)
            for synset, blockable in synsets
            for text in prompts(self.taxonomy, synset)
        ]
        columns = list(zip(*entries, strict=True))
        return ProposalList(
            texts=np.array(columns[0], dtype=np.intp),
            synsets=np.array(columns[1], dtype=np.intp),
            blockable=np.array(columns[2], dtype=bool),
            outside=np.array(columns[3], dtype=bool),
        )

    def _propose(self, predicted: int) -> list[tuple[int, bool]]:
        """Return the proposed synsets for a prediction, in order, and whether a target can block them."""
        taxonomy, synset = self.taxonomy, self.taxonomy.classes[predicted]
        similar = [taxonomy.classes[index] for index in self.superclasses.similar_to(predicted).tolist()]
        siblings = sorted({hyponym for parent in taxonomy.hypernyms[synset] for hyponym in taxonomy.hyponyms[parent]})
        proposed = dict.fromkeys([synset, *similar], False)
        for candidate in (*siblings, *self._hypernyms_below_meta_labels(synset)):
            proposed.setdefault(candidate, True)
        return [*proposed.items()]

    def _hypernyms_below_meta_labels(self, synset: int) -> list[int]:
        """Return the synsets on each hypernym path, from its first meta label downward."""
        hypernyms: list[int] = []
        for path in self.taxonomy.hypernym_paths(synset):
            meta = [depth for depth, above in enumerate(path) if META_LABELS & set(self.taxonomy.lemmas[above])]
            if meta:
                hypernyms += path[meta[0] :]
        return hypernyms


def prompts(taxonomy: Taxonomy, synset: int) -> Sequence[str]:
    """Return the texts of a synset: one per lemma name."""
    return [PROMPT.format(lemma.lower().replace("_", " ")) for lemma in taxonomy.lemmas[synset]]
