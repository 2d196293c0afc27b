"""Builds, finds, and verifies evidence bundles."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from errata.errors import InvalidEvidence

from service.archive.files import open_files
from service.archive.publications import ArchivePublications
from service.archive.record_log import RecordLog
from service.domain import Agreement, AuditEvent, Review
from service.evidence.build import verify_evidence, write_bundle
from service.evidence.bundle import Bundle, open_bundle
from service.evidence.expert_judgments import pack_judgments, read_expert_judgments, unpack_judgments
from service.evidence.publications import PublishedEvidence
from service.evidence.recipes import Inputs, gather
from service.evidence.review_file import read_reviews
from service.evidence.reviewed import apply_reviews
from service.rules.decide import decide_each
from service.rules.table import error_types
from service.settings import Settings
from service.summary.agreement import measure_agreement

__all__ = [
    "Inputs",
    "audit_events",
    "build_evidence",
    "build_from_reviews",
    "embedding_cache",
    "expert_agreement",
    "find_published",
    "verify_evidence",
]


def build_evidence(dataset: str, inputs: Inputs, output: Path) -> Bundle:
    """Build the evidence bundle of a data set.

    Args:
        dataset: Name of the data set.
        inputs: Paths of the source files.
        output: Folder of the new bundle.

    Returns:
        The opened bundle.

    Raises:
        InvalidEvidence: An input is missing, invalid, or cannot be read.
        OSError: The bundle cannot be written.
    """
    try:
        facts = gather(dataset, inputs)
    except OSError as error:
        raise InvalidEvidence(
            f"Cannot read {error.filename or 'an input'}: {error.strerror or error}. Check the path and the "
            "permissions."
        ) from error
    write_bundle(facts, output)
    return open_bundle(output)


def build_from_reviews(base: Path, reviews: Path | None, min_reviews: int, output: Path, settings: Settings) -> Bundle:
    """Build a bundle from another bundle and reviews.

    Args:
        base: Folder of the bundle to correct.
        reviews: File of reviews; None: the reviews in the archive of the settings.
        min_reviews: Number of reviewers that must have voted on a class.
        output: Folder of the new bundle.
        settings: The settings.

    Returns:
        The opened bundle.

    Raises:
        InvalidEvidence: A review is invalid, the archive has none, or the reviews change nothing.
        Unavailable: The archive cannot be read.
    """
    bundle = open_bundle(base)
    if reviews is not None:
        used = read_reviews(reviews, bundle)
    else:
        log = RecordLog(open_files(settings.archive_location, "reviews"), Review)
        used = [review for review in log.all() if review.dataset == bundle.dataset]
        if not used:
            raise InvalidEvidence(
                f"The archive {settings.archive_location!r} has no reviews of {bundle.dataset}. Set ERRATA_ARCHIVE to "
                "the archive of the service, or pass a file of reviews with --reviews.",
                field="reviews",
            )
    write_bundle(apply_reviews(bundle, used, min_reviews), output)
    return open_bundle(output)


def find_published(digest: str, settings: Settings) -> Path | None:
    """Fetch the only published bundle with a digest prefix, and return its folder; None for no or several bundles."""
    published = PublishedEvidence(ArchivePublications(settings.archive_location), settings.data_dir / "evidence")
    events = [event for event in published.events().values() if event.digest.startswith(digest)]
    return published.fetch(events[0]) if len(events) == 1 else None


def audit_events(settings: Settings) -> Sequence[AuditEvent]:
    """Return the audit events of the archive, oldest first."""
    return ArchivePublications(settings.archive_location).events()


def embedding_cache(settings: Settings) -> Path:
    """Return the folder in which a build caches embeddings, so that an interrupted build can resume."""
    return settings.data_dir / "cache" / "embeddings"


def expert_agreement(path: Path, mistakes: Path | None = None) -> Agreement:
    """Compare the verdicts of a bundle with the judgments of experts.

    Args:
        path: The bundle.
        mistakes: The metadata folder of imagenet-mistakes; None: the judgments that the bundle contains.

    Raises:
        InvalidEvidence: There are no judgments about images of the bundle.
    """
    bundle = open_bundle(path)
    judgments = bundle.expert_judgments
    if mistakes is not None:
        names = [name.encode() for name in bundle.judged_names]
        judgments = unpack_judgments(pack_judgments(read_expert_judgments(mistakes), names))
    counted = {pair: judgment for pair, judgment in judgments.items() if not bundle.evidence.problematic[pair[0]]}
    if not counted:
        remedy = "Pass the metadata folder of imagenet-mistakes with --mistakes"
        if mistakes is not None:
            remedy = f"{mistakes} has no judgments of its images. Use a bundle of the images of imagenet-mistakes"
        raise InvalidEvidence(f"{path}: no expert judged its images. {remedy}.", field="mistakes")
    rows, predicted = np.array(list(counted)).T
    types = error_types(decide_each(bundle.evidence.take(rows), predicted.astype(np.int16)))
    return measure_agreement(types, list(counted.values()), bundle.manifest.abstained)
