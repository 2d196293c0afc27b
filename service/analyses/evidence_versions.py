"""Versions of the evidence of a data set: build them from reviews, upload, publish, and make them the default.

Each change is one audit event. Published evidence is in the archive, so all processes have it.
"""

import json
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import structlog
from errata.errors import EvidenceDamaged, EvidenceNotFound, InvalidEvidence, Unavailable
from pydantic import TypeAdapter

from service.analyses.ports import Stores
from service.domain import UNAUTHENTICATED, AuditAction, AuditEvent
from service.evidence.build import write_bundle
from service.evidence.build_inputs import is_dataset_name
from service.evidence.bundle import Bundle, open_bundle
from service.evidence.bundle_tar import read_bundle_tar
from service.evidence.inputs import BundleInputs
from service.evidence.manifest import Manifest
from service.evidence.relabeled import has_same_labels
from service.evidence.reviewed import apply_reviews
from service.evidence.uploaded_labels import relabel_from_file
from service.storage import Readable, spool, temporary_folder

MAX_LABELS_BYTES = 64 << 20
MAX_BUNDLE_BYTES = 8 << 30
_EVENT = TypeAdapter(AuditEvent)
_log = structlog.get_logger()


@dataclass(frozen=True)
class EvidenceVersion:
    """One version of the evidence of a data set."""

    manifest: Manifest
    is_default: bool
    event: AuditEvent | None  # the event that published it; None: it is configured or in the data folder


def list_versions(stores: Stores, dataset: str) -> Sequence[EvidenceVersion]:
    """Return the versions of the evidence of a data set, the default first, then the newest.

    Raises:
        DatasetNotFound: The data set has no evidence.
        EvidenceDamaged: The default bundle cannot be opened.
    """
    events = stores.evidence.published.events(dataset)
    manifests = stores.evidence.versions(dataset)
    return [EvidenceVersion(m, number == 0, events.get(m.digest)) for number, m in enumerate(manifests)]


def build_from_reviews(stores: Stores, dataset: str, base: str, min_reviews: int, caller: str) -> Bundle:
    """Build evidence from a bundle and all reviews of its data set, and publish it.

    If a version is the same evidence, this version is returned. It is published if only this process has it.

    Args:
        stores: The stores.
        dataset: Name of the data set.
        base: The bundle to correct, see `find_base`.
        min_reviews: Number of reviewers that must have voted on a class.
        caller: Name of the caller's token; empty without a token.

    Raises:
        DatasetNotFound: The data set has no evidence.
        EvidenceNotFound: The bundle does not exist.
        InvalidEvidence: No review changes the bundle, or `min_reviews` is less than 1.
        Unavailable: The archive cannot be read or written.
    """
    bundle = find_base(stores, dataset, base)
    reviews = [review for review in stores.reviews.all() if review.dataset == dataset]
    facts = apply_reviews(bundle, reviews, min_reviews)
    assert facts.reviews is not None, "This is a bug: evidence from reviews describes them."
    details = {
        "base": bundle.digest,
        "reviews": facts.reviews.sha256,
        "num_reviews": str(facts.reviews.count),
        "min_reviews": str(min_reviews),
    }
    return _publish_inputs(stores, facts, AuditAction.BUILD, caller, details)


def find_base(stores: Stores, dataset: str, base: str) -> Bundle:
    """Return the bundle that the reviews of a data set correct.

    Args:
        stores: The stores.
        dataset: Name of the data set.
        base: Digest, or its start, of the bundle; empty: the default bundle or, if it was built from reviews, the
            bundle that these reviews corrected.
    """
    bundle = stores.evidence.find(dataset, base)
    seen = {bundle.digest}
    while not base and bundle.manifest.reviews is not None:
        try:
            corrected = stores.evidence.find(dataset, bundle.manifest.base)
        except EvidenceNotFound:
            break  # the base was never published, and this process does not have it
        if corrected.digest in seen:
            break  # the bundles are bases of each other
        bundle = corrected
        seen.add(bundle.digest)
    return bundle


def upload_labels(stores: Stores, dataset: str, content: Readable, caller: str, base: str = "") -> Bundle:
    """Build evidence from a file of labels that use the label space of a bundle, and publish the evidence.

    If the bundle has these labels, it is returned, and nothing changes. If another version has them, this version is
    returned. It is published if only this process has it.

    Args:
        stores: The stores.
        dataset: Name of the data set.
        content: The file: CSV, JSON, or JSON lines; at most MAX_LABELS_BYTES.
        caller: Name of the caller's token; empty without a token.
        base: Digest, or its start, of the bundle whose label space the labels use; empty: the default bundle.

    Raises:
        DatasetNotFound: The data set has no evidence.
        EvidenceNotFound: The bundle does not exist.
        InvalidEvidence: The file is invalid; `violations` has the lines.
        TooLarge: The file is too large.
        Unavailable: The archive cannot be read or written.
    """
    bundle = stores.evidence.find(dataset, base)
    with spool(content, MAX_LABELS_BYTES) as file, labels_path(file) as path:
        facts = relabel_from_file(bundle, path)
    if has_same_labels(bundle.label_inputs, facts.labels):
        return bundle
    return _publish_inputs(stores, facts, AuditAction.UPLOAD_LABELS, caller, {"base": bundle.digest})


@contextmanager
def labels_path(file: Readable) -> Iterator[Path]:
    """Copy a labels file to a temporary path; raise Unavailable if it cannot be written."""
    with temporary_folder() as folder:
        path = folder / "labels"
        try:
            path.write_bytes(file.read())
        except OSError as error:
            raise Unavailable(f"The file cannot be stored: {error.strerror}.") from error
        yield path


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
    with spool(content, MAX_BUNDLE_BYTES) as file, temporary_folder() as folder:
        path = read_bundle_tar(file, folder)
        return _publish_folder(stores, path, AuditAction.UPLOAD_BUNDLE, caller, {})


def publish(stores: Stores, dataset: str, digest: str, caller: str) -> Bundle:
    """Publish a bundle of this process for all processes. If it is published already, write its files again.

    Raises:
        DatasetNotFound: The data set has no evidence.
        EvidenceNotFound: The bundle does not exist.
        Unavailable: The archive cannot be written.
    """
    bundle = stores.evidence.find(dataset, digest)
    if not is_dataset_name(dataset):
        raise InvalidEvidence(
            f"Evidence of the data set {dataset!r:.80} cannot be published. Expected a name of up to 64 characters of "
            "a-z, 0-9, '_', '.', and '-'. Build it with such a name.",
            field="dataset",
        )
    details = stores.evidence.published.write(bundle.path, force=True)
    record_event(stores, AuditAction.PUBLISH, caller, dataset, bundle.digest, details)
    return bundle


def set_default(stores: Stores, dataset: str, digest: str, caller: str) -> Manifest:
    """Make a bundle the default of its data set, for all processes; publish it if it is not published.

    Raises:
        DatasetNotFound: The data set has no evidence.
        EvidenceNotFound: The bundle does not exist.
        Unavailable: The archive cannot be written.
    """
    bundle = stores.evidence.find(dataset, digest)
    published = stores.evidence.published
    if published.default(dataset) == bundle.digest:
        return bundle.manifest
    if bundle.digest not in published.events(dataset):
        publish(stores, dataset, bundle.digest, caller)
    record_event(stores, AuditAction.SET_DEFAULT, caller, dataset, bundle.digest)
    return bundle.manifest


def record_event(
    stores: Stores,
    action: AuditAction,
    caller: str,
    dataset: str,
    digest: str = "",
    details: Mapping[str, str] | None = None,
) -> AuditEvent:
    """Append an event to the audit log, and return it.

    Raises:
        Unavailable: The archive cannot be written.
    """
    publications = stores.evidence.published.publications
    # The event must be later than all known events, even if the clock of another process is ahead.
    known = [event.time + timedelta(microseconds=1) for event in publications.events()[-1:]]
    event = AuditEvent(
        id=secrets.token_hex(16),
        time=max([stores.clock(), *known]),
        actor=caller or UNAUTHENTICATED,
        action=action,
        dataset=dataset,
        digest=digest,
        details=details or {},
    )
    publications.append(event)
    _log.info("audit", actor=event.actor, action=action.value, dataset=dataset, digest=digest)
    return event


def list_audit_events(stores: Stores, dataset: str = "") -> Sequence[AuditEvent]:
    """Return the audit events, newest first.

    Args:
        stores: The stores.
        dataset: Only events of this data set; empty: of all data sets.

    Raises:
        Unavailable: The archive cannot be read.
    """
    events = reversed(stores.evidence.published.publications.events())
    return [event for event in events if dataset in ("", event.dataset)]


def export_audit_events(events: Iterable[AuditEvent]) -> str:
    """Return audit events as JSON lines."""
    return "".join(f"{json.dumps(_EVENT.dump_python(event, mode='json'), sort_keys=True)}\n" for event in events)


def _publish_inputs(
    stores: Stores, facts: BundleInputs, action: AuditAction, caller: str, details: Mapping[str, str]
) -> Bundle:
    """Publish evidence, and return it. If a version has its digest, return this version.

    A version that only this process has is published. If it names a base, it is published with the base of `facts`,
    because other processes may lack its own.
    """
    with temporary_folder() as folder:
        try:
            digest = write_bundle(facts, folder / "bundle")
        except OSError as error:
            raise Unavailable(f"The bundle cannot be written: {error.strerror or error}.") from error
        try:
            existing = stores.evidence.find(facts.dataset, digest)
        except (EvidenceNotFound, EvidenceDamaged):
            return _publish_folder(stores, folder / "bundle", action, caller, details)
        if digest == facts.base or stores.evidence.is_configured(existing):
            return existing
        path = folder / "bundle" if existing.manifest.base else existing.path
        return _publish_folder(stores, path, action, caller, details)


def _publish_folder(stores: Stores, path: Path, action: AuditAction, caller: str, details: Mapping[str, str]) -> Bundle:
    """Publish the bundle in a folder unless it is already published, and return the bundle."""
    manifest = open_bundle(path).manifest
    published = stores.evidence.published
    if manifest.digest not in published.events(manifest.dataset):
        details = {**details, **published.write(path)}
        record_event(stores, action, caller, manifest.dataset, manifest.digest, details)
    return stores.evidence.find(manifest.dataset, manifest.digest)
