"""The images that people should review: conflicts of reviewers, severe errors, and errors that models share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from enum import Enum

import numpy as np
from errata.errors import InvalidRequest
from numpy.typing import NDArray

from service.analyses.archived_predictions import find_predictions, is_usable
from service.analyses.judge import JudgedAnalysis, compute_verdicts
from service.analyses.ports import Stores
from service.analyses.verdicts import load_judged
from service.domain import (
    NEWEST_FIRST,
    SEVERE_TYPES,
    AnalysisFilter,
    Classes,
    Decision,
    ModelVotes,
    State,
    count_agreeing,
    is_among,
    mean_probability,
)
from service.evidence.bundle import Bundle
from service.rules.table import error_types

MAX_TRIED = 20  # newest analyses that are searched for readable predictions of the same images


class QueueReason(Enum):
    """Why an image is in the queue, in the order of the queue."""

    CONFLICT = "conflict"  # reviewers disagree, and a further one has to decide
    SEVERE_ERROR = "severe_error"  # a severe error of the selected or newest analysis
    AGREEMENT = "agreement"  # most models predict the same class that is not among the labels


REASONS = tuple(QueueReason)


@dataclass(frozen=True)
class QueueItem:
    """An image to review."""

    image: str
    reason: QueueReason
    predicted: int | None  # disputed class or possibly missing label; None: disputed whether problematic
    num_agreeing: int  # models that predict this class
    num_models: int
    confidence: float | None  # of a severe error; otherwise, mean of the agreeing models; None: unknown


@dataclass(frozen=True)
class ReviewQueue:
    """A page of the queue of a data set."""

    bundle: Bundle  # the evidence with the current labels
    analysis_id: str  # the analysis whose severe errors are in the queue; empty: there is none
    items: Sequence[QueueItem]
    total: int  # images in the queue
    counts: Mapping[QueueReason, int]
    num_reviewed: int  # images with reviews, of which those with a conflict are in the queue
    num_models: int
    min_agreement: int
    offset: int = 0  # images before the page


@dataclass(frozen=True)
class QueuePosition:
    """The position of one image in the queue of a data set."""

    item: QueueItem | None  # None: the image is not in the queue
    position: int | None  # from 0
    total: int  # images in the queue
    next: str  # the image after it, or the first one if the image is not in the queue; empty at the end


@dataclass(frozen=True, eq=False)
class _Candidates:
    """Images, in the order of the queue."""

    rows: NDArray[np.intp]  # (Q,) evaluated image
    reasons: NDArray[np.int8]  # (Q,) index in REASONS
    classes: Classes  # (Q,) -1: none
    confidence: NDArray[np.float64]  # (Q,) NaN: unknown

    @classmethod
    def of(
        cls, reason: QueueReason, rows: NDArray[np.intp], classes: NDArray[np.integer], confidence: NDArray[np.floating]
    ) -> "_Candidates":
        """Return candidates that have the same reason."""
        reasons = np.full(len(rows), REASONS.index(reason), dtype=np.int8)
        return cls(rows, reasons, classes.astype(np.int16), confidence.astype(np.float64))

    @classmethod
    def concatenate(cls, parts: "Sequence[_Candidates]") -> "_Candidates":
        """Return the candidates of all parts."""
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))

    def take(self, index: NDArray[np.intp] | slice) -> "_Candidates":
        """Return some candidates."""
        return _Candidates(self.rows[index], self.reasons[index], self.classes[index], self.confidence[index])


@dataclass(frozen=True, eq=False)
class _Queue:
    """The whole queue, and the data that it was built from."""

    bundle: Bundle
    judged: JudgedAnalysis | None
    votes: ModelVotes
    decisions: Mapping[str, Decision]
    images: _Candidates


def find_votes(stores: Stores, bundle: Bundle) -> ModelVotes:
    """Return the votes of the archived models on the images of a bundle, one vote per model."""
    return stores.votes.get(stores.index, stores.archive, bundle)


def review_queue(
    stores: Stores,
    dataset: str,
    analysis_id: str = "",
    limit: int = 50,
    offset: int = 0,
    min_agreement: int | None = None,
) -> ReviewQueue:
    """Return a page of the images to review.

    Conflicts of reviewers come first, then severe errors of one analysis by falling confidence, and then the errors
    that most models have in common. Each image occurs once. Reviewed images without a conflict are not in the queue.

    Args:
        stores: The stores.
        dataset: The data set.
        analysis_id: The analysis whose severe errors are in the queue, and whose evidence has the labels; empty: the
            newest plausible analysis, judged with the default evidence.
        limit: Maximum number of images.
        offset: Number of images to skip.
        min_agreement: Number of models that must predict the same class; None: half of them, and at least 3.

    Raises:
        InvalidRequest: The analysis is of another data set, the page is invalid, or `min_agreement` is too low.
        AnalysisNotFound: The analysis does not exist.
        DatasetNotFound: The data set does not exist.
    """
    if limit < 1 or offset < 0:
        raise InvalidRequest(f"Invalid page: limit {limit}, offset {offset}. Expected limit ≥ 1 and offset ≥ 0.")
    queue = _load_queue(stores, dataset, analysis_id, min_agreement)
    counts = np.bincount(queue.images.reasons, minlength=len(REASONS)).tolist()
    return ReviewQueue(
        bundle=queue.bundle,
        analysis_id=queue.judged.analysis.id if queue.judged else "",
        items=_to_items(queue, queue.images.take(slice(offset, offset + limit))),
        total=len(queue.images.rows),
        counts=dict(zip(REASONS, counts, strict=True)),
        num_reviewed=sum(image in queue.bundle.row_of_name for image in queue.decisions),
        num_models=queue.votes.num_models,
        min_agreement=queue.votes.default_agreement if min_agreement is None else min_agreement,
        offset=offset,
    )


def locate_image(stores: Stores, dataset: str, analysis_id: str, image: str) -> QueuePosition:
    """Return the position of an image in the queue. Raise the errors of `review_queue`."""
    queue = _load_queue(stores, dataset, analysis_id)
    rows, names = queue.images.rows, queue.bundle.judged_names
    (matching,) = np.nonzero(rows == queue.bundle.row_of_name.get(image, -1))
    position = int(matching[0]) if len(matching) else None
    following = rows if position is None else rows[position + 1 :]
    return QueuePosition(
        item=None if position is None else _to_items(queue, queue.images.take(matching))[0],
        position=position,
        total=len(rows),
        next=names[int(following[0])] if len(following) else "",
    )


def find_labels(stores: Stores, dataset: str, analysis_id: str) -> tuple[Bundle, JudgedAnalysis | None]:
    """Return the bundle with the labels to review, and the analysis with the severe errors, if any.

    Raise the errors of `review_queue`.
    """
    if not analysis_id:
        bundle = stores.evidence.find(dataset, "")
        return bundle, _judge_newest(stores, bundle)
    judged = load_judged(stores, analysis_id)
    if judged.bundle.dataset != dataset:
        raise InvalidRequest(
            f"Analysis {analysis_id} is of the data set {judged.bundle.dataset}. "
            f"Expected an analysis of {dataset!r:.80}.",
            field="analysis",
        )
    return judged.bundle, judged


def _load_queue(stores: Stores, dataset: str, analysis_id: str, min_agreement: int | None = None) -> _Queue:
    bundle, judged = find_labels(stores, dataset, analysis_id)
    votes, decisions = find_votes(stores, bundle), stores.decisions.get(stores.reviews, dataset)
    conflicts = _conflicts(bundle, votes, decisions)
    agreements = stores.votes.suggestions(votes, bundle, min_agreement)
    candidates = _Candidates.concatenate(
        [
            conflicts,
            *([_severe_errors(judged)] if judged is not None else []),
            _Candidates.of(QueueReason.AGREEMENT, agreements.rows, agreements.classes, agreements.confidence),
        ]
    )
    is_open = np.ones(len(bundle.rows), dtype=bool)
    is_open[[bundle.row_of_name[image] for image in decisions if image in bundle.row_of_name]] = False
    is_open[conflicts.rows] = True
    _, first = np.unique(candidates.rows, return_index=True)
    remaining = np.sort(first)
    return _Queue(bundle, judged, votes, decisions, candidates.take(remaining[is_open[candidates.rows[remaining]]]))


def _judge_newest(stores: Stores, bundle: Bundle) -> JudgedAnalysis | None:
    """Judge the newest plausible analysis of a bundle's images and classes with the bundle; None if there is none."""
    archived = AnalysisFilter(frozenset({State.SUCCEEDED}), dataset=bundle.dataset)
    for analysis in stores.index.find(archived, NEWEST_FIRST, None, MAX_TRIED):
        predictions = find_predictions(stores.archive, bundle, analysis.id) if is_usable(analysis, bundle) else None
        if predictions is not None:
            return JudgedAnalysis(analysis, bundle, predictions, compute_verdicts(bundle, predictions))
    return None


def _conflicts(bundle: Bundle, votes: ModelVotes, decisions: Mapping[str, Decision]) -> _Candidates:
    """Return the images on which reviewers disagree, in the order of images."""
    index_of = {class_id: index for index, class_id in enumerate(bundle.label_space.ids)}
    conflicts = sorted(
        (bundle.row_of_name[image], min((index_of.get(class_id, -1) for class_id in decision.disputed), default=-1))
        for image, decision in decisions.items()
        if decision.has_conflict and image in bundle.row_of_name
    )
    rows, classes = np.array(conflicts, dtype=np.intp).reshape(-1, 2).T
    return _Candidates.of(QueueReason.CONFLICT, rows, classes, mean_probability(votes, rows, classes.astype(np.int16)))


def _severe_errors(judged: JudgedAnalysis) -> _Candidates:
    """Return the severe errors of an analysis on images that are not problematic, by falling confidence."""
    is_severe = is_among(error_types(judged.verdicts), SEVERE_TYPES)
    rows = np.flatnonzero(is_severe & ~judged.bundle.evidence.problematic)
    images = judged.bundle.rows[rows]
    known = judged.predictions.probability
    confidence = np.full(len(rows), np.nan) if known is None else known[images].astype(np.float64)
    order = np.argsort(-np.nan_to_num(confidence), kind="stable")
    predicted = judged.predictions.top1[images]
    return _Candidates.of(QueueReason.SEVERE_ERROR, rows[order], predicted[order], confidence[order])


def _to_items(queue: _Queue, page: _Candidates) -> list[QueueItem]:
    names, num_agreeing = queue.bundle.judged_names, count_agreeing(queue.votes, page.rows, page.classes)
    columns = (page.rows, page.reasons, page.classes, num_agreeing, page.confidence)
    return [
        QueueItem(
            image=names[row],
            reason=REASONS[reason],
            predicted=class_index if class_index >= 0 else None,
            num_agreeing=count if class_index >= 0 else 0,
            num_models=queue.votes.num_models,
            confidence=None if np.isnan(confidence) else confidence,
        )
        for row, reason, class_index, count, confidence in zip(*(column.tolist() for column in columns), strict=True)
    ]
