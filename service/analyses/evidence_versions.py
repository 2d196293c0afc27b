"""Versions of the evidence of a data set: build them from reviews, upload, publish, and make them the default.

Each change is one audit event. Published evidence is in the archive, so all processes have it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from service.analyses.ports import Stores
from service.domain import AuditAction, AuditEvent
from service.evidence.bundle import Bundle
from service.evidence.manifest import Manifest
from service.storage import Readable

MAX_LABELS_BYTES = 64 << 20
MAX_BUNDLE_BYTES = 8 << 30


@dataclass(frozen=True)
class EvidenceVersion:
    """One version of the evidence of a data set."""

    manifest: Manifest
    is_default: bool
    event: AuditEvent | None  # the event that published it; None: it is configured, or built on first use


def list_versions(stores: Stores, dataset: str) -> Sequence[EvidenceVersion]:
    """Return the versions of the evidence of a data set, the default first, then the newest.

    Raises:
        DatasetNotFound: The data set has no evidence.
    """
    raise NotImplementedError


def build_from_reviews(stores: Stores, dataset: str, base: str, min_reviews: int, caller: str) -> Bundle:
    """Build evidence from a bundle and all reviews of its data set, and publish it.

    Building the same evidence again returns it without a further event.

    Args:
        stores: The stores.
        dataset: Name of the data set.
        base: Digest, or its start, of the bundle to correct; empty: the default bundle.
        min_reviews: Number of reviewers that must have voted on a class.
        caller: Name of the caller's token; empty without a token.

    Raises:
        DatasetNotFound: The data set has no evidence.
        EvidenceNotFound: The bundle does not exist.
        InvalidEvidence: No review changes the bundle, or `min_reviews` is less than 1.
        Unavailable: The archive cannot be read or written.
    """
    raise NotImplementedError


def upload_labels(stores: Stores, dataset: str, content: Readable, caller: str, base: str = "") -> Bundle:
    """Build evidence from a file of labels on the label space of a bundle, and publish it.

    Args:
        stores: The stores.
        dataset: Name of the data set.
        content: The file: CSV, JSON, JSON lines, or Parquet; at most MAX_LABELS_BYTES.
        caller: Name of the caller's token; empty without a token.
        base: Digest, or its start, of the bundle whose label space counts; empty: the default bundle.

    Raises:
        DatasetNotFound: The data set has no evidence.
        EvidenceNotFound: The bundle does not exist.
        InvalidEvidence: The file is invalid; `violations` has the lines.
        TooLarge: The file is too large.
        Unavailable: The archive cannot be read or written.
    """
    raise NotImplementedError


def upload_bundle(stores: Stores, content: Readable, caller: str) -> Bundle:
    """Verify and publish a bundle.

    Args:
        stores: The stores.
        content: An uncompressed tar of the bundle's files, at most MAX_BUNDLE_BYTES.
        caller: Name of the caller's token; empty without a token.

    Raises:
        InvalidEvidence: The content is no tar of a bundle, or its digests are wrong.
        TooLarge: The tar is too large.
        Unavailable: The archive cannot be written.
    """
    raise NotImplementedError


def publish(stores: Stores, dataset: str, digest: str, caller: str) -> Bundle:
    """Publish a bundle that only this process has, so that all processes have it.

    Raises:
        DatasetNotFound: The data set has no evidence.
        EvidenceNotFound: The bundle does not exist.
        Unavailable: The archive cannot be written.
    """
    raise NotImplementedError


def set_default(stores: Stores, dataset: str, digest: str, caller: str) -> Manifest:
    """Make a bundle the default of its data set, for all processes; publish it if it is not published.

    Raises:
        DatasetNotFound: The data set has no evidence.
        EvidenceNotFound: The bundle does not exist.
        Unavailable: The archive cannot be written.
    """
    raise NotImplementedError


def record_event(
    stores: Stores, action: AuditAction, caller: str, dataset: str, digest: str = "", details: Mapping[str, str] = {}
) -> AuditEvent:
    """Append an event to the audit log, and return it.

    Raises:
        Unavailable: The archive cannot be written.
    """
    raise NotImplementedError


def list_audit_events(stores: Stores, dataset: str = "", action: AuditAction | None = None) -> Sequence[AuditEvent]:
    """Return the audit events, newest first.

    Args:
        stores: The stores.
        dataset: Only events of this data set; empty: of all data sets.
        action: Only events of this action; None: of all actions.

    Raises:
        Unavailable: The archive cannot be read.
    """
    raise NotImplementedError


def export_audit_events(stores: Stores) -> str:
    """Return all audit events, oldest first, as JSON lines."""
    raise NotImplementedError
