"""Find image files in a folder: by the names in a data set, or in one folder per class."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from errata.errors import InvalidEvidence

from service.domain import LabelSpace
from service.evidence.artefacts import SampleOrder
from service.evidence.class_lookup import ClassLookup
from service.evidence.folder_layouts import TRAINING_IMAGES, images_in
from service.image_names import AMBIGUOUS, UNKNOWN, NameIndex


def find_images(folder: Path, names: Sequence[str], class_paths: Sequence[str], label_space: LabelSpace) -> list[str]:
    """Return the path of each image.

    `NameIndex` has the rule for the file that a name means. Symbolic links to files outside of the folder are ignored.

    Args:
        folder: Root folder.
        names: Names of the images in the data set: paths or file names.
        class_paths: The path of each image in a folder per class. It precedes the name, unless the name is exactly the
            path of a file. A file with the name that is in no folder of a class precedes a file that has the class path
            only with another extension.
        label_space: The classes. The name of a class folder is an ID or a name of the class. A folder whose name is the
            index of a class can be a class folder or a numbered part of the data set. If the file with the name is in
            such a folder, and another file has the class path with another extension, the name is ambiguous.

    Raises:
        InvalidEvidence: If the folder or an image does not exist, or if a name is ambiguous: several files match
            it, or its file matches several names and has another path.
    """
    root = folder.resolve()
    if not root.is_dir():
        raise InvalidEvidence(f"Folder of images not found: {folder}. Check the path of --images.", field="images")
    files = _list_files(root)
    index = NameIndex(_to_array(files))
    by_class_path, by_name = index.find(_to_array(class_paths)), index.find(_to_array(names))
    paths, lookup = {*files}, ClassLookup(label_space)

    def choose_file(name: str, named: int, file: int, class_path: str) -> int:
        """Return which of the files found by the name and by the class path is the image."""
        if name in paths or file < 0:
            return named
        has_class_path = os.path.splitext(files[file])[1] == os.path.splitext(class_path)[1]
        if has_class_path or named < 0 or named == file:
            return file
        class_names = [part for part in Path(files[named]).parent.parts if lookup.find(part) is not None]
        if not class_names:
            return named
        return AMBIGUOUS if all(map(str.isdigit, class_names)) else file

    rows = zip(names, by_name.tolist(), by_class_path.tolist(), class_paths, strict=True)
    indices = np.fromiter((choose_file(*row) for row in rows), dtype=np.int64)
    if missing := [names[row] for row in np.flatnonzero(indices == UNKNOWN).tolist()]:
        raise InvalidEvidence(
            f"{folder}: {len(missing):,} of {len(names):,} images are missing, such as {missing[0]!r:.80}. "
            "Add them, or check the path of --images.",
            field="images",
        )
    uses = Counter(indices.tolist())
    ambiguous = [
        name
        for name, file in zip(names, indices.tolist(), strict=True)
        if file == AMBIGUOUS or (uses[file] > 1 and files[file] != name)
    ]
    if ambiguous:
        raise InvalidEvidence(
            f"{folder}: the names of {len(ambiguous):,} of {len(names):,} images are ambiguous, such as "
            f"{ambiguous[0]!r:.80}: several files match the name, or several names match the file. Use the paths of "
            "the files as names.",
            field="images",
        )
    return [str(root / files[file]) for file in indices.tolist()]


def _list_files(root: Path) -> list[str]:
    """Return the paths of all files below a folder, relative to it."""
    files = []
    for parent, _, names in os.walk(root):
        for name in names:
            path = os.path.join(parent, name)
            # Unlike `Path.resolve`, `realpath` raises no error for a link to itself.
            if not os.path.islink(path) or Path(os.path.realpath(path)).is_relative_to(root):
                files.append(os.path.relpath(path, root))
    return files


def _to_array(paths: Sequence[str]) -> pa.Array:
    return pa.array([os.fsencode(path) for path in paths], pa.binary())


def class_folders(folder: Path, label_space: LabelSpace) -> SampleOrder:
    """Return all training images of a folder with one folder per class, sorted by path.

    The name of each folder is the ID, name, or index of a class. Files that are no images, and files and folders whose
    name starts with a dot, are ignored.

    Raises:
        InvalidEvidence: If the folder does not exist or has no class folders, or if a class folder has no images or
            has subfolders.
    """
    option = TRAINING_IMAGES.option
    if not folder.is_dir():
        raise InvalidEvidence(
            f"Folder of training images not found: {folder}. Check the path of --train-images.", field=option
        )
    lookup = ClassLookup(label_space)
    names: list[str] = []
    targets: list[int] = []
    for parent in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
        target = lookup.find(parent.name)
        if target is None:
            raise InvalidEvidence(f"{folder}: {lookup.describe_problem(parent.name)}.", field=option)
        files = sorted(images_in(folder, parent, parent.name, TRAINING_IMAGES))
        names += [f"{parent.name}/{name}" for name in files]
        targets += [target] * len(files)
    if not names:
        raise InvalidEvidence(
            f"{folder} has no class folders. Pass a folder with one folder of images per class.", field=option
        )
    return SampleOrder(tuple(names), np.array(targets, dtype=np.int16))
