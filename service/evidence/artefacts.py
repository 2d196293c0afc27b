"""Read the authors' artifact folder: class lists, superclasses, sample order, and CLIP neighbors.

The files are labels_map.json, imagenet_wnet_id_to_target.json, superclasses.json, DATASET/samples_info.npz, and
DATASET/valid_clip_knn.npz. All of them are optional.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from errata.errors import InvalidEvidence
from errata.json_input import parse_json
from numpy.typing import NDArray

from service.domain import Classes
from service.evidence.input_files import read_text
from service.evidence.inputs import Source
from service.storage import sha256_of
from service.taxonomy.imagenet_1k import imagenet_1k
from service.taxonomy.superclasses import Grouping, parse_grouping

NEIGHBORS = 10  # number of neighbors that the gate uses
ARTEFACT_SUPERCLASSES = "superclasses.json"  # name of the authors' superclasses among the sources of a bundle


@dataclass(frozen=True)
class SampleOrder:
    """Samples of a data set, in the row order of the authors' arrays (A images)."""

    names: tuple[str, ...]  # `wnid/file`
    targets: Classes  # (A,)


@dataclass(frozen=True)
class Artefacts:
    """Content of the folder. Parts that are missing are None."""

    superclasses: Grouping | None
    samples: SampleOrder | None
    neighbors: NDArray[np.int16] | None  # (A, 10) classes of the nearest training images, in the order of `samples`
    sources: tuple[Source, ...]


def read_artefacts(folder: Path, dataset: str) -> Artefacts:
    """Read the artifacts of a data set.

    Raises:
        InvalidEvidence: If the folder does not exist, or if a file is invalid or belongs to another data set.
    """
    if not folder.is_dir():
        raise InvalidEvidence(
            f"Artifact folder {str(folder)!r} not found. Check the path of --artefacts.", field="artefacts"
        )
    _check_classes(folder)
    superclasses = folder / ARTEFACT_SUPERCLASSES
    samples, neighbors = (folder / dataset / name for name in ("samples_info.npz", "valid_clip_knn.npz"))
    order = _read_samples(samples) if samples.is_file() else None
    present = [file for file in (superclasses, samples, neighbors) if file.is_file()]
    return Artefacts(
        superclasses=read_grouping(superclasses) if superclasses.is_file() else None,
        samples=order,
        neighbors=_read_neighbors(neighbors, order) if neighbors.is_file() else None,
        sources=tuple(
            Source(file.name, "the authors' artefacts, a local file", "Apache-2.0", sha256_of(file)) for file in present
        ),
    )


def read_grouping(file: Path) -> Grouping:
    """Read a file of superclasses."""
    return parse_grouping(read_text(file, "superclasses"), file.name)


def load_arrays(file: Path, *names: str) -> list[NDArray[Any]]:
    """Return arrays of an npz file by name; raise InvalidEvidence if an array is missing or pickled."""
    try:
        with np.load(io.BytesIO(file.read_bytes()), allow_pickle=False) as arrays:
            return [arrays[name] for name in names]
    except Exception as error:  # zipfile, zlib, ast, and tokenize raise many types for damaged archives
        raise InvalidEvidence(
            f"{file.name}: cannot read the arrays {', '.join(names)}: {error!s:.120}.", field="artefacts"
        ) from error


def _check_classes(folder: Path) -> None:
    """Raise InvalidEvidence if the class lists of the folder differ from the 1000 classes of Errata."""
    wordnet_ids = imagenet_1k().ids
    ids = folder / "imagenet_wnet_id_to_target.json"
    if ids.is_file() and _read_json(ids) != {wordnet_id: index for index, wordnet_id in enumerate(wordnet_ids)}:
        raise InvalidEvidence(
            f"{ids.name}: the classes are not the 1000 ImageNet classes. Use the artefacts' own file.",
            field="artefacts",
        )
    names = folder / "labels_map.json"
    if names.is_file():
        raw = _read_json(names)
        if not isinstance(raw, dict) or raw.keys() != {str(index) for index in range(len(wordnet_ids))}:
            raise InvalidEvidence(
                f"{names.name}: the keys are not 0 to 999. Use the artefacts' own file.", field="artefacts"
            )


def _read_json(file: Path) -> Any:
    try:
        return parse_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidEvidence(
            f"{file.name}: not valid JSON: {error!s:.100}. Use the authors' file.", field="artefacts"
        ) from error


def _read_samples(file: Path) -> SampleOrder:
    files, targets = load_arrays(file, "sample_files", "targets")
    if (
        files.ndim != 1
        or files.dtype.kind not in "US"
        or targets.shape != files.shape
        or targets.dtype.kind not in "iu"
    ):
        raise InvalidEvidence(
            f"{file.name}: expected sample_files (N,) of text and targets (N,) of integers, "
            f"got {files.dtype} {files.shape} and {targets.dtype} {targets.shape}.",
            field="artefacts",
        )
    try:
        names = tuple(name.decode() if isinstance(name, bytes) else name for name in files.tolist())
    except UnicodeDecodeError as error:
        raise InvalidEvidence(
            f"{file.name}: sample_files is not UTF-8: {error}. Use the authors' file.", field="artefacts"
        ) from error
    wordnet_ids = imagenet_1k().ids
    for name, target in zip(names, targets.tolist(), strict=True):
        if not 0 <= target < len(wordnet_ids) or name.split("/")[0] != wordnet_ids[target]:
            raise InvalidEvidence(
                f"{file.name}: the target {target} of {name!r:.80} is not the class of its folder. Use the authors' "
                "file.",
                field="artefacts",
            )
    if len(set(names)) != len(names):
        raise InvalidEvidence(f"{file.name}: sample_files has duplicates. Use the authors' file.", field="artefacts")
    return SampleOrder(names, targets.astype(np.int16))


def _read_neighbors(file: Path, order: SampleOrder | None) -> NDArray[np.int16]:
    (classes,) = load_arrays(file, "topk_train_targets")
    if classes.ndim != 2 or classes.shape[1] < NEIGHBORS or classes.dtype.kind not in "iu":
        raise InvalidEvidence(
            f"{file.name}: expected topk_train_targets (N, {NEIGHBORS} or more) of integers, "
            f"got {classes.dtype} {classes.shape}.",
            field="artefacts",
        )
    if order is not None and len(classes) != len(order.names):
        raise InvalidEvidence(
            f"{file.name}: {len(classes)} rows, samples_info.npz has {len(order.names)}. Use files of one download.",
            field="artefacts",
        )
    if classes.min(initial=0) < 0 or classes.max(initial=0) >= imagenet_1k().num_classes:
        raise InvalidEvidence(
            f"{file.name}: a class is not from 0 to {imagenet_1k().num_classes - 1}. Use the authors' file.",
            field="artefacts",
        )
    return classes[:, :NEIGHBORS].astype(np.int16)
