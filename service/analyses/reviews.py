"""Create and list reviews of images."""

import hashlib
import json
import re
import secrets
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from errata.errors import AlreadyExists, InvalidRequest, ReviewNotFound

from service.analyses.audit import record_review
from service.analyses.class_names import class_named, find_class
from service.analyses.ports import Stores
from service.domain import Review, undone_ids
from service.evidence.bundle import Bundle
from service.evidence.input_files import text_problem

MAX_COMMENT = 2_000  # characters
MAX_REASON = 200
MAX_REVIEWER = 100
MAX_REQUEST_ID = 256
MAX_CLASSES = 1_000  # confirmed, added, and rejected classes of one review
_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class ReviewRequest:
    """The fields of a new review. A class is an ID, a name that only one class has, or an index."""

    dataset: str
    image: str  # file name
    evidence: str = ""  # digest prefix of the bundle that the reviewer saw; empty: the default bundle
    confirmed: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    rejected: tuple[str, ...] = ()
    problematic: bool | None = None
    reason: str = ""
    comment: str = ""
    undoes: str = ""  # ID of an earlier review
    reviewer: str = ""  # required if the caller has no token
    request_id: str = ""  # makes the request idempotent; an undo is idempotent without it
    prefer_ids: bool = False  # whether a class whose ID is the text takes precedence over the class with this index


def create_review(stores: Stores, request: ReviewRequest, caller: str = "") -> Review:
    """Store a review. If the review to undo is already undone, return the review that undid it.

    Args:
        stores: The stores.
        request: The fields of the review.
        caller: The name of the caller's token, which becomes the reviewer; empty: no token is required.

    Raises:
        DatasetNotFound: The data set does not exist.
        EvidenceNotFound: The bundle does not exist.
        ImageNotFound: The bundle does not have the image, and the review does not undo another one.
        ReviewNotFound: The review to undo does not exist.
        InvalidRequest: A field is invalid.
        AlreadyExists: The reviewer used the request ID for another review.
        Unavailable: The archive cannot be read or written.
    """
    review = _find_or_store(stores, request, caller)
    record_review(stores, review)  # also of a repeated request: the first one may have failed before its event
    return review


def _find_or_store(stores: Stores, request: ReviewRequest, caller: str) -> Review:
    """Return the stored review of a new or repeated request."""
    check_texts(request)
    reviewer = check_reviewer(request.reviewer, caller)
    earlier = stores.reviews.find((request.dataset, request.image))
    draft = Review(
        id=_new_id(stores.clock(), request, (reviewer, bool(caller)), earlier),
        dataset=request.dataset,
        image=request.image,
        evidence=request.evidence,
        reviewer=reviewer,
        is_authenticated=bool(caller),
        time=stores.clock(),
        problematic=request.problematic,
        reason=request.reason,
        comment=request.comment,
        undoes=request.undoes,
    )
    if repeated := next((other for other in earlier if other.id == draft.id), None):
        return _check_repeated(stores, request, draft, repeated)
    review = _add_evidence(stores, request, draft)
    if review.undoes and (undo := _find_undo(review, earlier)):
        return undo
    review = replace(review, time=next_time(review.time, [o for o in earlier if o.voter == review.voter]))
    stored = stores.reviews.create(review)
    return stored if stored == review or stored.undoes else _check_repeated(stores, request, draft, stored)


def list_reviews(stores: Stores, dataset: str, image: str = "", reviewer: str = "") -> Sequence[Review]:
    """Return the reviews of a data set, oldest first, including undone reviews.

    Args:
        stores: The stores.
        dataset: The data set.
        image: Only reviews of this image; empty: of all images.
        reviewer: Only reviews of this reviewer, with or without a token; empty: of all reviewers.

    Raises:
        DatasetNotFound: The data set does not exist.
        Unavailable: The archive cannot be read.
    """
    stores.evidence.find(dataset, "")
    reviews = stores.reviews.find((dataset, image) if image else (dataset,))
    return [review for review in reviews if review.reviewer == reviewer] if reviewer else reviews


def find_review(stores: Stores, dataset: str, image: str, review_id: str) -> Review:
    """Return one review; raise ReviewNotFound if it does not exist."""
    review = next((review for review in list_reviews(stores, dataset, image) if review.id == review_id), None)
    if review is None:
        raise _not_found(review_id, image)
    return review


def find_undone(stores: Stores, reviews: Iterable[Review]) -> Set[str]:
    """Return the IDs of all undone reviews of the images of `reviews`."""
    keys = {(review.dataset, review.image) for review in reviews}
    return {undone for key in keys for undone in undone_ids(stores.reviews.find(key))}


def check_texts(request: ReviewRequest) -> None:
    """Raise InvalidRequest for a review without content, or with an invalid text."""
    classes = (*request.confirmed, *request.added, *request.rejected)
    if len(classes) > MAX_CLASSES:
        raise InvalidRequest(f"The review has {len(classes):,} classes. Use at most {MAX_CLASSES:,}.", field="added")
    texts = [
        ("reviewer", request.reviewer, MAX_REVIEWER),
        ("reason", request.reason, MAX_REASON),
        ("request_id", request.request_id, MAX_REQUEST_ID),
        # A comment can have several lines.
        ("comment", request.comment.replace("\n", " ").replace("\t", " "), MAX_COMMENT),
    ]
    for field, text, limit in texts:
        if text and (problem := text_problem(field, text, limit)):
            raise InvalidRequest(f"Invalid {field}: {problem}.", field=field)
    states = bool(classes) or request.problematic is not None or bool(request.reason)
    if request.undoes and (states or request.comment):
        raise InvalidRequest(
            "A review that undoes another one cannot have other content. Put the content in a second review.",
            field="undoes",
        )
    if not (states or request.comment or request.undoes):
        raise InvalidRequest(
            "The review is empty. Confirm, add, or reject a class, mark the image as problematic, or write a comment.",
            field="review",
        )
    if request.reason and not request.problematic:
        raise InvalidRequest(
            "The review has a reason, but does not mark the image as problematic. Mark it, or remove the reason.",
            field="reason",
        )


def add_classes(
    review: Review, request: ReviewRequest, bundle: Bundle, is_base: bool = True, has_hints: bool = True
) -> Review:
    """Return a review with the IDs of the classes of a request.

    A review that undoes another one has no classes. Its image can be absent from the bundle.

    Args:
        review: The review without classes.
        request: The request.
        bundle: The bundle with the classes.
        is_base: Whether the bundle is the evidence of the review. If so, confirmed classes must be labels, and added
            classes must not be labels.
        has_hints: Whether the error for an unknown class has similar names, whose search takes milliseconds.

    Raises:
        ImageNotFound: The bundle does not have the image.
        InvalidRequest: A class is unknown, is rejected and also confirmed or added, is confirmed without being a label,
            or is added although it is a label.
    """
    if request.undoes:
        return review
    row, ids = bundle.row(review.image), bundle.label_space.ids
    find = find_class if request.prefer_ids else class_named
    confirmed, added, rejected = (
        tuple(dict.fromkeys(ids[find(text, field, bundle.label_space, has_hints)] for text in texts))
        for field, texts in (
            ("confirmed", request.confirmed),
            ("added", request.added),
            ("rejected", request.rejected),
        )
    )
    for field, classes in (("confirmed", confirmed), ("added", added)):
        if both := sorted({*classes} & {*rejected}):
            raise InvalidRequest(f"The class {both[0]!r:.80} is both {field} and rejected. Choose one.", field=field)
    if is_base:
        labels = {ids[label] for label in bundle.evidence.labels.of(row).tolist()}
        for class_id in confirmed:
            if class_id not in labels:
                raise InvalidRequest(
                    f"The class {class_id!r:.80} is not a label of {review.image!r:.80} in the bundle "
                    f"{bundle.digest[:12]}, so it cannot be confirmed. Add it instead.",
                    field="confirmed",
                )
        for class_id in added:
            if class_id in labels:
                raise InvalidRequest(
                    f"The class {class_id!r:.80} is already a label of {review.image!r:.80} in the bundle "
                    f"{bundle.digest[:12]}. Confirm it instead.",
                    field="added",
                )
    return replace(review, confirmed=confirmed, added=added, rejected=rejected)


def check_reviewer(reviewer: str, caller: str) -> str:
    """Return the name of the reviewer: that of the caller's token, or without a token the given one."""
    reviewer = reviewer.strip()
    if not caller:
        if not reviewer:
            raise InvalidRequest("The reviewer is missing. Write a name.", field="reviewer")
        return reviewer
    if reviewer not in ("", caller):
        raise InvalidRequest(
            f"The reviewer is {reviewer!r:.80}, but the token is {caller!r:.80}. Leave the reviewer empty.",
            field="reviewer",
        )
    return caller


def _add_evidence(stores: Stores, request: ReviewRequest, draft: Review) -> Review:
    """Return a review with the digest of its evidence and the IDs of its classes."""
    bundle = stores.evidence.find(draft.dataset, draft.evidence)
    return add_classes(replace(draft, evidence=bundle.digest), request, bundle)


def _check_repeated(stores: Stores, request: ReviewRequest, draft: Review, stored: Review) -> Review:
    """Return the stored review with the same ID; raise AlreadyExists if its content differs.

    A request without evidence means the default bundle of its first attempt. The default can be another one now.
    """
    draft = replace(draft, evidence=draft.evidence or stored.evidence, time=stored.time)
    is_same_image = (draft.dataset, draft.image) == (stored.dataset, stored.image)
    if not is_same_image or _add_evidence(stores, request, draft) != stored:
        raise AlreadyExists(
            f"The request ID {request.request_id!r:.80} was used for another review. Use a new one.", field="request_id"
        )
    return stored


def _find_undo(review: Review, earlier: Sequence[Review]) -> Review | None:
    """Return the earlier review that undoes the same one; None if that one is not undone.

    Raises:
        ReviewNotFound: The review to undo does not exist.
        InvalidRequest: The review to undo is by another reviewer.
    """
    undone = next((other for other in earlier if other.id == review.undoes), None)
    if undone is None:
        raise _not_found(review.undoes, review.image)
    if undone.voter != review.voter:
        raise InvalidRequest(
            f"The review {undone.id} is by {undone.reviewer!r:.80}. Undo only your own reviews.", field="undoes"
        )
    without_effect = undone_ids(earlier)
    undos = (other for other in earlier if (other.undoes, other.voter) == (review.undoes, review.voter))
    return next((undo for undo in undos if undo.id not in without_effect), None)


def derive_id(*key: object) -> str:
    """Return the ID that a key determines, so that the same key is stored once."""
    return hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]


def next_time(now: datetime, own: Sequence[Review]) -> datetime:
    """Return a time after the reviewer's other reviews of an image, even if another process's clock is ahead."""
    return max([now, *(review.time + timedelta(microseconds=1) for review in own[-1:])])


def _not_found(review_id: str, image: str) -> ReviewNotFound:
    shown = review_id if _ID.fullmatch(review_id) else repr(review_id)[:80]
    return ReviewNotFound(
        f"Review {shown} of {image!r:.120} not found. List the reviews of the image with 'errata review list'.",
        field="name",
    )


def _new_id(now: datetime, request: ReviewRequest, voter: tuple[str, bool], earlier: Sequence[Review]) -> str:
    """Return an ID that is derived from the request ID; without a request ID, return a new ID that sorts by time.

    The ID of an undo is derived from the review to undo, so that the archive stores only one of several at once. A
    review can be undone again after a redo: the number of its earlier undos is a part of the ID.
    """
    if request.undoes:
        return derive_id(request.undoes, sum(other.undoes == request.undoes for other in earlier))
    if request.request_id:
        return derive_id(*voter, request.request_id)
    return f"{int(now.timestamp() * 1000):012x}{secrets.token_hex(10)}"
