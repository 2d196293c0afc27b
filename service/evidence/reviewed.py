"""Evidence from reviews: a bundle with the labels that reviewers decided on.

For each evaluated image of the bundle:

* A rejected class is no label. Other labels keep their order and their source.
* Classes that reviewers add come after the other labels, in ascending order, with the source REVIEW.
* An image without a label is problematic. For an image with labels, the reviewers decide whether it is problematic. If
  they did not decide, the image stays as it was.

If reviewers reject the original label of an image, its target is rejected. Reviews of images that the bundle does not
evaluate have no effect, because the bundle has no evidence for these images. Classes that are not in the label space
are ignored.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC

import numpy as np
from errata.errors import InvalidEvidence
from errata.messages import pluralize
from pydantic import TypeAdapter

from service.domain import Decision, Labels, LabelSource, Review, active_reviews, decide_images
from service.evidence.build_inputs import OWN_LICENSE
from service.evidence.bundle import Bundle
from service.evidence.inputs import BundleInputs, LabelInputs, ReviewsInfo, Source
from service.evidence.relabeled import has_same_labels, relabel

SOURCE = "reviews"
_REVIEW = TypeAdapter(Review)


def apply_reviews(bundle: Bundle, reviews: Iterable[Review], min_reviews: int = 1) -> BundleInputs:
    """Return the evidence of a bundle with the labels that reviews decide.

    Args:
        bundle: The bundle to correct.
        reviews: Reviews of its data set, in any order.
        min_reviews: Number of reviewers that must have voted on a class.

    Raises:
        InvalidEvidence: The reviews change nothing, or `min_reviews` is less than 1.
        EvidenceDamaged: A file of the bundle changed.
    """
    if min_reviews < 1:
        raise InvalidEvidence(f"min_reviews is {min_reviews}. Expected a number from 1.", field="min_reviews")
    used = [review for review in active_reviews(reviews) if review.image in bundle.row_of_name]
    images = apply_decisions(bundle, decide_images(used, min_reviews))
    if has_same_labels(bundle.label_inputs, images):
        raise InvalidEvidence(
            f"The reviews change no label of the bundle {bundle.digest[:12]}: its images have "
            f"{pluralize(len(used), 'review')}, and decisions need at least {min_reviews} for each class. "
            f"Review images of {bundle.dataset} first, or lower the minimum.",
            field="reviews",
        )
    if images.problematic.all():
        raise InvalidEvidence(
            f"With the reviews, all images of {bundle.dataset} are problematic, so statistics count no image. Confirm "
            "or add a label of at least one image, and state that it is not problematic.",
            field="reviews",
        )
    info = ReviewsInfo(digest_reviews(used), len(used), min_reviews)
    origin = f"{pluralize(info.count, 'review')} of images, at least {min_reviews:,} for each class"
    facts = relabel(bundle, images)
    sources = tuple(source for source in facts.sources if source.name != SOURCE)
    return replace(facts, sources=(*sources, Source(SOURCE, origin, OWN_LICENSE, info.sha256)), reviews=info)


def apply_decisions(bundle: Bundle, decisions: Mapping[str, Decision]) -> LabelInputs:
    """Return the images of a bundle with the labels that result from the decisions, which are given by image."""
    images = bundle.label_inputs
    index_of = {class_id: index for index, class_id in enumerate(bundle.label_space.ids)}
    problematic = images.problematic.copy()
    decided: dict[int, Mapping[int, int]] = {}
    for name, decision in decisions.items():
        row = bundle.row_of_name.get(name)
        if row is None:
            continue
        present, absent = (
            {index_of[class_id] for class_id in classes if class_id in index_of}
            for classes in (decision.present, decision.absent)
        )
        start, stop = images.labels.offsets[row : row + 2]
        pairs = zip(images.labels.classes[start:stop].tolist(), images.labels.sources[start:stop].tolist(), strict=True)
        labels = {label: source for label, source in pairs if label not in absent}
        for label in sorted(present - labels.keys()):
            labels[label] = LabelSource.REVIEW
        decided[row] = labels
        if decision.problematic is not None:
            problematic[row] = decision.problematic
        problematic[row] |= not labels
    return replace(images, labels=_replace_labels(images.labels, decided), problematic=problematic)


def digest_reviews(reviews: Iterable[Review]) -> str:
    """Return the SHA-256, in hexadecimal, of reviews in canonical form: sorted lines of JSON."""
    in_utc = (replace(review, time=review.time.astimezone(UTC)) for review in reviews)
    lines = sorted(json.dumps(_REVIEW.dump_python(review, mode="json"), sort_keys=True) for review in in_utc)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _replace_labels(labels: Labels, decided: Mapping[int, Mapping[int, int]]) -> Labels:
    """Replace the labels of some samples. `decided` maps the row of a sample to its new labels (class → source)."""
    unchanged = ~np.isin(labels.samples, np.fromiter(decided, dtype=np.int64, count=len(decided)))
    samples = np.concatenate([labels.samples[unchanged], [row for row in decided for _ in decided[row]]]).astype(
        np.int64
    )
    order = np.argsort(samples, kind="stable")
    classes = [*labels.classes[unchanged].tolist(), *(label for row in decided.values() for label in row)]
    sources = [*labels.sources[unchanged].tolist(), *(source for row in decided.values() for source in row.values())]
    counts = np.bincount(samples, minlength=len(labels.counts))
    return Labels(
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int32),
        classes=np.array(classes, dtype=np.int16)[order],
        sources=np.array(sources, dtype=np.uint8)[order],
    )
