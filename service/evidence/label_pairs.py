"""Co-occurrence of classes in the labels of a data set, in ReaL labels, or in the labels of other images."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from service.domain import IMAGENET_1K, LabelSource, LabelSpace, Mask
from service.evidence import labels
from service.evidence.annotation import Annotation
from service.evidence.build_inputs import OWN_LICENSE, Inputs, file_source
from service.evidence.built_in import BUILT_IN, has_validation_images
from service.evidence.cooccurrence import count_pairs
from service.evidence.inputs import BundleInputs, CooccurrenceInputs, LabelInputs, Source
from service.evidence.label_files import read_labels
from service.image_names import UNKNOWN, NameIndex

SOURCE = "co-occurrence"
OWN_LABELS = "pairs of the labels of the data set"
ALL_IGNORED = "all of its images are images of the data set, and ignored"


def count_cooccurrence(
    dataset: str, inputs: Inputs, images: LabelInputs, label_space: LabelSpace, annotation: Annotation | None
) -> tuple[CooccurrenceInputs | None, Source]:
    """Count the co-occurrence pairs for a data set. The data set and its inputs determine which labels are counted.

    Returns:
        The pairs (None: the rule abstains), and their source.
    """
    if inputs.cooccurrence is not None:
        return read_pairs(inputs.cooccurrence, images, label_space, inputs.min_cooccurrence)
    if inputs.labels is not None or label_space.name != IMAGENET_1K:
        return pairs_of_labels(images, inputs.min_cooccurrence)
    if dataset == "imagenet-real" or has_validation_images(dataset):
        real = labels.imagenet_real()
        return _count_rows(real, np.arange(len(real.rows))), _real_source("have any")
    return _real_and_original_pairs(*_uncounted_images(dataset, annotation, images))


def recount_pairs(before: BundleInputs, images: LabelInputs) -> CooccurrenceInputs | None:
    """Return the pairs of a bundle with other labels.

    Pairs that were counted over the labels of the images are counted again: with the old pairs, an image whose label
    was removed would support the error of predicting it.
    """
    sources = [(source.name, source.origin) for source in before.sources]
    if (SOURCE, OWN_LABELS) in sources:
        return pairs_of_labels(images, before.min_cooccurrence)[0]
    has_real_labels = any(source.name == labels.REAL_SOURCE.name for source in before.sources)
    if has_real_labels and (SOURCE, _real_source("have any").origin) in sources:
        return _corrected_real_pairs(images)
    return before.pairs


def _corrected_real_pairs(images: LabelInputs) -> CooccurrenceInputs:
    """Count the pairs of ReaL labels, with the labels of the data set for its images, which are validation images.

    A validation image with several versions in the data set counts with the labels that all of them have, so that none
    of them supports its own error. A version that is problematic has none.
    """
    validation_rows = labels.validation_rows(images.names.tolist())
    assert (validation_rows >= 0).all(), "this is a bug: ReaL labels are only those of validation images"
    in_dataset = {*validation_rows.tolist()}
    real = labels.real_labels()
    counted = [set() if row in in_dataset else {*real.of(row).tolist()} for row in range(len(real.counts))]
    shared: dict[int, set[int]] = {}
    for row, version_of in enumerate(validation_rows[images.rows].tolist()):
        version = set() if images.problematic[row] else {*images.labels.of(row).tolist()}
        shared[version_of] = shared.get(version_of, version) & version
    for row, classes in shared.items():
        counted[row] = classes
    image_labels = labels.pack_labels([dict.fromkeys(sorted(classes), LabelSource.REAL) for classes in counted])
    return count_pairs(image_labels, np.arange(1, len(counted) + 1, dtype=np.int32))


def _uncounted_images(dataset: str, annotation: Annotation | None, images: LabelInputs) -> tuple[Mask | None, str]:
    """Return the mask of validation images that do not count for co-occurrence, and a text about those that count."""
    judged = _validation_images(images.names[images.rows].tolist())  # an image must not be evidence for its own errors
    if annotation is not None:
        annotated = _validation_images([name.encode() for name in annotation.images])
    elif dataset in BUILT_IN:
        annotated = labels.annotated_images()
    else:
        return None, "have any"
    if (judged & ~annotated).any():
        return judged | annotated, "are neither in the multi-label annotation nor in the data set"
    return annotated, "are not in the multi-label annotation"


def _validation_images(names: Sequence[bytes]) -> Mask:
    """Return the mask of the validation images that have one of the names, (50000,)."""
    rows = labels.validation_rows(names)
    mask = np.zeros(labels.NUM_VALIDATION_IMAGES, dtype=bool)
    mask[rows[rows >= 0]] = True
    return mask


def _real_and_original_pairs(uncounted: Mask | None, which: str) -> tuple[CooccurrenceInputs | None, Source]:
    """Count the pairs of ReaL and original labels in all validation images except for the uncounted ones.

    Returns:
        The pairs, and their source; None instead of the pairs if there are none, because no image is counted.
    """
    image_labels, has_real_labels = labels.real_and_original_labels()
    rows = np.flatnonzero(has_real_labels if uncounted is None else has_real_labels & ~uncounted)
    pairs = count_pairs(image_labels.take(rows), (rows + 1).astype(np.int32))
    return pairs if len(pairs.classes) else None, _real_source(which)


def _real_source(which: str) -> Source:
    origin = f"pairs of ReaL labels (Beyer et al. 2020) of validation images that {which}"
    return Source(SOURCE, origin, "Apache-2.0")


def pairs_of_labels(images: LabelInputs, min_count: int) -> tuple[CooccurrenceInputs | None, Source]:
    """Count the pairs of labels of a data set; None if no pair occurs in at least `min_count` images.

    No image is evidence for its own error: a prediction that is a label of the image is decided by an earlier rule.
    """
    rows = np.flatnonzero(~images.problematic)
    return _count(images, rows, min_count), Source(SOURCE, OWN_LABELS, OWN_LICENSE)


def read_pairs(
    path: Path, images: LabelInputs, label_space: LabelSpace, min_count: int
) -> tuple[CooccurrenceInputs | None, Source]:
    """Count the pairs of labels in a file; None if no pair occurs in at least `min_count` images.

    Evaluated images of the data set are ignored, so that no image is evidence for its own error. The origin of the
    source says so if no other images are left.
    """
    others = read_labels(path, label_space)
    judged = NameIndex(pa.array(images.names[images.rows].tolist(), pa.binary()))
    is_judged = judged.find(pa.array(others.names[others.rows].tolist(), pa.binary())) != UNKNOWN
    source = file_source(SOURCE, path, OWN_LICENSE)
    if is_judged.all():
        source = replace(source, origin=f"{source.origin}; {ALL_IGNORED}")
    rows = np.flatnonzero(~others.problematic & ~is_judged)
    return _count(others, rows, min_count), source


def _count_rows(images: LabelInputs, rows: NDArray[np.intp]) -> CooccurrenceInputs:
    return count_pairs(images.labels.take(rows), (images.rows[rows] + 1).astype(np.int32))


def _count(images: LabelInputs, rows: NDArray[np.intp], min_count: int) -> CooccurrenceInputs | None:
    pairs = _count_rows(images, rows)
    frequent = pairs.counts >= min_count
    if not frequent.any():
        return None
    numbers, examples = np.unique(pairs.examples[frequent], return_inverse=True)
    has_zero = int(numbers[0] == 0)  # the number 0 stands for no image
    return replace(
        pairs,
        classes=pairs.classes[frequent],
        counts=pairs.counts[frequent],
        examples=(examples.reshape(-1, pairs.examples.shape[1]) + 1 - has_zero).astype(np.int32),
        names=images.names[numbers[has_zero:] - 1],
    )
