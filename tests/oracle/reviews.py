"""What reviews make of the labels of an image. Slow by intention, and written from the specification only."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class PlainReview:
    """A review; `time` orders the reviews."""

    time: int
    reviewer: str
    image: str
    correct: frozenset[int] = frozenset()  # confirmed or added
    rejected: frozenset[int] = frozenset()
    problematic: bool | None = None
    undoes: int | None = None  # time of an earlier review of the same reviewer and image


@dataclass
class Image:
    """The labels of an image, in order, and whether it is set aside."""

    labels: list[int]
    problematic: bool
    added: list[int] = field(default_factory=list)


def is_undone(review: PlainReview, reviews: list[PlainReview]) -> bool:
    """Return whether a later review of the same reviewer, which is itself not undone, undoes a review."""
    return any(
        other.undoes == review.time
        and other.reviewer == review.reviewer
        and other.time > review.time
        and not is_undone(other, reviews)
        for other in reviews
    )


def majority(votes: dict[str, bool], min_reviews: int) -> bool | None:
    """Return what most reviewers say; None for a tie or too few reviewers."""
    yes, no = list(votes.values()).count(True), list(votes.values()).count(False)
    if len(votes) < min_reviews or yes == no:
        return None
    return yes > no


def review_image(image: Image, name: str, reviews: list[PlainReview], min_reviews: int, num_classes: int) -> Image:
    """Return an image after its reviews: per reviewer and class the newest counts, and the majority decides."""
    active = [
        review
        for review in sorted(reviews, key=lambda review: review.time)
        if review.image == name and review.undoes is None and not is_undone(review, reviews)
    ]
    labels = list(image.labels)
    added = []
    for index in range(num_classes):
        votes: dict[str, bool] = {}
        for review in active:
            if index in review.rejected:
                votes[review.reviewer] = False
            elif index in review.correct:
                votes[review.reviewer] = True
        verdict = majority(votes, min_reviews)
        if verdict is False and index in labels:
            labels.remove(index)
        if verdict is True and index not in labels:
            labels.append(index)  # ascending, after the labels of the base
            added.append(index)
    aside = majority(
        {review.reviewer: review.problematic for review in active if review.problematic is not None}, min_reviews
    )
    problematic = image.problematic if aside is None else aside
    return Image(labels, problematic or not labels, added)
