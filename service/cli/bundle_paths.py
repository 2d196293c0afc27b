"""Locations of evidence bundles: the data folder, and the paths that commands have used.

`bundle-paths.json` in the data folder maps the digest of a bundle to its path. With this file, `--local` and
`errata serve --local` find the evidence of an earlier analysis that used `--evidence PATH`, and
`errata evidence show DIGEST` finds a bundle in any folder.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from errata.errors import DatasetNotFound, EvidenceDamaged, EvidenceNotFound, InvalidEvidence
from errata.files import read_file, write_file
from errata.json_input import parse_json
from errata.names import evidence_id

from service.evidence.bundle import open_bundle
from service.evidence.manifest import MANIFEST, folder_of, read_manifest
from service.evidence.repository import EvidenceRepository
from service.storage import lock

FILE = "bundle-paths.json"
MAX_FILE = 1 << 20  # bytes
MAX_PATHS = 200  # the oldest are dropped
SHORT_DIGEST = 12  # characters, in messages


class BundlePaths:
    """The paths of evidence bundles of a data folder."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._file = data_dir / FILE

    def remember(self, path: Path, used: bool) -> None:
        """Store the path of a bundle.

        Args:
            path: Folder of the bundle.
            used: Whether an analysis may need the bundle. If so, later local services serve the bundle.
        """
        path = path.resolve()
        digest = read_manifest(path).digest
        with suppress(OSError), lock(self._data_dir / f"{FILE}.lock"):  # a read-only data folder gets no path
            entries = self._read()
            used = used or bool(entries.pop(digest, {}).get("used"))
            entries[digest] = {"path": str(path), "used": used}
            newest = dict([*entries.items()][-MAX_PATHS:])
            write_file(self._file, (json.dumps(newest, indent=1) + "\n").encode())

    def add_used_bundles(self, configured: Mapping[str, Sequence[Path]]) -> dict[str, list[Path]]:
        """Return the configured bundles of each data set, followed by the bundles that analyses have used."""
        result = {dataset: [*paths] for dataset, paths in configured.items()}
        for digest, entry in self._read().items():
            path = Path(entry["path"])
            if not entry.get("used"):
                continue
            try:
                bundle = open_bundle(path)
            except InvalidEvidence:
                continue  # the bundle was moved, replaced, or damaged
            paths = result.setdefault(bundle.dataset, [])
            if bundle.digest != digest or path in paths:
                continue
            try:
                paths += [] if paths else self._default(bundle.dataset)
            except EvidenceDamaged:
                continue  # calls for the data set report the damage
            paths.append(path)
        return {dataset: paths for dataset, paths in result.items() if paths}

    def find(self, text: str, configured: Mapping[str, Sequence[Path]]) -> Path:
        """Return the folder of a bundle.

        Args:
            text: Path of the folder or of its manifest, the start of a digest, or a resource name.
            configured: The configured bundles of each data set.

        Raises:
            EvidenceNotFound: No bundle, or more than one, has this digest.
        """
        path = Path(text)
        if (folder := folder_of(path)) != path:
            return folder
        if path.exists():
            return path
        text = evidence_id(text)
        if "/" in text:
            return path
        matches = {digest: path for digest, path in self._iterate_bundles(configured) if digest.startswith(text)}
        if len(matches) == 1:
            return next(iter(matches.values()))
        if not matches:
            raise EvidenceNotFound(
                f"No evidence bundle at {text!r:.200}, and no digest starts with it. Check the path.", field="bundle"
            )
        raise EvidenceNotFound(
            f"Several bundles match {text!r:.80}: {', '.join(digest[:SHORT_DIGEST] for digest in matches)}. "
            "Use more characters of the digest.",
            field="bundle",
        )

    def _iterate_bundles(self, configured: Mapping[str, Sequence[Path]]) -> Iterator[tuple[str, Path]]:
        """Yield the digests and folders of all bundles that can be found."""
        folders = [Path(entry["path"]) for entry in self._read().values()]
        folders += [path for paths in configured.values() for path in paths]
        folders += [file.parent for file in sorted(self._data_dir.glob(f"evidence/*/*/{MANIFEST}"))]
        for folder in folders:
            if not folder.name.startswith("."):
                with suppress(InvalidEvidence):
                    yield read_manifest(folder).digest, folder

    def _default(self, dataset: str) -> list[Path]:
        """Return the default bundle that a data set has without configuration; empty if there is none."""
        try:
            return [EvidenceRepository({}, self._data_dir).find(dataset, "").path]
        except (DatasetNotFound, EvidenceNotFound):
            return []

    def _read(self) -> dict[str, dict[str, Any]]:
        """Return the entries of the file by digest; empty if the file is missing or damaged."""
        try:
            entries = parse_json(read_file(self._file, MAX_FILE))
        except (OSError, ValueError):
            return {}
        if not isinstance(entries, dict):
            return {}
        return {
            digest: entry
            for digest, entry in entries.items()
            if isinstance(entry, dict) and isinstance(entry.get("path"), str)
        }
