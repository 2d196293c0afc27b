"""The bundles of a service: configured, published, stored in the data folder, or built on first use.

The default bundle of a data set is the bundle that an administrator last made the default. If there is none, it is the
first configured bundle.
"""

import hashlib
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path

import structlog
from errata.errors import (
    DatasetNotFound,
    EvidenceDamaged,
    EvidenceNotFound,
    InvalidEvidence,
    InvalidSetting,
    Unavailable,
)

from service.domain import AuditEvent
from service.evidence.build import write_bundle
from service.evidence.bundle import Bundle, file_differences, open_bundle
from service.evidence.label_space_json import to_json
from service.evidence.labels import DEMO_FILE, VERSIONS
from service.evidence.manifest import MANIFEST, REMEDY, SCHEMA, Manifest, damage_error, is_bundle, read_manifest
from service.evidence.publications import InMemoryPublications, Publications, PublishedEvidence
from service.evidence.recipes import NEEDS_NO_INPUT, gather
from service.rules import RULES_VERSION
from service.storage import lock
from service.taxonomy.imagenet_1k import imagenet_1k

_SHIPPED = ("data/imagenet_validation.npz", DEMO_FILE)
_log = structlog.get_logger()


class EvidenceRepository:
    """Finds, builds, and opens bundles, each only once. Thread-safe."""

    def __init__(
        self, configured: Mapping[str, Sequence[Path]], data_dir: Path, publications: Publications | None = None
    ) -> None:
        """Create a repository.

        Args:
            configured: Paths of bundles by data set; the first path of a data set is its default.
            data_dir: Data folder of the service.
            publications: Published bundles; None: this process shares no bundles with other processes.
        """
        self._configured = configured
        self._folder = data_dir / "evidence"
        self.published = PublishedEvidence(publications or InMemoryPublications(), self._folder)
        self._lock = threading.Lock()
        self._opened: dict[Path, Bundle] = {}
        self._manifests: dict[Path, Manifest] = {}
        self._damaged_states: dict[Path, object] = {}  # states of files that differed from their digests
        # By data set and digest prefix. A prefix keeps its bundle as long as this process runs.
        self._resolved: dict[tuple[str, str], Bundle] = {}

    def check(self) -> None:
        """Check the configured bundles and the data folder.

        Raises:
            InvalidEvidence: If a configured bundle cannot be opened.
            InvalidSetting: If the data folder cannot be created.
        """
        for dataset, paths in self._configured.items():
            for path in paths:
                actual = read_manifest(path).dataset
                if actual != dataset:
                    raise InvalidEvidence(
                        f"{path} has the data set {actual}, not {dataset}. Correct ERRATA_EVIDENCE.", field="dataset"
                    )
                open_bundle(path)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidSetting(
                f"ERRATA_DATA_DIR: cannot create the folder {self._folder}: {error.strerror}. Expected a writable "
                "folder.",
                field="ERRATA_DATA_DIR",
            ) from error

    def datasets(self) -> list[str]:
        """Return the data sets with evidence."""
        stored = {path.parent.name for path in self._stored_paths("*")}
        published = {event.dataset for event in self.published.events().values()}
        return sorted({*self._configured, *stored, *published, *NEEDS_NO_INPUT})

    def versions(self, dataset: str) -> list[Manifest]:
        """Return the manifests of the bundles of a data set, the default first. Skip unreadable manifests.

        Raises:
            DatasetNotFound: If the data set has no evidence.
            EvidenceDamaged: If the default bundle cannot be opened.
        """
        default = self.find(dataset, "")
        manifests = (*self.published.manifests(dataset), *(bundle.manifest for bundle in self.bundles(dataset)))
        return [*({default.digest: default.manifest} | {m.digest: m for m in manifests}).values()]

    def manifests(self) -> list[Manifest]:
        """Return the manifests of the existing bundles. Do not build the bundles that are built on first use."""
        manifests = {manifest.digest: manifest for manifest in self.published.manifests()}
        configured = (path for paths in self._configured.values() for path in paths)
        for path in dict.fromkeys((*configured, *self._stored_paths("*"))):
            if path not in self._manifests:
                try:
                    self._manifests[path] = read_manifest(path)
                except InvalidEvidence:
                    continue  # `bundles` reports the problem
            manifests[self._manifests[path].digest] = self._manifests[path]
        return list(manifests.values())

    def bundles(self, dataset: str) -> list[Bundle]:
        """Return the bundles that this process has for a data set, the first configured bundle first.

        Bundles that cannot be opened are skipped, except for the first configured one. Published bundles are included
        after their first use.

        Raises:
            DatasetNotFound: If the data set has no evidence.
            EvidenceDamaged: If the first configured bundle cannot be opened.
        """
        if dataset not in self.datasets():
            raise DatasetNotFound(
                f"Data set {dataset!r:.80} not found. Expected one of {', '.join(self.datasets())}.", field="dataset"
            )
        with self._lock:
            paths = list(self._configured.get(dataset, ()))
            if not paths and dataset in NEEDS_NO_INPUT:
                paths.append(self._build(dataset))
            fetched = self.published.events(dataset)
            stored = sorted(self._stored_paths(dataset), key=lambda path: (path.name in fetched, path))
            paths += [path for path in stored if path not in paths]
            bundles: dict[str, Bundle] = {}
            for path in paths:
                try:
                    bundle = self._open(path, dataset)
                except EvidenceDamaged:
                    if path == paths[0]:
                        raise
                else:
                    bundles.setdefault(bundle.digest, bundle)
        return list(bundles.values())

    def find(self, dataset: str, prefix: str) -> Bundle:
        """Return the bundle whose digest has a prefix. If it is published and this process does not have it, fetch it.

        Args:
            dataset: Name of the data set.
            prefix: Prefix of the digest. If it is empty or the name of the data set, the default bundle is returned.

        Raises:
            DatasetNotFound: If the data set has no evidence.
            EvidenceNotFound: If no bundle or several bundles have the prefix.
            EvidenceDamaged: If the bundle cannot be opened.
            Unavailable: If the published bundles cannot be read.
        """
        if prefix in ("", dataset):
            prefix = self.published.default(dataset)
        resolved = self._resolved.get((dataset, prefix))
        if resolved is not None and resolved.arrays.damage() is None:
            return resolved
        if resolved is None:
            try:
                bundle = self._search(dataset, prefix)
            except (EvidenceNotFound, DatasetNotFound):
                self.published.publications.refresh()  # another process may have just published the bundle
                bundle = self._search(dataset, prefix)
        else:
            with self._lock:
                bundle = self._open(resolved.path, dataset)
        self._resolved[dataset, prefix] = bundle
        return bundle

    def is_configured(self, bundle: Bundle) -> bool:
        """Return whether a bundle is configured or built in: other processes have it even if it is not published."""
        built_in = self._folder / bundle.dataset / fingerprint(bundle.dataset)
        return bundle.path in (*self._configured.get(bundle.dataset, ()), built_in)

    def _stored_paths(self, dataset: str) -> list[Path]:
        """Return the bundle folders in the data folder. `dataset` is a glob pattern."""
        paths = (path.parent for path in self._folder.glob(f"{dataset}/*/{MANIFEST}"))
        return [path for path in paths if not path.name.startswith(".")]

    def _search(self, dataset: str, prefix: str) -> Bundle:
        published = self.published.events(dataset)
        if (event := published.get(prefix)) is not None:  # works even if the first configured bundle is damaged
            return self._open_published(event)
        bundles = {bundle.digest: bundle for bundle in self.bundles(dataset)}
        if not prefix:  # publishing a bundle does not make it the default
            local = (bundle for bundle in bundles.values() if bundle.path.name not in published)
            return next(local, None) or self._open_published(next(iter(published.values())))
        digests = [*dict.fromkeys((*bundles, *reversed([*published])))]
        matches = [digest for digest in digests if digest.startswith(prefix)]
        if len(matches) != 1:
            listed = ", ".join(digest[:12] for digest in digests)
            problem = "No bundle has" if not matches else f"{len(matches)} bundles have"
            raise EvidenceNotFound(
                f"{problem} a digest that starts with {prefix!r:.80}. Expected a unique prefix of one of {listed}.",
                field="evidence",
            )
        return bundles[matches[0]] if matches[0] in bundles else self._open_published(published[matches[0]])

    def _open_published(self, event: AuditEvent) -> Bundle:
        path = self.published.fetch(event)
        with self._lock:
            return self._open(path, event.dataset)

    def _build(self, dataset: str) -> Path:
        """Return the bundle of a data set that needs no input. Build it if it does not exist."""
        path = self._folder / dataset / fingerprint(dataset)
        if not is_bundle(path):
            try:
                with lock(self._folder / f"{dataset}.lock"):
                    if not is_bundle(path):
                        digest = write_bundle(gather(dataset), path)
                        _log.info("evidence built", dataset=dataset, digest=digest)
            except OSError as error:
                _log.error("evidence build failed", dataset=dataset, path=str(path), error=repr(error))
                raise Unavailable(f"The evidence of {dataset} cannot be built: {error.strerror or error}.") from error
        return path

    def _open(self, path: Path, dataset: str) -> Bundle:
        """Return the bundle at a path; if it cannot be opened, raise EvidenceDamaged without the path."""
        opened = self._opened.get(path)
        if opened is not None and (problem := opened.arrays.damage()):
            return self._reopen(opened, problem)
        if opened is None:
            try:
                bundle = open_bundle(path)
                if bundle.dataset != dataset:
                    raise InvalidEvidence(f"{path} has the data set {bundle.dataset}, not {dataset}. {REMEDY}")
            except InvalidEvidence as error:
                _log.error("bundle not opened", dataset=dataset, path=str(path), error=error.message)
                problem = error.message.replace(str(path), "bundle")
                raise EvidenceDamaged(f"The evidence of {dataset} cannot be used: {problem}") from error
            self._opened[path] = bundle
        return self._opened[path]

    def _reopen(self, opened: Bundle, problem: str) -> Bundle:
        """Reopen a bundle whose files changed in place, if the files match their digests.

        The digests are compared only once for each state of the files.

        Raises:
            EvidenceDamaged: If the files do not match, or belong to another bundle.
        """
        states = opened.arrays.current_states()
        if self._damaged_states.get(opened.path) != states:
            cause = problem
            try:
                bundle = open_bundle(opened.path)
                if bundle.digest == opened.digest and not file_differences(bundle):
                    _log.info("evidence restored", dataset=opened.dataset, path=str(opened.path))
                    self._opened[opened.path] = bundle
                    return bundle
            except (InvalidEvidence, OSError) as error:
                cause = repr(error)
            _log.error("evidence damaged", dataset=opened.dataset, path=str(opened.path), error=cause)
            self._damaged_states[opened.path] = states
        raise damage_error(opened.manifest, problem)


@cache
def fingerprint(dataset: str) -> str:
    """Return the folder name of a bundle that is built on first use: a digest of its inputs in the package."""
    version = f" {VERSIONS[dataset]}" if dataset in VERSIONS else ""
    digest = hashlib.sha256(f"{SCHEMA} {RULES_VERSION} {dataset}{version}".encode())
    for name in _SHIPPED:
        digest.update((files("service.evidence") / name).read_bytes())
    digest.update(to_json(imagenet_1k()))
    return digest.hexdigest()[:16]
