"""What the rules read and what models say: arrays of N judged samples, A images, C = 1000 classes."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from errata.enums import LabelSource
from numpy.typing import NDArray

NUM_CLASSES = 1000

Mask = NDArray[np.bool_]
Classes = NDArray[np.int16]
Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Labels:
    """The multi-labels of N samples, as one run of classes a sample."""

    offsets: NDArray[np.int32]  # (N + 1,) where each sample's run starts
    classes: Classes  # (L,) distinct within a sample
    sources: Bytes  # (L,) LabelSource

    def of(self, row: int) -> Classes:
        """Return the classes of one sample."""
        return self.classes[self.offsets[row] : self.offsets[row + 1]]

    def sources_of(self, row: int) -> list[LabelSource]:
        """Return who named each of one sample's classes."""
        return [LabelSource(source) for source in self.sources[self.offsets[row] : self.offsets[row + 1]]]

    @property
    def counts(self) -> NDArray[np.int32]:
        """Return how many labels each sample has, shape (N,)."""
        return np.diff(self.offsets)

    def rows(self, start: int, stop: int) -> "Labels":
        """Return the labels of the samples start to stop."""
        first, last = self.offsets[start], self.offsets[stop]
        return Labels(self.offsets[start : stop + 1] - first, self.classes[first:last], self.sources[first:last])

    def take(self, rows: NDArray[np.intp]) -> "Labels":
        """Return the labels of the named samples, in that order."""
        counts = self.counts[rows]
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        index = np.arange(offsets[-1]) + np.repeat(self.offsets[rows] - offsets[:-1], counts)
        return Labels(offsets, self.classes[index], self.sources[index])


@dataclass(frozen=True)
class Evidence:
    """The facts that the rules read, for N samples. A field that is None makes its rule abstain."""

    targets: Classes  # (N,) the original label
    labels: Labels
    problematic: Mask  # (N,) set aside by the annotators
    overlap: Mask  # (C, C) [target, prediction]: counts as right
    same_superclass: Mask  # (C, C) symmetric, with its diagonal
    cooccurrence: Mask | None  # (C, C) symmetric: pairs seen together that share no superclass
    non_prototypical: Mask | None  # (N,)
    oov: Bytes | None  # (N, C / 8) bits, big-endian: gate holds and the best proposal is outside ImageNet

    def __len__(self) -> int:
        return len(self.targets)

    def rows(self, start: int, stop: int) -> "Evidence":
        """Return the evidence of the samples start to stop."""
        return replace(
            self,
            targets=self.targets[start:stop],
            labels=self.labels.rows(start, stop),
            problematic=self.problematic[start:stop],
            non_prototypical=None if self.non_prototypical is None else self.non_prototypical[start:stop],
            oov=None if self.oov is None else self.oov[start:stop],
        )

    def take(self, rows: NDArray[np.intp]) -> "Evidence":
        """Return the evidence of the named samples, in that order."""
        return replace(
            self,
            targets=self.targets[rows],
            labels=self.labels.take(rows),
            problematic=self.problematic[rows],
            non_prototypical=None if self.non_prototypical is None else self.non_prototypical[rows],
            oov=None if self.oov is None else self.oov[rows],
        )

    @cached_property
    def label_mask(self) -> Mask:
        """Return which classes are multi-labels of which sample, shape (N, C)."""
        mask = np.zeros((len(self), NUM_CLASSES), dtype=bool)
        mask[np.repeat(np.arange(len(self)), self.labels.counts), self.labels.classes] = True
        return mask

    def related_to_a_label(self, relation: Mask) -> Mask:
        """Return which classes some multi-label of each sample is related to, shape (N, C), by a (C, C) relation."""
        related = np.zeros((len(self), NUM_CLASSES), dtype=bool)
        filled = np.flatnonzero(self.labels.counts)
        if len(filled):
            starts = self.labels.offsets[filled]
            related[filled] = np.logical_or.reduceat(relation[self.labels.classes], starts, axis=0)
        return related


@dataclass(frozen=True)
class Strata:
    """How N samples are counted: S strata of samples that every aggregate treats alike (same target, same groups).

    Rows of `members` and `class_weights` are all samples, then CLASS_GROUPS. In a group, a target class' samples share
    one weight and all weights add up to 1: the sum of the weights of the samples with a property is the mean, over
    target classes, of the share of samples with it.
    """

    of_sample: NDArray[np.intp]  # (N,) the sample's stratum
    members: NDArray[np.float64]  # (4, S) 1 where the stratum's samples count in the group, else 0
    class_weights: NDArray[np.float64]  # (4, S) 1 / (target classes * samples of the class in the group), or 0
    set_aside: Mask  # (S,) samples that count nowhere


def strata_of(targets: Classes, counted: Mask, groups: Mask) -> Strata:
    """Return how samples are counted; targets and counted (not problematic): (N,), groups: (3, N) as CLASS_GROUPS."""
    memberships = np.stack([counted, *(counted & row for row in groups)])  # (4, N)
    codes = targets.astype(np.int64)
    for row in memberships:
        codes = codes * 2 + row
    _, first, of_sample = np.unique(codes, return_index=True, return_inverse=True)
    members, classes = memberships[:, first], targets[first]
    weights = np.zeros(members.shape)
    for weight, row, member in zip(weights, memberships, members, strict=True):
        samples = np.bincount(targets[row], minlength=NUM_CLASSES)
        weight[member] = 1.0 / (samples[classes[member]] * max(1, np.count_nonzero(samples)))
    return Strata(of_sample.astype(np.intp), members.astype(np.float64), weights, ~members[0])


@dataclass(frozen=True)
class Predictions:
    """What one model says of every image of a data set, in the data set's own order (A images)."""

    top1: Classes  # (A,) the class ranked first; -1 where there is none
    probability: NDArray[np.float16] | None = None  # (A,) of that class
    top1_restricted: Classes | None = (
        None  # (A,) ranked first among the data set's own classes, where those are fewer than C
    )
