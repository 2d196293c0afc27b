"""Suggestions of missing labels: classes that several models predict and that are not among the labels of an image."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from service.domain.class_relations import Classes, Mask
from service.domain.evidence import Evidence

MIN_AGREEMENT = 3  # models; fewer are weak evidence, because models share training data and mistakes
MAX_SUGGESTIONS = 2_000_000  # at an agreement that a caller selects; 200 models can predict 200 classes of each image
_CHUNK = 4096  # images that are sorted at a time


@dataclass(frozen=True, eq=False)
class ModelVotes:
    """The predictions of M models for the N evaluated images of a data set, one vote per model."""

    analysis_ids: tuple[str, ...]  # (M,) newest first
    predicted: Classes  # (M, N) class; -1: no prediction
    probability: NDArray[np.float16]  # (M, N) probability of the prediction; NaN: unknown

    @property
    def num_models(self) -> int:
        """Return the number of models M."""
        return len(self.analysis_ids)

    @cached_property
    def default_agreement(self) -> int:
        """Return half of the models, rounded up, and at least MIN_AGREEMENT."""
        return max(MIN_AGREEMENT, -(-self.num_models // 2))


@dataclass(frozen=True, eq=False)
class Suggestions:
    """S suggestions. Each one is an image and a class that is possibly a missing label of this image."""

    rows: NDArray[np.intp]  # (S,) evaluated image
    classes: Classes  # (S,)
    num_agreeing: NDArray[np.int64]  # (S,) models that predict the class
    confidence: NDArray[np.float64]  # (S,) mean probability of the class in the models that predict it; NaN: unknown

    def take(self, index: NDArray[np.intp]) -> "Suggestions":
        """Return some suggestions, in the given order."""
        return Suggestions(self.rows[index], self.classes[index], self.num_agreeing[index], self.confidence[index])


def suggest_labels(evidence: Evidence, votes: ModelVotes, min_agreement: int | None = None) -> Suggestions:
    """Return the suggestions of models, sorted by descending agreement, descending confidence, and image.

    There are no suggestions for problematic images. A class that overlaps with the effective target of an image is not
    suggested for it, because this prediction already counts as correct.

    Args:
        evidence: The labels of the N images.
        votes: The predictions of the models.
        min_agreement: Number of models that must predict the same class; None: `votes.default_agreement`.

    Raises:
        ValueError: `min_agreement` is less than 1, or so low that there are more than MAX_SUGGESTIONS.
    """
    needed = votes.default_agreement if min_agreement is None else min_agreement
    if needed < 1:
        raise ValueError(f"min_agreement is {needed}. Expected at least 1.")
    limit = votes.predicted.size if min_agreement is None else MAX_SUGGESTIONS
    rows, classes, counts = _frequent_classes(_wrong_votes(evidence, votes.predicted), needed, limit)
    suggestions = Suggestions(rows, classes, counts, mean_probability(votes, rows, classes))
    order = np.lexsort(
        (suggestions.classes, suggestions.rows, -np.nan_to_num(suggestions.confidence), -suggestions.num_agreeing)
    )
    return suggestions.take(order)


def mean_probability(votes: ModelVotes, rows: NDArray[np.intp], classes: Classes) -> NDArray[np.float64]:
    """Return, for each image and class, the mean probability of the predictions of this class, (S,); NaN: unknown.

    Args:
        votes: The predictions of the models.
        rows: (S,) images.
        classes: (S,) classes.
    """
    total, count = np.zeros(len(rows)), np.zeros(len(rows))
    for predicted, probability in zip(votes.predicted, votes.probability, strict=True):
        values = probability[rows].astype(np.float64)
        is_known = (predicted[rows] == classes) & ~np.isnan(values)
        total[is_known] += values[is_known]
        count += is_known
    mean = np.full(len(rows), np.nan)
    np.divide(total, count, out=mean, where=count > 0)
    return mean


def count_agreeing(votes: ModelVotes, rows: NDArray[np.intp], classes: Classes) -> NDArray[np.int64]:
    """Return, for each image and class, the number of models that predict it, (S,); rows and classes: (S,)."""
    return (votes.predicted[:, rows] == classes).sum(axis=0, dtype=np.int64)  # type: ignore[no-any-return]


def _wrong_votes(evidence: Evidence, predicted: Classes) -> Classes:
    """Return predictions, (M, N), with -1 where the class cannot be a missing label."""
    wrong = predicted.copy()
    wrong[:, np.asarray(evidence.problematic)] = -1
    for votes in wrong:
        overlaps: Mask = evidence.overlap.holds(evidence.effective_targets, np.maximum(votes, 0))
        votes[evidence.labels.contain(votes) | overlaps] = -1
    return wrong


def _frequent_classes(votes: Classes, needed: int, limit: int) -> tuple[NDArray[np.intp], Classes, NDArray[np.int64]]:
    """Return the images and classes, (S,), with at least `needed` votes, and their number of votes.

    Args:
        votes: (M, N) class; -1: no vote.
        needed: Number of votes, at least 1.
        limit: Maximum of S; for more, raise ValueError.
    """
    num_models, num_images = votes.shape
    rows, classes, counts, total = [], [], [], 0
    for start in range(0, num_images if num_models >= needed else 0, _CHUNK):
        ordered = np.sort(votes[:, start : start + _CHUNK].T, axis=1)
        is_first = np.ones(ordered.shape, dtype=bool)  # of a run of equal classes
        is_first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
        firsts = np.flatnonzero(is_first)
        lengths = np.diff(firsts, append=ordered.size)
        values = ordered.reshape(-1)[firsts]
        chosen = (lengths >= needed) & (values >= 0)
        total += int(np.count_nonzero(chosen))
        if total > limit:
            raise ValueError(
                f"min_agreement is {needed}, which suggests more than {limit:,} classes. Use a larger number."
            )
        rows.append(start + firsts[chosen] // num_models)
        classes.append(values[chosen])
        counts.append(lengths[chosen])
    if not rows:
        return np.zeros(0, dtype=np.intp), np.zeros(0, dtype=np.int16), np.zeros(0, dtype=np.int64)
    return np.concatenate(rows), np.concatenate(classes), np.concatenate(counts)
