"""Built-in data sets whose images come from a folder or from a labels file: one row of BUILT_IN for each."""

import csv
import io
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import compress
from pathlib import Path

from errata.errors import InvalidEvidence

from service.domain import LabelSpace, create_label_space
from service.evidence import labels
from service.evidence.artefacts import SampleOrder
from service.evidence.folder_layouts import (
    CLASS_NUMBERS,
    CORRUPTIONS,
    NAMED_CLASSES,
    WORDNET_IDS,
    FolderLayout,
    read_folders,
)
from service.evidence.inputs import LabelInputs, Source
from service.evidence.validation_variants import add_real_labels
from service.taxonomy.imagenet_1k import imagenet_1k

CIFAR_100 = "cifar-100"
_MAX_NAMED = 3  # classes in a message


@cache
def cifar_100() -> LabelSpace:
    """Return the 100 classes of CIFAR-100 in their usual, alphabetical order, with the data set's 20 superclasses."""
    rows = csv.DictReader(io.StringIO(_data("cifar100_classes.csv")))
    classes = [
        {"id": row["name"], "name": row["name"], "synonyms": (), "synset": ""}
        | {"superclasses": (row["superclass"],), "groups": (row["group"],)}
        for row in rows
    ]
    return create_label_space(CIFAR_100, classes)


@dataclass(frozen=True)
class BuiltIn:
    """Facts about a built-in data set."""

    label_space: Callable[[], LabelSpace]
    layout: FolderLayout
    num_images: int  # published images; for ImageNet-C: of each corruption and severity
    class_images: int | None = None  # published images of each class; None: the numbers differ
    classes_file: str = ""  # package data: the IDs of its classes; empty: all classes of the label space
    has_variants: bool = False  # NAME-SUFFIX is a part or a version of the data set
    has_validation_images: bool = False  # changed versions of validation images, with the same names

    @property
    def classes(self) -> frozenset[int]:
        """Return the classes of the data set."""
        label_space = self.label_space()
        if not self.classes_file:
            return frozenset(range(label_space.num_classes))
        index_of = {id_: index for index, id_ in enumerate(label_space.ids)}
        return frozenset(index_of[id_] for id_ in _data(self.classes_file).split())


BUILT_IN: Mapping[str, BuiltIn] = {
    "imagenet-a": BuiltIn(imagenet_1k, WORDNET_IDS, 7_500, classes_file="imagenet_a_classes.txt"),
    "imagenet-r": BuiltIn(imagenet_1k, WORDNET_IDS, 30_000, classes_file="imagenet_r_classes.txt"),
    "imagenet-sketch": BuiltIn(imagenet_1k, WORDNET_IDS, 50_889),
    "imagenet-v2": BuiltIn(imagenet_1k, CLASS_NUMBERS, 10_000, 10, has_variants=True),
    "imagenet-c": BuiltIn(imagenet_1k, CORRUPTIONS, 50_000, 50, has_variants=True, has_validation_images=True),
    CIFAR_100: BuiltIn(cifar_100, NAMED_CLASSES, 10_000, 100),
}


def find_built_in(name: str) -> str | None:
    """Return the built-in data set of a name, such as `imagenet-c` for `imagenet-c-fog-3`; None if there is none."""
    if name in BUILT_IN:
        return name
    return next((base for base, row in BUILT_IN.items() if row.has_variants and name.startswith(f"{base}-")), None)


def known_classes(dataset: str, label_space: LabelSpace) -> frozenset[int]:
    """Return the classes of a built-in data set; empty for other data sets, and if it has a label space of its own."""
    name = find_built_in(dataset)
    if name is None or BUILT_IN[name].label_space().ids != label_space.ids:
        return frozenset()
    return BUILT_IN[name].classes


def has_validation_images(name: str) -> bool:
    """Return whether the images of a data set are changed versions of ImageNet's validation images."""
    return name in BUILT_IN and BUILT_IN[name].has_validation_images


def read_images(name: str, folder: Path) -> LabelInputs:
    """Return the images of a folder. The class of an image is that of the subfolder that contains it.

    Args:
        name: A data set of BUILT_IN.
        folder: The folder of the images.

    Raises:
        InvalidEvidence: If a folder or an image does not belong to the data set.
    """
    dataset = BUILT_IN[name]
    samples = read_folders(folder, dataset.layout, dataset.label_space())
    _check_folder_classes(name, samples, folder)
    num_published = _check_counts(name, samples, folder)
    source = Source("images", f"a local folder, {len(samples.names):,} of {num_published:,} images", "its authors'")
    images = labels.single_labels(samples, (source,))
    return add_real_labels(images, folder) if dataset.has_validation_images else images


def check_classes(name: str, images: LabelInputs) -> LabelInputs:
    """Return the labels of a labels file if they are classes of the data set.

    Raises:
        InvalidEvidence: If the data set does not have the class of a label; the message names the image.
    """
    others = {*images.labels.classes.tolist(), *images.all_targets.tolist()} - BUILT_IN[name].classes
    if others:
        rows = range(len(images.rows))
        is_other = ({*images.labels.of(row).tolist(), int(images.targets[row])} & others for row in rows)
        image = images.names[images.rows[next(compress(rows, is_other))]].decode()
        raise InvalidEvidence(
            f"{image!r:.120}: {_describe(name, others)} no class of {name}. Correct the labels, or choose another data "
            "set name.",
            field="labels",
        )
    return images


def _check_folder_classes(name: str, samples: SampleOrder, folder: Path) -> None:
    others = {*samples.targets.tolist()} - BUILT_IN[name].classes
    if others:
        names = BUILT_IN[name].label_space().names
        paths = zip(samples.names, samples.targets.tolist(), strict=True)
        class_folders = {path.rpartition("/")[0]: names[target] for path, target in paths if target in others}
        listed = [f"{class_folder:.120} ({class_name})" for class_folder, class_name in class_folders.items()]
        more = f", and {len(listed) - _MAX_NAMED:,} more" if len(listed) > _MAX_NAMED else ""
        problem = "1 folder is not a class" if len(listed) == 1 else f"{len(listed):,} folders are not classes"
        raise InvalidEvidence(
            f"{folder}: {problem} of {name}: {', '.join(listed[:_MAX_NAMED])}{more}. Delete "
            f"{'it' if len(listed) == 1 else 'them'}, or check --images.",
            field="images",
        )


def _describe(name: str, classes: set[int]) -> str:
    label_space = BUILT_IN[name].label_space()
    named = ", ".join(
        f"{label_space.names[index]} ({label_space.ids[index]})" for index in sorted(classes)[:_MAX_NAMED]
    )
    more = f" and {len(classes) - _MAX_NAMED:,} more" if len(classes) > _MAX_NAMED else ""
    return f"{named}{more} {'is' if len(classes) == 1 else 'are'}"


def _check_counts(name: str, samples: SampleOrder, folder: Path) -> int:
    """Return the number of published images; raise InvalidEvidence if a folder has more images than published.

    A folder with fewer images is accepted as a part of the data set. The sources of the bundle state both numbers.
    """
    dataset = BUILT_IN[name]
    class_folders = Counter(path.rpartition("/")[0] for path in samples.names)
    class_folder, largest = class_folders.most_common(1)[0]
    if dataset.class_images is not None and largest > dataset.class_images:
        raise InvalidEvidence(
            f"{folder}: folder {class_folder!r:.120} has {largest:,} images, but {name} has {dataset.class_images} in "
            "each class. Delete the other images, or use the folder of this data set.",
            field="images",
        )
    parts = len({path.rpartition("/")[0] for path in class_folders}) if dataset.layout.parents_are_parts else 1
    if len(samples.names) > dataset.num_images * parts:
        raise InvalidEvidence(
            f"{folder}: {len(samples.names):,} images, but {name} has {dataset.num_images * parts:,}. Delete the other "
            "images, or use the folder of this data set.",
            field="images",
        )
    return dataset.num_images * parts


def _data(file: str) -> str:
    return (files("service.evidence") / "data" / file).read_text(encoding="utf-8")
