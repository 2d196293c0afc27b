"""Proposals for the rule of FINE_GRAINED_OOV: texts of concepts that an image may show instead of the prediction.

A concept is a class, a WordNet synset, or a text of a vocabulary file. The proposals for a prediction p are, in this
order: p; the classes that share a superclass with p; and the concepts near p or near one of its superclasses. The
effective target of an image blocks some of the near concepts: they are not proposed for this image. If a concept occurs
several times, the first occurrence counts. A text of several concepts belongs to the first of these concepts.
See "Proposals" in the specification.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from service.domain import Classes, Mask, Superclasses
from service.taxonomy.number_lists import NumberLists

PROMPT = "A photo of a {}"
MAX_CACHED_TEXTS = 1000  # longer lists are not cached, so that the lists of 32,767 classes need at most 0.4 GB


@dataclass(frozen=True, eq=False)
class ProposalList:
    """All proposals for one prediction, before a target blocks any: k concepts with n texts, in order."""

    concepts: NDArray[np.int32]  # (k,)
    blockable: Mask  # (k,) whether a target can block the concept: it is only near
    counts: NDArray[np.intp]  # (k,) number of texts of each concept
    texts: NDArray[np.int32]  # (n,) index into Proposals.texts; a text can belong to several concepts
    outside: Mask  # (n,) whether the concept of the text is no class


@dataclass(frozen=True, eq=False)
class Proposals:
    """Proposals for predictions of C classes with S superclasses: K concepts and T distinct texts."""

    superclasses: Superclasses
    texts: tuple[str, ...]  # (T,)
    concept_texts: NumberLists  # (K,) texts of each concept
    class_concepts: NDArray[np.int32]  # (C,) concept of each class
    near_classes: NumberLists  # (C,) further concepts for predictions of each class
    near_superclasses: NumberLists  # (S,) further concepts for predictions of the classes of each superclass
    blocked: NumberLists  # (C,) concepts that each effective target blocks

    def list_of(self, predicted: int) -> ProposalList:
        """Return the proposals for a predicted class."""
        proposed = self._lists.get(predicted)
        if proposed is None:
            proposed = self._create_list(predicted)
            if len(proposed.texts) <= MAX_CACHED_TEXTS:
                self._lists[predicted] = proposed
        return proposed

    def class_texts(self, class_index: int) -> NDArray[np.int32]:
        """Return the indices into `texts` of the texts of a class."""
        return self.concept_texts[int(self.class_concepts[class_index])]

    def allowed_texts(self, predicted: int, targets: Classes) -> Mask:
        """Return, for each of m targets, which texts of a prediction's list the target does not block, (m, n)."""
        proposed = self.list_of(predicted)
        allowed = np.ones((len(targets), len(proposed.concepts)), dtype=bool)
        rows, blocked = self.blocked.take(targets)
        order = np.argsort(proposed.concepts)
        places = order[np.minimum(np.searchsorted(proposed.concepts, blocked, sorter=order), len(order) - 1)]
        hits = (proposed.concepts[places] == blocked) & proposed.blockable[places]
        allowed[rows[hits], places[hits]] = False
        return np.repeat(allowed, proposed.counts, axis=1)

    @cached_property
    def is_outside(self) -> Mask:
        """Return a mask of the concepts that are not classes, (K,)."""
        outside = np.ones(len(self.concept_texts), dtype=bool)
        outside[self.class_concepts] = False
        return outside

    @cached_property
    def _lists(self) -> dict[int, ProposalList]:
        return {}

    def _create_list(self, predicted: int) -> ProposalList:
        similar = self.class_concepts[[predicted, *self.superclasses.similar_to(predicted).tolist()]]
        near = self.near_classes[predicted]
        _, of_superclasses = self.near_superclasses.take(self.superclasses.of(predicted))
        if len(of_superclasses):
            near = np.union1d(near, of_superclasses)  # in the order of the vocabulary file
        concepts = np.concatenate([similar, near])
        first = np.sort(np.unique(concepts, return_index=True)[1])
        positions, texts = self.concept_texts.take(concepts[first])
        return ProposalList(
            concepts=concepts[first],
            blockable=first >= len(similar),
            counts=np.bincount(positions, minlength=len(first)),
            texts=texts,
            outside=self.is_outside[concepts[first]][positions],
        )


def prompt(name: str) -> str:
    """Return the prompt for a name. The name is in lower case, with spaces instead of underscores."""
    return PROMPT.format(name.lower().replace("_", " "))
