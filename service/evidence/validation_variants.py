"""Changed versions of ImageNet's validation images, as in ImageNet-C. They have the ReaL labels of the originals."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
from errata.errors import InvalidEvidence
from numpy.typing import NDArray

from service.evidence import labels
from service.evidence.inputs import LabelInputs
from service.taxonomy.imagenet_1k import imagenet_1k

_NAME = re.compile(r"ILSVRC2012_val_\d{8}")


def add_real_labels(images: LabelInputs, folder: Path) -> LabelInputs:
    """Return images with the ReaL labels of the validation images of the same name.

    Images without ReaL labels are not evaluated, as in imagenet-real. If no image has the name of a validation image,
    the images are returned unchanged: the only label of each image is the class of its folder.

    Args:
        images: Images in class folders.
        folder: Folder of the images, for messages.

    Raises:
        InvalidEvidence: If only some images have the name of a validation image, or if an image is in the folder of a
            class that is not its original label.
    """
    files = [name.rpartition(b"/")[2].partition(b".")[0].decode() for name in images.names.tolist()]
    if not any(_NAME.fullmatch(file) for file in files):
        return images
    validation_rows = labels.validation_rows(images.names.tolist())
    unknown = images.names[validation_rows < 0].tolist()
    if unknown:
        raise InvalidEvidence(
            f"{folder}: {unknown[0].decode()!r:.120} is not an image of ImageNet's validation set, but other images "
            f"are ({len(unknown):,} {'is' if len(unknown) == 1 else 'are'} not). Delete it.",
            field="images",
        )
    _check_targets(validation_rows, images, folder)
    image_labels = labels.real_labels().take(validation_rows)
    rows = np.flatnonzero(image_labels.counts)
    return replace(
        images,
        rows=rows.astype(np.int32),
        labels=image_labels.take(rows),
        problematic=np.zeros(len(rows), dtype=bool),
        sources=(*images.sources, labels.REAL_SOURCE),
    )


def _check_targets(validation_rows: NDArray[np.intp], images: LabelInputs, folder: Path) -> None:
    original = labels.original_labels()[validation_rows]
    wrong = np.flatnonzero(original != images.all_targets)
    if len(wrong):
        others = "1 image has another class than its folder"
        if len(wrong) > 1:
            others = f"{len(wrong):,} images have another class than their folder"
        raise InvalidEvidence(
            f"{folder}: {images.names[wrong[0]].decode()!r:.120} is in the folder of another class. In ImageNet's "
            f"validation set, its class is {imagenet_1k().ids[original[wrong[0]]]}; {others}. "
            "Extract the images again.",
            field="images",
        )
