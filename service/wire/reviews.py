"""Messages of reviews and of the review queue."""

from errata import v1 as pb
from errata.errors import InvalidRequest
from errata.names import DATASETS, evidence_name, image_name, review_name

from service.analyses.review_export import LabelsExport
from service.analyses.review_queue import QueueItem, QueueReason
from service.analyses.reviews import ReviewRequest
from service.domain import LabelSpace, Review
from service.wire.analyses import to_timestamp
from service.wire.names import check_enum, evidence_of, image_ids, optional, review_ids

_REASONS = {
    QueueReason.CONFLICT: pb.ReviewQueueItem.REASON_CONFLICT,
    QueueReason.SEVERE_ERROR: pb.ReviewQueueItem.REASON_SEVERE_ERROR,
    QueueReason.AGREEMENT: pb.ReviewQueueItem.REASON_AGREEMENT,
}


def review_request(message: pb.CreateReviewRequest) -> ReviewRequest:
    """Convert the request of CreateReview."""
    dataset, image = image_ids(message.parent, "parent")
    review = message.review
    return ReviewRequest(
        dataset=dataset,
        image=image,
        evidence=evidence_of(dataset, review.evidence),
        confirmed=tuple(review.confirmed_classes),
        added=tuple(review.added_classes),
        rejected=tuple(review.rejected_classes),
        problematic=optional(review, "problematic"),
        reason=review.reason,
        comment=review.comment,
        undoes=_undone_id(review.undoes, dataset, image),
        reviewer=review.reviewer,
        request_id=message.request_id,
    )


def _undone_id(name: str, dataset: str, image: str) -> str:
    """Return the ID of the review that a new review of the same image undoes; `name` can also be its ID."""
    if not name.startswith(DATASETS):
        return name
    *actual, review_id = review_ids(name, "undoes")
    if actual != [dataset, image]:
        raise InvalidRequest(f"The review {name!r:.160} is of another image. Undo it there.", field="undoes")
    return review_id


def to_review(review: Review, is_undone: bool = False) -> pb.Review:
    """Convert a review."""
    name = review_name(review.dataset, review.image, review.id)
    return pb.Review(
        name=name,
        file_name=review.image,
        evidence=evidence_name(review.dataset, review.evidence),
        reviewer=review.reviewer,
        authenticated=review.is_authenticated,
        create_time=to_timestamp(review.time),
        confirmed_classes=review.confirmed,
        added_classes=review.added,
        rejected_classes=review.rejected,
        problematic=review.problematic,
        reason=review.reason,
        comment=review.comment,
        undoes=review_name(review.dataset, review.image, review.undoes) if review.undoes else "",
        undone=is_undone,
    )


def labels_export(message: pb.ExportReviewsRequest, dataset: str) -> LabelsExport | None:
    """Convert the request of ExportReviews; None if the request is for reviews instead of labels."""
    check_enum(pb.ReviewFormat, message.format, "format")
    if message.format not in (pb.REVIEW_FORMAT_LABELS_CSV, pb.REVIEW_FORMAT_LABELS_JSONL):
        return None
    return LabelsExport(
        evidence=evidence_of(dataset, message.evidence),
        min_reviews=message.min_reviews or 1,
        only_reviewed=message.only_reviewed,
        as_csv=message.format == pb.REVIEW_FORMAT_LABELS_CSV,
    )


def to_queue_item(item: QueueItem, dataset: str, label_space: LabelSpace) -> pb.ReviewQueueItem:
    """Convert an image in the review queue."""
    message = pb.ReviewQueueItem(
        image=image_name(dataset, item.image),
        file_name=item.image,
        reason=_REASONS[item.reason],
        predicted=item.predicted,
        num_agreeing=item.num_agreeing,
        num_models=item.num_models,
        probability=item.confidence,
    )
    if item.predicted is not None:
        message.predicted_class_id = label_space.ids[item.predicted]
        message.predicted_name = label_space.names[item.predicted]
    return message
