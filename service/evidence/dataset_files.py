"""Read all files of a data set, and collect all errors in these files."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from errata.errors import InvalidInput

from service.domain import IMAGENET_1K, LabelSpace
from service.evidence.artefacts import read_grouping
from service.evidence.build_inputs import Inputs
from service.evidence.built_in import BUILT_IN, check_classes, find_built_in
from service.evidence.class_files import read_classes, read_groups, read_overlaps, read_superclasses
from service.evidence.dataset_check import Dataset
from service.evidence.input_files import list_more_violations
from service.evidence.inputs import CooccurrenceInputs, LabelInputs
from service.evidence.label_files import read_labels
from service.evidence.label_pairs import ALL_IGNORED, pairs_of_labels, read_pairs
from service.evidence.vocabulary_file import read_vocabulary
from service.taxonomy.imagenet_1k import imagenet_1k

MAX_LISTED = 10_000  # errors of one file
_T = TypeVar("_T")


@dataclass(frozen=True)
class FileError:
    """One error in a file."""

    file: str  # its name
    message: str
    field: str = ""
    unit: str = ""  # of `line`: "line", in Parquet files "row", or in JSON files "class", "image", or "overlap"
    line: int | None = None  # 1-based


@dataclass
class DatasetFiles:
    """The valid content of the files of a data set, and the errors of these files."""

    dataset: Dataset | None = None  # None: the classes have errors
    errors: list[FileError] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)  # names of unread files, which need a file that has errors

    def read(self, path: Path, reader: Callable[[], _T]) -> _T | None:
        """Return the content of a file. If it has errors, add them, and return None."""
        try:
            with list_more_violations(MAX_LISTED):
                return reader()
        except InvalidInput as error:
            self.errors += _errors_of(path.name, error)
            return None


def read_files(name: str, inputs: Inputs) -> DatasetFiles:
    """Read the files of a data set.

    Args:
        name: Name of the data set. Without --classes, its classes are those of the built-in data set of this name, or
            ImageNet-1k.
        inputs: The files. A vocabulary, which only an encoder needs, is only checked for errors.
    """
    files = DatasetFiles()
    label_space = _read_label_space(name, inputs, files)
    if label_space is None:
        relations = (inputs.overlaps, inputs.superclasses, inputs.groups)
        later = (*relations, inputs.labels, inputs.cooccurrence, inputs.vocabulary)
        files.unchecked += [path.name for path in later if path is not None]
        return files
    images = _read_images(name, inputs, label_space, files)
    pairs, pairs_note = _read_pairs(inputs, images, label_space, files)
    if inputs.vocabulary is not None:
        files.read(inputs.vocabulary, partial(read_vocabulary, inputs.vocabulary, label_space))
    files.dataset = Dataset(
        label_space=label_space,
        images=images,
        pairs=pairs,
        pairs_note=pairs_note,
        min_cooccurrence=inputs.min_cooccurrence,
        has_own_classes=inputs.classes is not None,
        has_overlaps=inputs.overlaps is not None,
        has_vocabulary=inputs.vocabulary is not None,
    )
    return files


def _read_label_space(name: str, inputs: Inputs, files: DatasetFiles) -> LabelSpace | None:
    """Return the classes, with the overlaps, superclasses, and groups from those files of the inputs that are valid."""
    label_space = _read_classes(name, inputs.classes, files)
    if label_space is None:
        return None
    for path, read in (
        (inputs.overlaps, read_overlaps),
        (inputs.superclasses, _with_superclasses),
        (inputs.groups, read_groups),
    ):
        if path is not None:
            label_space = files.read(path, partial(read, path, label_space)) or label_space
    return label_space


def _read_classes(name: str, path: Path | None, files: DatasetFiles) -> LabelSpace | None:
    if path is not None:
        return files.read(path, partial(read_classes, path, name))
    built_in = find_built_in(name)
    return imagenet_1k() if built_in is None else BUILT_IN[built_in].label_space()


def _with_superclasses(path: Path, label_space: LabelSpace) -> LabelSpace:
    if label_space.name == IMAGENET_1K:
        return replace(label_space, superclasses=read_grouping(path).superclasses)
    return read_superclasses(path, label_space)


def _read_images(name: str, inputs: Inputs, label_space: LabelSpace, files: DatasetFiles) -> LabelInputs | None:
    if (path := inputs.labels) is None:
        return None
    images = files.read(path, partial(read_labels, path, label_space))
    built_in = None if inputs.classes is not None else find_built_in(name)
    if images is None or built_in is None:
        return images
    return files.read(path, partial(check_classes, built_in, images))


def _read_pairs(
    inputs: Inputs, images: LabelInputs | None, label_space: LabelSpace, files: DatasetFiles
) -> tuple[CooccurrenceInputs | None, str]:
    """Return the pairs of classes, and why the file of other images has no effect."""
    path, minimum = inputs.cooccurrence, inputs.min_cooccurrence
    if path is not None and images is None:
        files.read(path, partial(read_labels, path, label_space))
    if images is None:
        return None, ""
    if path is None:
        return pairs_of_labels(images, minimum)[0], ""
    result = files.read(path, partial(read_pairs, path, images, label_space, minimum))
    pairs, source = (None, None) if result is None else result
    return pairs, ALL_IGNORED if source is not None and source.origin.endswith(ALL_IGNORED) else ""


def _errors_of(file: str, error: InvalidInput) -> list[FileError]:
    """Return the errors of a file, without the place that is in their descriptions."""
    match = re.match(rf"{re.escape(file)}(?:, \w+ \d+)?: ", error.message)
    place = "" if match is None else match[0]
    errors = [
        FileError(
            file,
            violation.description.removeprefix(place),
            violation.field,
            violation.unit if violation.line is not None else "",
            violation.line,
        )
        for violation in error.violations
    ]
    return errors or [FileError(file, error.message.removeprefix(place))]
