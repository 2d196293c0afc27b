"""Published evidence: bundles that all processes of a service share, and the audit log that makes them visible.

Each file of a bundle is stored in parts under its SHA-256, so that versions of a bundle share identical files. An event
in the audit log, which contains the SHA-256 of the manifest, is written last and makes the bundle visible. Each process
fetches a bundle on its first use.
"""

import hashlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import structlog
from errata.errors import EvidenceDamaged, InvalidEvidence, Unavailable

from service.domain import PUBLICATIONS, AuditAction, AuditEvent
from service.evidence.build_inputs import is_dataset_name
from service.evidence.manifest import MANIFEST, Manifest, is_bundle, is_digest, parse_manifest, read_manifest
from service.storage import atomic_folder, lock, sha256_of

PART_BYTES = 32 << 20
MANIFEST_KEY = "manifest"  # key in the details of an event; its value is the SHA-256 of the manifest
REMEDY = "Publish it again, or make other evidence the default of the data set."
_log = structlog.get_logger()


class Publications(Protocol):
    """The storage of published files and of the audit log. Thread-safe. Every method can raise Unavailable."""

    def events(self) -> Sequence[AuditEvent]:
        """Return the events of all processes, oldest first. Events of other processes may appear a second late."""
        ...

    def refresh(self) -> None:
        """Make the next call of `events` return all events."""
        ...

    def append(self, event: AuditEvent) -> None:
        """Store an event. It is on the disk when this method returns."""
        ...

    def read(self, name: str) -> bytes | None:
        """Return the content of a file; None if it does not exist."""
        ...

    def write(self, name: str, content: bytes) -> None:
        """Write a file atomically."""
        ...

    def sizes(self) -> Mapping[str, int]:
        """Return the sizes of all files in bytes, by name."""
        ...


class InMemoryPublications:
    """Publications in dictionaries."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self._events: list[AuditEvent] = []

    def events(self) -> Sequence[AuditEvent]:
        """Return the events, oldest first."""
        return tuple(self._events)

    def refresh(self) -> None:
        """Do nothing: all events are known."""

    def append(self, event: AuditEvent) -> None:
        """Store an event."""
        self._events.append(event)

    def read(self, name: str) -> bytes | None:
        """Return the content of a file."""
        return self.files.get(name)

    def write(self, name: str, content: bytes) -> None:
        """Write a file."""
        self.files[name] = content

    def sizes(self) -> Mapping[str, int]:
        """Return the sizes of all files."""
        return {name: len(content) for name, content in self.files.items()}


class PublishedEvidence:
    """The published bundles of all data sets.

    Args:
        publications: Storage of the published files and of the audit log.
        folder: Folder for the bundles that this process fetches.
    """

    def __init__(self, publications: Publications, folder: Path) -> None:
        self.publications = publications
        self._folder = folder
        self._lock = threading.Lock()
        self._manifests: dict[str, Manifest] = {}  # by the SHA-256 of the manifest
        self._damaged: set[str] = set()  # SHA-256 of manifests that cannot be read; each is logged once

    def events(self, dataset: str = "") -> Mapping[str, AuditEvent]:
        """Return, by digest, the newest event that published each bundle, ordered by first publication."""
        published: dict[str, AuditEvent] = {}
        for event in self.publications.events():
            if event.action in PUBLICATIONS and dataset in ("", event.dataset) and MANIFEST_KEY in event.details:
                published[event.digest] = event
        return published

    def default(self, dataset: str) -> str:
        """Return the digest that was last made the default of a data set; empty if there is none."""
        events = reversed(self.publications.events())
        defaults = (e.digest for e in events if e.action is AuditAction.SET_DEFAULT and e.dataset == dataset)
        return next(defaults, "")

    def manifests(self, dataset: str = "") -> list[Manifest]:
        """Return the manifests of the published bundles, newest first. Skip manifests that cannot be read."""
        manifests = []
        for event in reversed([*self.events(dataset).values()]):
            try:
                manifests.append(self._manifest(event))
            except EvidenceDamaged as error:
                if event.details[MANIFEST_KEY] not in self._damaged:
                    _log.error("published evidence unreadable", dataset=event.dataset, error=error.message)
                self._damaged.add(event.details[MANIFEST_KEY])
        return manifests

    def write(self, bundle: Path, force: bool = False) -> Mapping[str, str]:
        """Store the files of a bundle, and return the details of the event that makes them visible.

        Args:
            bundle: The folder of the bundle.
            force: Whether to write also the files that already exist with the same size.
        """
        existing = {} if force else self.publications.sizes()
        manifest = read_manifest(bundle)
        for name, facts in manifest.files.items():
            for part, content in _parts(bundle / name, facts["sha256"]):
                if existing.get(part) != len(content):
                    self.publications.write(part, content)
        sha256 = sha256_of(bundle / MANIFEST)
        self.publications.write(_part(sha256, 0), (bundle / MANIFEST).read_bytes())
        return {MANIFEST_KEY: sha256}

    def fetch(self, event: AuditEvent) -> Path:
        """Return the folder of a published bundle. Fetch it if this process does not have it.

        Raises:
            EvidenceDamaged: A file is missing or damaged.
            Unavailable: The files cannot be read, or the disk is full.
        """
        if not (is_dataset_name(event.dataset) and is_digest(event.digest)):
            raise _damage(event, "its data set or digest is invalid")
        path = self._folder / event.dataset / event.digest
        if is_bundle(path):
            return path
        manifest = self._manifest(event)
        try:
            with lock(self._folder / f"{event.dataset}.lock"):
                if not is_bundle(path):
                    with atomic_folder(path) as folder:
                        for name, facts in manifest.files.items():
                            self._fetch_file(event, facts["sha256"], facts["bytes"], folder / name)
                        (folder / MANIFEST).write_bytes(self._read(event, event.details[MANIFEST_KEY], 0))
                    _log.info("evidence fetched", dataset=event.dataset, digest=event.digest)
        except OSError as error:
            raise Unavailable(f"The evidence of {event.dataset} cannot be fetched: {error.strerror}.") from error
        return path

    def _manifest(self, event: AuditEvent) -> Manifest:
        sha256 = event.details[MANIFEST_KEY]
        with self._lock:
            if sha256 in self._manifests:
                return self._manifests[sha256]
        content = self._read(event, sha256, 0)
        if hashlib.sha256(content).hexdigest() != sha256:
            raise _damage(event, f"the SHA-256 of {MANIFEST} differs")
        try:
            manifest = parse_manifest(content.decode(), Path(MANIFEST))
        except InvalidEvidence as error:  # its message has a remedy
            raise EvidenceDamaged(f"{_subject(event)} cannot be used: {error.message}") from error
        except ValueError as error:
            raise _damage(event, str(error)) from error
        if (manifest.dataset, manifest.digest) != (event.dataset, event.digest):
            raise _damage(event, "the manifest is of another bundle")
        with self._lock:
            self._manifests[sha256] = manifest
        return manifest

    def _fetch_file(self, event: AuditEvent, sha256: str, size: int, target: Path) -> None:
        digest = hashlib.sha256()
        with target.open("wb") as file:
            number = 0
            while number == 0 or file.tell() < size:
                content = self._read(event, sha256, number)
                if not content and size:
                    raise _damage(event, f"a part of {target.name} is empty")
                digest.update(content)
                file.write(content)
                number += 1
        if digest.hexdigest() != sha256:
            raise _damage(event, f"the SHA-256 of {target.name} differs")

    def _read(self, event: AuditEvent, sha256: str, number: int) -> bytes:
        content = self.publications.read(_part(sha256, number))
        if content is None:
            raise _damage(event, f"{_part(sha256, number)} is missing in the archive")
        return content


def _part(sha256: str, number: int) -> str:
    return f"{sha256}.{number:04}"


def _parts(path: Path, sha256: str) -> Iterator[tuple[str, bytes]]:
    with path.open("rb") as file:
        number = 0
        while (content := file.read(PART_BYTES)) or number == 0:
            yield _part(sha256, number), content
            number += 1


def _damage(event: AuditEvent, problem: str) -> EvidenceDamaged:
    return EvidenceDamaged(f"{_subject(event)} is damaged: {problem}. {REMEDY}")


def _subject(event: AuditEvent) -> str:
    return f"The published evidence of {event.dataset} ({event.digest[:12]})"
