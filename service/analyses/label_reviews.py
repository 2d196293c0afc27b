"""Reviews from a labels file: the statements of one reviewer where the file differs from the current labels."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from errata.errors import InvalidRequest

from service.analyses.evidence_versions import find_base
from service.analyses.ports import Stores
from service.analyses.review_export import NO_LABEL, NO_REASON
from service.analyses.reviews import ReviewRequest, check_texts, derive_id, next_time
from service.domain import Decision, Review, decide_images
from service.evidence.bundle import Bundle
from service.evidence.reviewed import apply_decisions
from service.evidence.uploaded_labels import read_uploaded_labels


def find_statements(
    stores: Stores, dataset: str, path: Path, reviewer: str, is_authenticated: bool
) -> tuple[Sequence[Review], int]:
    """Return the reviews that a labels file implies.

    The current labels are those of an export: the labels of the bundle that the reviews correct, after the reviews.
    Labels that only the file has are confirmed or added, and labels that it lacks are rejected. If the file sets an
    image aside, no longer does, or has another reason, the review says so, too. A file without `problematic` makes no
    such statement. A statement that the reviewer already made is left out. The ID of a review is derived from its
    statements and from the newest review before it, so that imports of the same file at the same time have the same
    reviews.

    Args:
        stores: The stores.
        dataset: The data set.
        path: The labels file.
        reviewer: The reviewer.
        is_authenticated: Whether the reviewer is the name of a token.

    Returns:
        The new reviews, and the number of images that differ only in statements that the reviewer already made.

    Raises:
        InvalidEvidence: The file is invalid; `violations` has the lines.
    """
    bundle = find_base(stores, dataset, "")
    table = read_uploaded_labels(bundle, path)
    reviews = stores.reviews.find((dataset,))
    own = [review for review in reviews if review.voter == (reviewer, is_authenticated)]
    last_of, now = {review.image: review for review in own}, stores.clock()
    differences = _Differences(bundle, reviews, own)
    new, num_existing = list[Review](), 0
    for (image, line), labels, reason in zip(table.line_of.items(), table.labels, table.reasons, strict=True):
        request = differences.of(image, labels, reason)
        if request is None:
            continue
        if not (request.confirmed or request.added or request.rejected or request.problematic is not None):
            num_existing += 1
            continue
        try:
            check_texts(request)
        except InvalidRequest as error:
            table.problems.add(error.violations[0].field, error.message.removesuffix("."), line)
            continue
        last = [last_of[image]] if image in last_of else []
        statements = (request.confirmed, request.added, request.rejected, request.problematic, request.reason)
        new.append(
            Review(
                id=derive_id(reviewer, is_authenticated, dataset, image, statements, [other.id for other in last]),
                dataset=dataset,
                image=image,
                evidence=bundle.digest,
                reviewer=reviewer,
                is_authenticated=is_authenticated,
                time=next_time(now, last),
                confirmed=request.confirmed,
                added=request.added,
                rejected=request.rejected,
                problematic=request.problematic,
                reason=request.reason,
            )
        )
    table.problems.check()
    return new, num_existing


class _Differences:
    """The differences between the rows of a labels file and the current labels.

    Args:
        bundle: The bundle that the reviews correct.
        reviews: All reviews of the data set.
        own: The reviews of the reviewer.
    """

    def __init__(self, bundle: Bundle, reviews: Sequence[Review], own: Sequence[Review]) -> None:
        self._bundle = bundle
        self._decisions = decide_images(reviews)
        self._images = apply_decisions(bundle, self._decisions)
        self._stated_on = decide_images(own)

    def of(self, image: str, labels: Sequence[int], reason: str | None) -> ReviewRequest | None:
        """Return the new statements of a row, which can be none; None if the row has the current labels.

        Args:
            image: The image.
            labels: The classes of the row.
            reason: Why the row sets the image aside; empty: it does not; None: the file does not say. The image then
                keeps its state, except that an image that was set aside only because it had no label counts again if
                the row has labels.
        """
        row, decision = self._bundle.row_of_name[image], self._decisions.get(image, Decision())
        stated = self._stated_on.get(image, Decision())
        current, wanted = {*self._images.labels.of(row).tolist()}, {*labels}
        # An image without labels is set aside in any case. This is its state as soon as it has labels.
        is_base_aside = bool(self._bundle.evidence.problematic[row])
        was_aside = is_base_aside if decision.problematic is None else decision.problematic
        has_no_label = reason == NO_LABEL and not wanted  # as an export writes it: no statement
        if reason is None:
            is_aside = was_aside and not (wanted and not current and not decision.problematic)
        else:
            is_aside = was_aside if has_no_label else bool(reason)
        text = "" if reason is None or reason == NO_REASON or has_no_label else reason
        is_new_text = text not in ("", decision.reason.strip() if decision.problematic else "")
        is_new_state = is_aside != was_aside or is_new_text
        is_from_base = is_base_aside and decision.problematic is None  # then the export does not write the reason
        if current == wanted and (not is_new_state or (is_aside and is_from_base)):
            return None
        original = {*self._bundle.evidence.labels.of(row).tolist()}
        is_stated = is_aside == stated.problematic and not (is_new_text and text != stated.reason)
        problematic = is_aside if is_new_state and not is_stated else None
        return ReviewRequest(
            self._bundle.dataset,
            image,
            confirmed=self._ids((wanted - current) & original, stated.present),
            added=self._ids(wanted - current - original, stated.present),
            rejected=self._ids(current - wanted, stated.absent),
            problematic=problematic,
            reason=text if problematic else "",
        )

    def _ids(self, classes: Iterable[int], stated: Iterable[str]) -> tuple[str, ...]:
        """Return the IDs of classes without those that the reviewer stated."""
        ids = self._bundle.label_space.ids
        return tuple(ids[index] for index in sorted(classes) if ids[index] not in stated)
