"""The details of one image for its review: labels, suggested classes, the model's prediction, and earlier reviews."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from service.analyses.ports import Stores
from service.analyses.review_queue import QueuePosition, find_labels, find_votes, locate_image
from service.domain import (
    Analysis,
    Decision,
    ErrorType,
    LabelSource,
    ModelVotes,
    Review,
    active_reviews,
    count_agreeing,
    decide,
    mean_probability,
)
from service.evidence.bundle import Bundle
from service.rules.table import error_type

MAX_SUGGESTED = 6  # classes of one image


@dataclass(frozen=True)
class SuggestedClass:
    """A class that models predict and that is not a label."""

    class_index: int
    num_agreeing: int  # models that predict it
    confidence: float | None  # mean probability of these predictions; None: unknown


@dataclass(frozen=True)
class Prediction:
    """The prediction of the analysis from which the reviewer opened the image, or of the newest one."""

    analysis: Analysis
    class_index: int
    error_type: ErrorType
    probability: float | None


@dataclass(frozen=True)
class ReviewDetails:
    """One image and its reviews."""

    bundle: Bundle
    image: str
    target: int
    labels: Sequence[tuple[int, LabelSource]]
    is_problematic: bool  # in the evidence
    prediction: Prediction | None  # None: no analysis has a prediction for the image
    suggested: Sequence[SuggestedClass]  # most agreement first
    num_models: int
    min_agreement: int
    reviews: Sequence[Review]  # oldest first, including those that are undone
    active: Sequence[Review]
    decision: Decision
    position: QueuePosition

    @property
    def labels_digest(self) -> str:
        """Return the digest of the labels of the image, and of the classes that the statements of a form refer to."""
        labels = sorted(index for index, _ in self.labels)
        return hashlib.sha256(f"{self.bundle.classes_digest} {labels}".encode()).hexdigest()


def find_details(stores: Stores, dataset: str, analysis_id: str, image: str) -> ReviewDetails:
    """Return the details of an image for its review.

    Args:
        stores: The stores.
        dataset: The data set.
        analysis_id: The analysis from which the reviewer opened the image; empty: the newest one, judged with the
            default evidence.
        image: The file name.

    Raises:
        ImageNotFound: The evidence does not have the image.
        InvalidRequest: The analysis is of another data set.
        AnalysisNotFound: The analysis does not exist.
        DatasetNotFound: The data set does not exist.
    """
    bundle, judged = find_labels(stores, dataset, analysis_id)
    row = bundle.row(image)
    labels = bundle.evidence.labels
    votes, reviews = find_votes(stores, bundle), stores.reviews.find((dataset, image))
    active = active_reviews(reviews)
    prediction = None
    if judged is not None and (top1 := int(judged.predictions.top1[bundle.rows[row]])) >= 0:
        probability = judged.predictions.probability_of(bundle.rows[row])
        prediction = Prediction(judged.analysis, top1, error_type(int(judged.verdicts[row])), probability)
    return ReviewDetails(
        bundle=bundle,
        image=image,
        target=int(bundle.evidence.targets[row]),
        labels=[*zip(labels.of(row).tolist(), labels.sources_of(row), strict=True)],
        is_problematic=bool(bundle.evidence.problematic[row]),
        prediction=prediction,
        suggested=_suggest_classes(votes, row, {*labels.of(row).tolist()}),
        num_models=votes.num_models,
        min_agreement=votes.default_agreement,
        reviews=reviews,
        active=active,
        decision=decide(active),
        position=locate_image(stores, dataset, analysis_id, image),
    )


def find_last_review(stores: Stores, dataset: str, voter: tuple[str, bool]) -> Review | None:
    """Return the newest review of a data set by a reviewer, without undone reviews; None if there is no review."""
    own = [review for review in stores.reviews.find((dataset,)) if review.voter == voter]
    active = active_reviews(own)
    return active[-1] if active else None


def _suggest_classes(votes: ModelVotes, row: int, labels: set[int]) -> list[SuggestedClass]:
    """Return the classes that any model predicts for an image and that are not labels, most agreement first."""
    classes = np.array([index for index in np.unique(votes.predicted[:, row]) if index >= 0 and index not in labels])
    classes = classes.astype(np.int16)
    rows = np.full(len(classes), row)
    counts, confidence = count_agreeing(votes, rows, classes), mean_probability(votes, rows, classes)
    order = np.lexsort((classes, -np.nan_to_num(confidence), -counts))[:MAX_SUGGESTED]
    columns = (array[order].tolist() for array in (classes, counts, confidence))
    return [
        SuggestedClass(index, count, None if np.isnan(mean) else mean)
        for index, count, mean in zip(*columns, strict=True)
    ]
