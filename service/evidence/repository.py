"""The bundles that a service has at hand: configured ones, those in the data folder, and those built on first use."""

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

from service.evidence.build import write_bundle
from service.evidence.bundle import REMEDY, SCHEMA, Bundle, Manifest, damaged, open_bundle, read_manifest, wrong_files
from service.evidence.labels import DEMO_FILE
from service.evidence.recipes import NEEDS_NO_INPUT, gather
from service.rules import RULES_VERSION
from service.storage import lock

_SHIPPED = (
    ("service.evidence", "data/imagenet_validation.npz"),
    ("service.evidence", DEMO_FILE),
    ("service.taxonomy", "data/superclasses.json"),
    ("service.taxonomy", "data/wordnet.json"),
)
_log = structlog.get_logger()


class EvidenceRepository:
    """Finds, builds and opens bundles, each once; safe to use from several threads."""

    def __init__(self, configured: Mapping[str, Sequence[Path]], data_dir: Path) -> None:
        self._configured = configured
        self._folder = data_dir / "evidence"
        self._lock = threading.Lock()
        self._opened: dict[Path, Bundle] = {}
        self._manifests: dict[Path, Manifest] = {}
        self._refused: dict[Path, object] = {}  # states of files that were damaged when they were last compared
        self._found: dict[tuple[str, str], Bundle] = {}  # what a prefix meant stays what it means in this process

    def check(self) -> None:
        """Raise InvalidEvidence for a configured bundle that can't be opened, InvalidSetting for the data folder."""
        for dataset, paths in self._configured.items():
            for path in paths:
                result = read_manifest(path).dataset
                if result != dataset:
                    raise InvalidEvidence(
                        f"{path}: expected a bundle of {dataset}, got one of {result}", field="dataset"
                    )
                open_bundle(path)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidSetting(
                f"expected a folder that can be written, got {self._folder}: {error.strerror}", field="ERRATA_DATA_DIR"
            ) from error

    def datasets(self) -> list[str]:
        """Return the data sets that can be judged."""
        lying = {
            path.parent.parent.name
            for path in self._folder.glob("*/*/manifest.json")
            if not path.parent.name.startswith(".")
        }
        return sorted({*self._configured, *lying, *NEEDS_NO_INPUT})

    def manifests(self) -> list[Manifest]:
        """Return what the bundles say that are configured or lie in the data folder; those to be built come later."""
        lying = (path.parent for path in self._folder.glob("*/*/manifest.json") if not path.parent.name.startswith("."))
        result = {}
        for path in dict.fromkeys((*(item for paths in self._configured.values() for item in paths), *lying)):
            if path not in self._manifests:
                try:
                    self._manifests[path] = read_manifest(path)
                except InvalidEvidence:
                    continue  # `bundles` says what is wrong with it
            result[self._manifests[path].digest] = self._manifests[path]
        return list(result.values())

    def bundles(self, dataset: str) -> list[Bundle]:
        """Return the bundles of a data set, the default first.

        Raise DatasetNotFound if there are none, EvidenceDamaged if the default can't be opened; others are left out.
        """
        if dataset not in self.datasets():
            raise DatasetNotFound(
                f"expected one of the data sets {', '.join(self.datasets())}, got {dataset!r:.80}", field="dataset"
            )
        with self._lock:
            paths = list(self._configured.get(dataset, ()))
            if not paths and dataset in NEEDS_NO_INPUT:
                paths.append(self._built(dataset))
            lying = sorted(path.parent for path in (self._folder / dataset).glob("*/manifest.json"))
            paths += [path for path in lying if path not in paths and not path.name.startswith(".")]
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
        """Return the bundle whose digest starts so; for an empty prefix, or the data set's name, the default one.

        Raise DatasetNotFound, EvidenceNotFound where no bundle or several fit, or EvidenceDamaged.
        """
        known = self._found.get((dataset, prefix))
        if known is not None and known.arrays.damage() is None:
            return known
        if known is None:
            bundle = self._search(dataset, prefix)
        else:
            with self._lock:
                bundle = self._open(known.path, dataset)
        self._found[dataset, prefix] = bundle
        return bundle

    def _search(self, dataset: str, prefix: str) -> Bundle:
        bundles = self.bundles(dataset)
        if prefix in ("", dataset):
            return bundles[0]
        result = [bundle for bundle in bundles if bundle.digest.startswith(prefix)]
        if len(result) != 1:
            have = ", ".join(bundle.digest[:12] for bundle in bundles)
            what = "none" if not result else f"{len(result)} of them"
            raise EvidenceNotFound(
                f"expected the start of one digest among {have}, got {prefix!r:.80}, which fits {what}",
                field="evidence",
            )
        return result[0]

    def _built(self, dataset: str) -> Path:
        """Return the bundle of a data set that needs no download, built now if it isn't there."""
        path = self._folder / dataset / fingerprint(dataset)
        if not (path / "manifest.json").is_file():
            try:
                with lock(self._folder / f"{dataset}.lock"):
                    if not (path / "manifest.json").is_file():
                        digest = write_bundle(gather(dataset), path)
                        _log.info("evidence built", dataset=dataset, digest=digest)
            except OSError as error:
                _log.error("evidence can't be built", dataset=dataset, path=str(path), error=repr(error))
                raise Unavailable(f"the evidence of {dataset} can't be built here: {error.strerror}") from error
        return path

    def _open(self, path: Path, dataset: str) -> Bundle:
        """Return the bundle at a path; raise EvidenceDamaged, which says what is wrong but not where it lies."""
        opened = self._opened.get(path)
        if opened is not None and (problem := opened.arrays.damage()):
            return self._reopen(opened, problem)
        if opened is None:
            try:
                bundle = open_bundle(path)
                if bundle.dataset != dataset:
                    raise InvalidEvidence(f"{path}: expected a bundle of {dataset}, got one of {bundle.dataset}")
            except InvalidEvidence as error:
                _log.error("a bundle can't be opened", dataset=dataset, path=str(path), error=error.message)
                what = error.message.replace(str(path), "bundle")
                raise EvidenceDamaged(f"The evidence of {dataset} cannot be used: {what}. {REMEDY}") from error
            self._opened[path] = bundle
        return self._opened[path]

    def _reopen(self, opened: Bundle, problem: str) -> Bundle:
        """Return a bundle whose files changed in place, if they are again what its manifest says.

        All files are compared with their digests, once for each state of the files.

        Raises:
            EvidenceDamaged: If they are not, or are those of another bundle.
        """
        states = opened.arrays.states_now()
        if self._refused.get(opened.path) != states:
            try:
                bundle = open_bundle(opened.path)
                if bundle.digest == opened.digest and not wrong_files(bundle):
                    _log.info("evidence restored", dataset=opened.dataset, path=str(opened.path))
                    self._opened[opened.path] = bundle
                    return bundle
            except (InvalidEvidence, OSError) as error:
                _log.error("evidence damaged", dataset=opened.dataset, path=str(opened.path), error=repr(error))
            else:
                _log.error("evidence damaged", dataset=opened.dataset, path=str(opened.path), error=problem)
            self._refused[opened.path] = states
        raise damaged(opened.manifest, problem)


@cache
def fingerprint(dataset: str) -> str:
    """Return what names a built bundle's folder: everything shipped that it is made of."""
    digest = hashlib.sha256(f"{SCHEMA} {RULES_VERSION} {dataset}".encode())
    for package, name in _SHIPPED:
        digest.update((files(package) / name).read_bytes())
    return digest.hexdigest()[:16]
