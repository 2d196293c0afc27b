"""The manifest of an evidence bundle, manifest.json; bundle.py documents its fields."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from errata.errors import EvidenceDamaged, InvalidEvidence
from errata.json_input import parse_json
from pydantic import TypeAdapter

from service.domain import IMAGENET_1K, ErrorType
from service.evidence.cooccurrence import MIN_COUNT
from service.evidence.inputs import EncoderInfo, ReviewsInfo, Source
from service.rules import RULES_VERSION
from service.storage import read_regular_file

MANIFEST = "manifest.json"
LABEL_SPACE = "label_space.json"
SCHEMA = 1
OWN_LABEL_SPACE_SCHEMA = 2  # versions of Errata that support only imagenet-1k refuse this schema
REMEDY = "Restore the files of the bundle or build it again."
MAX_COUNT = 1 << 31
MAX_MANIFEST = 1 << 24  # bytes
_DIGEST = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Manifest:
    """Description of a bundle: data set, digest, counts, sources, and files."""

    dataset: str
    digest: str
    rules_version: int
    superclasses: tuple[str, ...]
    abstained: tuple[ErrorType, ...]
    counts: Mapping[str, int]
    sources: tuple[Source, ...]
    files: Mapping[str, Mapping[str, Any]]
    encoder: EncoderInfo | None = None  # None: no encoder, no description, or a bundle of an earlier version
    label_space: str = IMAGENET_1K
    min_cooccurrence: int = MIN_COUNT
    base: str = ""  # digest of the bundle whose labels were changed; empty: there is none
    reviews: ReviewsInfo | None = None  # None: the labels do not come from reviews


_TYPES = TypeAdapter(Manifest)  # dataclasses do not check types


def damage_error(manifest: Manifest, problem: str) -> EvidenceDamaged:
    """Return the error for a damaged bundle. Its message has no paths."""
    return EvidenceDamaged(
        f"The evidence of {manifest.dataset} ({manifest.digest[:12]}) is damaged: {problem}. {REMEDY}"
    )


def is_digest(text: str) -> bool:
    """Return whether a text is the digest of a bundle."""
    return _DIGEST.fullmatch(text) is not None


def is_bundle(folder: Path) -> bool:
    """Return whether a folder has a manifest."""
    return (folder / MANIFEST).is_file()


def folder_of(path: Path) -> Path:
    """Return the folder of a bundle from the path of the folder or of the manifest."""
    return path.parent if path.name == MANIFEST else path


def read_manifest(path: Path) -> Manifest:
    """Read and validate the manifest of a bundle.

    Raises:
        InvalidEvidence: If the manifest cannot be read, is invalid, or has another schema or version of the rules.
    """
    file = path / MANIFEST
    try:
        content = read_regular_file(file, MAX_MANIFEST)
        if content is None:
            raise InvalidEvidence(f"{file} is not a regular file. {REMEDY}")
        text = content.decode()
    except OSError as error:
        raise InvalidEvidence(
            f"{path} is not an evidence bundle: {MANIFEST} cannot be read ({error.strerror}). Check the path, "
            "restore the files of the bundle, or build it again."
        ) from error
    except ValueError as error:
        raise InvalidEvidence(f"{file}: not the manifest of a bundle: {error!r:.200}. {REMEDY}") from error
    return parse_manifest(text, file)


def parse_manifest(text: str, file: Path) -> Manifest:
    """Validate the text of a manifest.

    Args:
        text: The text.
        file: Its path, for messages.

    Raises:
        InvalidEvidence: If the manifest is invalid, or has another schema or version of the rules.
    """
    try:
        raw = parse_json(text)
        if raw["schema"] not in (SCHEMA, OWN_LABEL_SPACE_SCHEMA):
            raise InvalidEvidence(
                f"{file}: schema {raw['schema']!r:.80} is not {SCHEMA} or {OWN_LABEL_SPACE_SCHEMA}. Build the "
                "bundle again.",
                field="schema",
            )
        if raw["rules_version"] != RULES_VERSION:
            raise InvalidEvidence(
                f"{file}: the bundle has version {raw['rules_version']!r:.80} of the rules, but Errata has version "
                f"{RULES_VERSION}. Build the bundle again.",
                field="rules_version",
            )
        names = [*raw["files"]]
        if any("/" in name or name.startswith(".") or not name.endswith(".npy") for name in {*names} - {LABEL_SPACE}):
            raise InvalidEvidence(f"{file}: not all files are .npy files: {names!r:.200}. {REMEDY}", field="files")
        manifest = Manifest(
            dataset=raw["dataset"],
            digest=raw["digest"],
            rules_version=raw["rules_version"],
            superclasses=tuple(raw["superclasses"]),
            abstained=tuple(ErrorType[name] for name in raw["abstained"]),
            counts=raw["counts"],
            sources=tuple(Source(**source) for source in raw["sources"]),
            files={
                name: {"sha256": str(facts["sha256"]), "bytes": int(facts["bytes"])}
                for name, facts in raw["files"].items()
            },
            encoder=EncoderInfo(**raw["encoder"]) if raw.get("encoder") else None,
            label_space=raw.get("label_space", IMAGENET_1K),
            min_cooccurrence=raw.get("min_cooccurrence", MIN_COUNT),
            base=raw.get("base", ""),
            reviews=ReviewsInfo(**raw["reviews"]) if raw.get("reviews") else None,
        )
        manifest = _TYPES.validate_python(asdict(manifest))
        json.dumps(raw, ensure_ascii=False).encode()  # responses cannot contain lone surrogates
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise InvalidEvidence(f"{file}: not the manifest of a bundle: {error!r:.200}. {REMEDY}") from error
    if not is_digest(manifest.digest):
        raise InvalidEvidence(f"{file}: invalid digest {manifest.digest!r:.80}. {REMEDY}", field="digest")
    if not 1 <= manifest.min_cooccurrence < MAX_COUNT:
        raise InvalidEvidence(
            f"{file}: invalid min_cooccurrence {manifest.min_cooccurrence!r:.80}. {REMEDY}", field="min_cooccurrence"
        )
    _check_base(file, manifest)
    has_counts = manifest.counts.keys() >= {"images", "judged", "problematic"}
    if not has_counts or not all(0 <= count < MAX_COUNT for count in manifest.counts.values()):
        raise InvalidEvidence(f"{file}: invalid counts {manifest.counts!r:.200}. {REMEDY}", field="counts")
    return manifest


def _check_base(file: Path, manifest: Manifest) -> None:
    """Raise InvalidEvidence if the base or the reviews of a manifest are invalid."""
    reviews = manifest.reviews
    if manifest.base and not is_digest(manifest.base):
        raise InvalidEvidence(f"{file}: invalid base {manifest.base!r:.80}. {REMEDY}", field="base")
    if reviews is not None and not (
        manifest.base
        and is_digest(reviews.sha256)
        and 0 < reviews.count < MAX_COUNT
        and 0 < reviews.min_reviews < MAX_COUNT
    ):
        raise InvalidEvidence(f"{file}: invalid reviews {reviews!r:.200}. {REMEDY}", field="reviews")
