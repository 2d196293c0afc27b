"""The input files of a build, and the checks of their combinations."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from errata.errors import InvalidEvidence

from service.domain import IMAGENET_1K
from service.evidence.cooccurrence import MIN_COUNT
from service.evidence.encoder import Progress
from service.evidence.inputs import Source
from service.storage import sha256_of

OWN_LICENSE = "its author's"
MAX_MIN_COOCCURRENCE = 1 << 30
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def _ignore_progress(stage: str, done: int, total: int) -> None:
    """Do nothing."""


@dataclass(frozen=True)
class Inputs:
    """Input files of a build. Each data set needs only some of them."""

    annotations: Path | None = None
    mistakes: Path | None = None
    artefacts: Path | None = None
    superclasses: Path | None = None
    labels: Path | None = None
    classes: Path | None = None
    overlaps: Path | None = None
    groups: Path | None = None
    cooccurrence: Path | None = None  # file with the labels of other images, whose pairs of classes are counted
    min_cooccurrence: int = MIN_COUNT  # images in which a pair must occur
    vocabulary: Path | None = None
    encoder: str = ""  # MODULE:CLASS
    images: Path | None = None
    train_images: Path | None = None
    cache: Path | None = None  # folder of embeddings; required with an encoder
    progress: Progress = field(default=_ignore_progress)


def is_dataset_name(text: str) -> bool:
    """Return whether a text can be the name of a data set."""
    return _NAME.fullmatch(text) is not None


def check_inputs(dataset: str, inputs: Inputs, is_custom: bool) -> None:
    """Check the combination of inputs.

    Args:
        dataset: Name of the data set.
        inputs: The inputs.
        is_custom: Whether the data set is custom, so that its labels are not built in.

    Raises:
        InvalidEvidence: The name is invalid, or an input has no effect on the data set.
    """
    if is_custom and not is_dataset_name(dataset):
        raise InvalidEvidence(
            f"Invalid data set name {dataset!r:.80}. Expected up to 64 characters of a-z, 0-9, '_', '.', and '-'.",
            field="dataset",
        )
    if not is_custom:
        for name in ("labels", "classes", "cooccurrence"):
            if getattr(inputs, name) is not None:
                raise InvalidEvidence(
                    f"The data set {dataset} has built-in labels. Choose another name to use --{name}.", field="dataset"
                )
        if inputs.min_cooccurrence != MIN_COUNT:
            raise InvalidEvidence(
                f"The data set {dataset} uses pairs of classes that occur together in at least {MIN_COUNT} images. "
                "Remove --min-cooccurrence.",
                field="min_cooccurrence",
            )
    if not 1 <= inputs.min_cooccurrence <= MAX_MIN_COOCCURRENCE:
        raise InvalidEvidence(
            f"--min-cooccurrence is {inputs.min_cooccurrence}. Expected at least 1 and at most "
            f"{MAX_MIN_COOCCURRENCE:,} images.",
            field="min_cooccurrence",
        )
    _check_classes(dataset, inputs)


def check_image_folders(inputs: Inputs, has_class_folders: bool) -> None:
    """Raise InvalidEvidence if a folder of images has no effect.

    Args:
        inputs: The inputs.
        has_class_folders: Whether the labels of the data set come from the folder of its images.
    """
    if inputs.encoder:
        return
    for name in ("train_images",) if has_class_folders else ("images", "train_images"):
        if getattr(inputs, name) is not None:
            option = f"--{name.replace('_', '-')}"
            raise InvalidEvidence(
                f"{option} has no effect without an encoder. Add --encoder MODULE:CLASS, or leave {option} out.",
                field=name,
            )


def _check_classes(dataset: str, inputs: Inputs) -> None:
    if inputs.classes is None:
        for name in ("overlaps", "groups", "vocabulary"):
            if getattr(inputs, name) is not None:
                raise InvalidEvidence(
                    f"--{name} describes classes of your own. Add --classes FILE, or leave --{name} out.", field=name
                )
        return
    if dataset == IMAGENET_1K:
        raise InvalidEvidence(
            f"The name {dataset} is reserved for the classes of ImageNet-1k. Choose another name.", field="dataset"
        )
    check_no_imagenet_files(inputs, "with --classes")


def check_no_imagenet_files(inputs: Inputs, where: str) -> None:
    """Raise InvalidEvidence if there are files about ImageNet-1k, which other classes cannot use."""
    for name in ("annotations", "mistakes", "artefacts"):
        if getattr(inputs, name) is not None:
            raise InvalidEvidence(f"--{name} is about images of ImageNet-1k. Leave it out {where}.", field=name)


def file_source(name: str, path: Path, license_: str) -> Source:
    """Return the source of a local file, with its digest."""
    return Source(name, f"local file {path.name}", license_, sha256_of(path))
