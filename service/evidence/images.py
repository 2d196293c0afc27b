"""Where images lie: files below a folder, by the name that a data set gives them or by `wnid/file`."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from errata.errors import InvalidEvidence

from service.evidence.annotation import class_of_wordnet_id
from service.evidence.artefacts import SampleOrder

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")  # lower case


def find_images(folder: Path, names: Sequence[str]) -> list[str]:
    """Return the path of each named image; raise InvalidEvidence for the first that isn't there.

    A name may be a path below the folder, or the bare name of one file; links that lead out aren't followed.
    """
    root = folder.resolve()
    if not root.is_dir():
        raise InvalidEvidence(f"expected a folder of images, got {folder}", field="images")
    paths: dict[str, str] = {}
    bare: dict[str, str | None] = {}  # None: several have it
    for parent, _, files in os.walk(root):
        for file in files:
            path = os.path.join(parent, file)
            if os.path.islink(path) and not Path(path).resolve().is_relative_to(root):
                continue
            paths[os.path.relpath(path, root)] = path
            bare[file] = None if file in bare else path
    result = [paths.get(name) or bare.get(name.rsplit("/", 1)[-1]) for name in names]
    missing = [name for name, path in zip(names, result, strict=True) if path is None]
    if missing:
        raise InvalidEvidence(
            f"{folder}: expected {len(names)} images, got none, or several of a bare name, for {len(missing)} of them, "
            f"such as {missing[0]!r:.80}",
            field="images",
        )
    return [path for path in result if path is not None]


def class_folders(folder: Path) -> SampleOrder:
    """Return all images of a folder of classes, `wnid/file`, sorted; raise InvalidEvidence for any other folder."""
    if not folder.is_dir():
        raise InvalidEvidence(f"expected a folder of class folders, got {folder}", field="images")
    names: list[str] = []
    targets: list[int] = []
    for parent in sorted(path for path in folder.iterdir() if path.is_dir()):
        target = class_of_wordnet_id(parent.name, f"{folder}")
        files = sorted(path.name for path in parent.iterdir() if path.suffix.lower() in SUFFIXES)
        names += [f"{parent.name}/{name}" for name in files]
        targets += [target] * len(files)
    if not names:
        raise InvalidEvidence(f"{folder}: expected images in wnid/file, got none", field="images")
    return SampleOrder(tuple(names), np.array(targets, dtype=np.int16))
