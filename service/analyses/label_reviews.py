"""Reviews from a labels file: the statements of one reviewer where the file differs from the current labels."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from errata.errors import InvalidRequest

from service.analyses.evidence_versions import find_base
from service.analyses.ports import Stores
from service.analyses.review_export import NO_LABEL, NO_REASON
from service.analyses.reviews import ReviewRequest, check_texts, new_review_id, next_time
from service.domain import Decision, Review, decide_images
from service.evidence.reviewed import apply_decisions
from service.evidence.uploaded_labels import read_uploaded_labels


def find_statements(
    stores: Stores, dataset: str, path: Path, reviewer: str, is_authenticated: bool
) -> tuple[Sequence[Review], int]:
    """Return the reviews that a labels file implies.

    The current labels are those of an export: the labels of the bundle that the reviews correct, after the reviews.
    Labels that only the file has are confirmed or added, and labels that it lacks are rejected. If the file sets an
    image aside, or no longer does, the review says so, too. A statement that the reviewer already made is left out.

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
    images = apply_decisions(bundle, decide_images(reviews))
    own = [review for review in reviews if review.voter == (reviewer, is_authenticated)]
    last, stated_on = {review.image: review for review in own}, decide_images(own)
    ids, now = bundle.label_space.ids, stores.clock()
    new, num_existing = list[Review](), 0

    def names(classes: Iterable[int], stated: Iterable[str]) -> tuple[str, ...]:
        return tuple(ids[index] for index in sorted(classes) if ids[index] not in stated)

    for (image, line), labels, reason in zip(table.line_of.items(), table.labels, table.reasons, strict=True):
        row, stated = bundle.row_of_name[image], stated_on.get(image, Decision())
        current, wanted = {*images.labels.of(row).tolist()}, {*labels}
        is_aside = bool(reason) if labels or reason != NO_LABEL else bool(images.problematic[row])
        differs = is_aside != images.problematic[row]
        if current == wanted and not differs:
            continue
        original = {*bundle.evidence.labels.of(row).tolist()}
        request = ReviewRequest(
            dataset,
            image,
            confirmed=names((wanted - current) & original, stated.present),
            added=names(wanted - current - original, stated.present),
            rejected=names(current - wanted, stated.absent),
            problematic=is_aside if differs and stated.problematic != is_aside else None,
            reviewer=reviewer,
        )
        if not (request.confirmed or request.added or request.rejected or request.problematic is not None):
            num_existing += 1
            continue
        if request.problematic and reason != NO_REASON:
            request = replace(request, reason=reason)
        try:
            check_texts(request)
        except InvalidRequest as error:
            table.problems.add(error.violations[0].field, error.message.removesuffix("."), line)
            continue
        new.append(
            Review(
                id=new_review_id(now),
                dataset=dataset,
                image=image,
                evidence=bundle.digest,
                reviewer=reviewer,
                is_authenticated=is_authenticated,
                time=next_time(now, [last[image]] if image in last else []),
                confirmed=request.confirmed,
                added=request.added,
                rejected=request.rejected,
                problematic=request.problematic,
                reason=request.reason,
            )
        )
    table.problems.check()
    return new, num_existing
