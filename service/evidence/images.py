"""Find image files in a folder: by the names in a data set, or in one folder per class."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from errata.errors import InvalidEvidence

from service.domain import LabelSpace
from service.evidence.artefacts import SampleOrder
from service.evidence.class_lookup import ClassLookup

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")  # lower case


def find_images(folder: Path, names: Sequence[str]) -> list[str]:
    """Return the path of each image.

    Symbolic links to files outside of the folder are ignored.

    Args:
        folder: Root folder.
        names: Paths relative to the folder, or unique file names.

    Raises:
        InvalidEvidence: If the folder or an image does not exist, or if a file name is ambiguous.
    """
    root = folder.resolve()
    if not root.is_dir():
        raise InvalidEvidence(f"Folder of images not found: {folder}.", field="images")
    paths: dict[str, str] = {}
    by_file_name: dict[str, str | None] = {}  # None: several files have this name
    for parent, _, files in os.walk(root):
        for file in files:
            path = os.path.join(parent, file)
            if os.path.islink(path) and not Path(path).resolve().is_relative_to(root):
                continue
            paths[os.path.relpath(path, root)] = path
            by_file_name[file] = None if file in by_file_name else path
    candidates = [paths.get(name) or by_file_name.get(name.rsplit("/", 1)[-1]) for name in names]
    missing = [name for name, path in zip(names, candidates, strict=True) if path is None]
    if missing:
        raise InvalidEvidence(
            f"{folder}: {len(missing)} of {len(names)} images are missing or have an ambiguous file name, such as "
            f"{missing[0]!r:.80}.",
            field="images",
        )
    return [path for path in candidates if path is not None]


def class_folders(folder: Path, label_space: LabelSpace) -> SampleOrder:
    """Return all images of a folder with one folder per class, sorted by path.

    The name of each folder is the ID, name, or index of a class.

    Raises:
        InvalidEvidence: If the folder does not exist, has no images, or has other subfolders.
    """
    if not folder.is_dir():
        raise InvalidEvidence(f"Folder of class folders not found: {folder}.", field="images")
    lookup = ClassLookup(label_space)
    names: list[str] = []
    targets: list[int] = []
    for parent in sorted(path for path in folder.iterdir() if path.is_dir()):
        target = lookup.find(parent.name)
        if target is None:
            raise InvalidEvidence(f"{folder}: {lookup.describe_problem(parent.name)}.", field="images")
        files = sorted(path.name for path in parent.iterdir() if path.suffix.lower() in SUFFIXES)
        names += [f"{parent.name}/{name}" for name in files]
        targets += [target] * len(files)
    if not names:
        raise InvalidEvidence(
            f"{folder} has no images. Pass a folder with one folder of images per class.", field="images"
        )
    return SampleOrder(tuple(names), np.array(targets, dtype=np.int16))
