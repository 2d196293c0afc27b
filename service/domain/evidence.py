"""Inputs of the rules and predictions of models: arrays of N evaluated samples, A images, C classes."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from errata.enums import LabelSource
from numpy.typing import NDArray

from service.domain.answers import Answers
from service.domain.class_relations import Classes, ClassPairs, Mask, Superclasses

Bytes = NDArray[np.uint8]
NO_LABEL = np.iinfo(np.int16).min  # neither a class nor NO_PREDICTION or NO_CLASS


@dataclass(frozen=True)
class Labels:
    """Multi-labels of N samples: one concatenated list of classes, and the offset of each sample."""

    offsets: NDArray[np.int32]  # (N + 1,) labels of sample i: offsets[i] to offsets[i + 1]
    classes: Classes  # (L,) distinct within a sample, in the order of the data set
    sources: Bytes  # (L,) LabelSource

    def of(self, row: int) -> Classes:
        """Return the classes of one sample."""
        return self.classes[self.offsets[row] : self.offsets[row + 1]]

    def sources_of(self, row: int) -> list[LabelSource]:
        """Return the origin of each label of one sample."""
        return [LabelSource(source) for source in self.sources[self.offsets[row] : self.offsets[row + 1]]]

    @property
    def counts(self) -> NDArray[np.int32]:
        """Return the number of labels of each sample, shape (N,)."""
        return np.diff(self.offsets)

    @cached_property
    def samples(self) -> NDArray[np.intp]:
        """Return the sample of each label, shape (L,), ascending."""
        return np.repeat(np.arange(len(self.offsets) - 1), self.counts)

    def contain(self, classes: Classes) -> Mask:
        """Return whether the class given for each sample is a label of the sample, (N,); classes: (N,)."""
        first, others, samples = self._first_and_others
        result: Mask = classes == first
        matches = np.flatnonzero(others == classes.take(samples))  # half as long as selecting with a mask
        result[samples.take(matches)] = True
        return result

    @cached_property
    def _first_and_others(self) -> tuple[Classes, Classes, NDArray[np.intp]]:
        """Return the first label of each sample (NO_LABEL: none), and all other labels with their samples."""
        is_first = np.diff(self.samples, prepend=-1) > 0
        first = np.full(len(self.offsets) - 1, NO_LABEL, dtype=np.int16)
        first[self.samples[is_first]] = self.classes[is_first]
        return first, self.classes[~is_first], self.samples[~is_first]

    def rows(self, start: int, stop: int) -> "Labels":
        """Return the labels of the samples from start to stop."""
        first, last = self.offsets[start], self.offsets[stop]
        return Labels(self.offsets[start : stop + 1] - first, self.classes[first:last], self.sources[first:last])

    def take(self, rows: NDArray[np.intp]) -> "Labels":
        """Return the labels of the given samples, in the given order."""
        starts = self.offsets.take(rows)
        counts = self.offsets.take(rows + 1) - starts
        offsets = np.zeros(len(rows) + 1, dtype=np.int32)
        np.cumsum(counts, out=offsets[1:])
        samples = np.repeat(np.arange(len(rows)), counts)
        index = np.arange(len(samples)) + (starts - offsets[:-1]).take(samples)
        labels = Labels(offsets, self.classes.take(index), self.sources.take(index))
        vars(labels)["samples"] = samples
        return labels


def rejected_targets(targets: Classes, labels: Labels, problematic: Mask) -> Mask:
    """Return the nonproblematic samples that have labels, but not the original label among them, (N,)."""
    return ~problematic & (labels.counts > 0) & ~labels.contain(targets)


def effective_targets(targets: Classes, labels: Labels, problematic: Mask) -> Classes:
    """Return the first label of samples with a rejected target, and the original label of the others, (N,)."""
    rejected = rejected_targets(targets, labels, problematic)
    effective = targets.copy()
    effective[rejected] = labels.classes[labels.offsets[:-1][rejected]]
    return effective


@dataclass(frozen=True)
class Evidence:
    """Inputs of the rules for N samples. A rule abstains if its field is None.

    A target is rejected if the sample is not problematic and its labels do not include the target.
    """

    targets: Classes  # (N,) original label
    labels: Labels
    problematic: Mask  # (N,) marked as problematic by the annotators
    overlap: ClassPairs  # (target, prediction) pairs in which the prediction counts as correct
    superclasses: Superclasses
    cooccurrence: ClassPairs | None  # symmetric: co-occurrence pairs that share no superclass
    non_prototypical: Mask | None  # (N,)
    oov: Bytes | None  # (N, ceil(C / 8)) bits, big-endian; see OovDecisions.oov in evidence/vocabulary.py

    def __len__(self) -> int:
        return len(self.targets)

    def rows(self, start: int, stop: int) -> "Evidence":
        """Return the evidence of the samples from start to stop."""
        return replace(
            self,
            targets=self.targets[start:stop],
            labels=self.labels.rows(start, stop),
            problematic=self.problematic[start:stop],
            non_prototypical=None if self.non_prototypical is None else self.non_prototypical[start:stop],
            oov=None if self.oov is None else self.oov[start:stop],
        )

    def take(self, rows: NDArray[np.intp]) -> "Evidence":
        """Return the evidence of the given samples, in the given order."""
        evidence = replace(
            self,
            targets=self.targets.take(rows),
            labels=self.labels.take(rows),
            problematic=self.problematic.take(rows),
            non_prototypical=None if self.non_prototypical is None else self.non_prototypical.take(rows),
            oov=None if self.oov is None else self.oov.take(rows, axis=0),
        )
        for name in ("targets_are_labels", "effective_targets"):  # computed once for all samples
            vars(evidence)[name] = getattr(self, name).take(rows)
        return evidence

    @cached_property
    def targets_are_labels(self) -> Mask:
        """Return whether the target of each sample is one of its labels, (N,)."""
        return self.labels.contain(self.targets)

    @cached_property
    def rejected(self) -> Mask:
        """Return the samples whose labels reject the target, (N,)."""
        return rejected_targets(self.targets, self.labels, self.problematic)

    @cached_property
    def effective_targets(self) -> Classes:
        """Return the first label of samples with a rejected target, and the target of the others, (N,)."""
        return effective_targets(self.targets, self.labels, self.problematic)

    @property
    def num_classes(self) -> int:
        """Return the number of classes C."""
        return self.superclasses.num_classes

    def any_label(self, relation: Callable[[Classes, Classes], Mask], predicted: Classes) -> Mask:
        """Return whether a relation holds between any label of each sample and the predictions, (N, K).

        Args:
            relation: Function of labels, (n, 1), and predictions, (n, K) or (1, K).
            predicted: (N, K), or (1, K) for the same predictions of all samples.
        """
        result = np.zeros((len(self), predicted.shape[1]), dtype=bool)
        if predicted.shape[1] == 1:
            samples = self.labels.samples
            classes = predicted if len(predicted) == 1 else predicted.take(samples, axis=0)
            result[samples.take(np.flatnonzero(relation(self.labels.classes[:, None], classes)))] = True
            return result
        counts = self.labels.counts
        for position in range(int(counts.max(initial=0))):
            samples = np.flatnonzero(counts > position)
            labels = self.labels.classes[self.labels.offsets[samples] + position]
            result[samples] |= relation(labels[:, None], predicted if len(predicted) == 1 else predicted[samples])
        return result


@dataclass(frozen=True)
class Strata:
    """Partition of N samples into S strata. Samples of one stratum have the same target and the same groups.

    Every aggregate is a weighted sum over strata, so one histogram per model is enough to compute it. `weights` has two
    weights of each stratum: 1 if it counts in the group, else 0; and its class weight, which is 1 / (target classes *
    samples of the class in the group), or 0. The first row of each stands for all samples, and the other rows for the
    groups. In each row, the class weights of all samples add up to 1. Each target class has a share of samples with a
    property. The sum of the class weights of the samples with the property is the mean of these shares.
    """

    groups: tuple[str, ...]  # (G,) without `all`
    sample_strata: NDArray[np.intp]  # (N,) stratum of each sample
    weights: NDArray[np.float64]  # (2, G + 1, S)
    problematic: Mask  # (S,) strata that count in no group
    members: Mask  # (G + 1, N) samples that count in each group; the first row stands for all samples

    def merged(self) -> "Strata":
        """Return the strata after merging those with the same weights. It has the same aggregates, and is smaller.

        A class with as many samples in each group as another one has the same weights. Merging takes longer than the
        histogram of a model, so it is only useful for many models.
        """
        weights, numbers = np.unique(self.weights, axis=2, return_inverse=True)
        sample_strata = numbers.reshape(-1).take(self.sample_strata)
        return replace(self, sample_strata=sample_strata, weights=weights, problematic=weights[0, 0] == 0)


def build_strata(targets: Classes, counted: Mask, groups: Mapping[str, Mask]) -> Strata:
    """Partition samples into strata.

    Args:
        targets: (N,) effective targets.
        counted: (N,) samples that are not problematic.
        groups: (N,) members of each group, without `all`.
    """
    memberships = np.stack([counted, *(counted & row for row in groups.values())])  # (G + 1, N)
    codes = targets.astype(np.int64)
    for row in memberships:
        codes = codes * 2 + row
    _, first, sample_strata = np.unique(codes, return_index=True, return_inverse=True)
    members, classes = memberships[:, first], targets[first]
    weights = np.stack([members, np.zeros(members.shape)])
    for weight, row, member in zip(weights[1], memberships, members, strict=True):
        samples = np.bincount(targets[row])
        weight[member] = 1.0 / (samples[classes[member]] * max(1, np.count_nonzero(samples)))
    return Strata(tuple(groups), sample_strata.astype(np.intp), weights, ~members[0], memberships)


@dataclass(frozen=True)
class Predictions:
    """Predictions of one model for the A images of a data set, in the order of the data set."""

    top1: Classes  # (A,) top-1 class; -1: no prediction; -2: an answer without a class
    probability: NDArray[np.float16] | None = None  # (A,) probability of the top-1 class
    top1_restricted: Classes | None = None  # (A,) top-1 among the data set's own classes; None also: these are all C
    subset: Mask | None = None  # (A,) images that the upload covers on purpose; None: all
    answers: Answers | None = None  # None: the predictions are classes

    @classmethod
    def concatenate(cls, pieces: "Sequence[Predictions]") -> "Predictions":
        """Concatenate top-1 classes and probabilities. If a piece has no probabilities, the result has none."""
        probabilities = [piece.probability for piece in pieces if piece.probability is not None]
        return cls(
            top1=np.concatenate([piece.top1 for piece in pieces]),
            probability=np.concatenate(probabilities) if len(probabilities) == len(pieces) else None,
        )

    def without_unknown_probabilities(self) -> "Predictions":
        """Return the predictions of all images without probabilities if all of these are NaN: the model has none."""
        is_unknown = self.probability is not None and bool(np.isnan(self.probability).all())
        return replace(self, probability=None) if is_unknown else self

    def probability_of(self, image: int) -> float | None:
        """Return the probability of the top-1 class of an image; None if it is not known."""
        value = math.nan if self.probability is None else float(self.probability[image])
        return None if math.isnan(value) else value
