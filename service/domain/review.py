"""Reviews: statements of people about the labels of images, and the decisions that follow from them.

A review is never changed. To withdraw a review, its reviewer adds a new review that names the old one in `undoes`.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Review:
    """The statements of a reviewer about one image. Classes are IDs of the label space."""

    id: str  # 32 hexadecimal digits
    dataset: str
    image: str  # file name
    evidence: str  # digest of the bundle that the reviewer saw
    reviewer: str
    is_authenticated: bool  # whether `reviewer` is the name of a token
    time: datetime
    confirmed: tuple[str, ...] = ()  # labels of the image that are correct
    added: tuple[str, ...] = ()  # further correct classes
    rejected: tuple[str, ...] = ()  # classes that are not in the image
    problematic: bool | None = None  # whether the image is problematic; None: no statement
    reason: str = ""  # why the image is problematic
    comment: str = ""
    undoes: str = ""  # ID of an earlier review by the same reviewer; other statements are then absent

    @property
    def voter(self) -> tuple[str, bool]:
        """Return the identity of the reviewer. The same name with and without a token is two identities."""
        return self.reviewer, self.is_authenticated

    @property
    def present(self) -> frozenset[str]:
        """Return the classes that the reviewer sees in the image."""
        return frozenset(self.confirmed) | frozenset(self.added)


@dataclass(frozen=True)
class Decision:
    """The decision of the reviews of one image. All other labels stay as they are in the evidence."""

    present: frozenset[str] = frozenset()  # classes that become, or stay, labels
    absent: frozenset[str] = frozenset()  # classes that are not labels
    disputed: frozenset[str] = frozenset()  # classes with as many votes for as against
    problematic: bool | None = None  # None: undecided
    is_problematic_disputed: bool = False
    reason: str = ""  # of the newest vote that the image is problematic

    @property
    def has_conflict(self) -> bool:
        """Return whether a further reviewer has to decide."""
        return bool(self.disputed) or self.is_problematic_disputed


def active_reviews(reviews: Iterable[Review]) -> Sequence[Review]:
    """Return the reviews that count, oldest first. Undone reviews, and reviews that undo others, do not count."""
    ordered = sorted(reviews, key=_order)
    undone = undone_ids(ordered)
    return [review for review in ordered if not review.undoes and review.id not in undone]


def undone_ids(reviews: Iterable[Review]) -> Set[str]:
    """Return the IDs of the reviews that their reviewers have undone.

    A review that undoes another one can itself be undone, which restores the other one.
    """
    withdrawn: set[tuple[tuple[str, bool], str]] = set()
    undone: set[str] = set()
    for review in sorted(reviews, key=_order, reverse=True):
        if (review.voter, review.id) in withdrawn:
            undone.add(review.id)
        elif review.undoes:
            withdrawn.add((review.voter, review.undoes))
    return undone


def review_keys(review: Review) -> tuple[tuple[str, ...], ...]:
    """Return the keys under which a log of reviews finds a review: its data set, and its image."""
    return (review.dataset,), (review.dataset, review.image)


def decide_images(reviews: Iterable[Review], min_reviews: int = 1) -> Mapping[str, Decision]:
    """Return the decisions of the reviews of one data set, by image.

    Args:
        reviews: Reviews of any images, in any order.
        min_reviews: Number of reviewers that must have voted on a class.
    """
    by_image: dict[str, list[Review]] = defaultdict(list)
    for review in active_reviews(reviews):
        by_image[review.image].append(review)
    return {image: decide(image_reviews, min_reviews) for image, image_reviews in by_image.items()}


def decide(reviews: Collection[Review], min_reviews: int = 1) -> Decision:
    """Return the decision of the active reviews of one image. `reviews` must be in ascending order of time.

    Reviewers vote on each class, and on whether the image is problematic. In each vote, only the newest statement of a
    reviewer counts, and the majority decides. A tie changes nothing.
    """
    newest: dict[str, dict[tuple[str, bool], bool]] = defaultdict(dict)
    on_problem_by_voter: dict[tuple[str, bool], bool] = {}
    for review in reviews:
        choices_of_review = dict.fromkeys(review.present, True) | dict.fromkeys(review.rejected, False)
        for class_id, choice in choices_of_review.items():
            newest[class_id][review.voter] = choice
        if review.problematic is not None:
            on_problem_by_voter[review.voter] = review.problematic
    votes = {class_id: _count(choices) for class_id, choices in newest.items()}
    decided = {class_id: vote for class_id, vote in votes.items() if sum(vote) >= min_reviews}
    on_problem = _count(on_problem_by_voter)
    counts = sum(on_problem) >= min_reviews
    is_tie = on_problem[0] == on_problem[1]
    reasons = [review.reason for review in reviews if review.problematic]
    return Decision(
        present=frozenset(class_id for class_id, (yes, no) in decided.items() if yes > no),
        absent=frozenset(class_id for class_id, (yes, no) in decided.items() if no > yes),
        disputed=frozenset(class_id for class_id, (yes, no) in votes.items() if yes == no),
        problematic=None if is_tie or not counts else on_problem[0] > on_problem[1],
        is_problematic_disputed=is_tie and any(on_problem),
        reason=reasons[-1] if reasons else "",
    )


def _count(newest: Mapping[tuple[str, bool], bool]) -> tuple[int, int]:
    """Return the number of reviewers whose newest vote is yes, and of those whose newest vote is no."""
    yes = sum(newest.values())
    return yes, len(newest) - yes


def _order(review: Review) -> tuple[datetime, str]:
    return review.time, review.id
