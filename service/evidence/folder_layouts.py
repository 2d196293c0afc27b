"""Folders of images whose names are classes: `n01440764/file`, `2/file`, `fog/3/n01440764/file`, `fish/ray/file`."""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from errata.errors import InvalidEvidence

from service.domain import LabelSpace
from service.evidence.artefacts import SampleOrder
from service.image_formats import EXTENSIONS

_UNUSABLE = re.compile(  # invisible characters, characters that reorder the text, and bytes that are not UTF-8
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_SEVERITY = re.compile(r"[1-5]")


@dataclass(frozen=True)
class FolderLayout:
    """How the path of an image names its class."""

    pattern: str  # for people, such as "corruption/severity/wnid/file"
    parse_class: Callable[[LabelSpace, str], int | None]  # the class of a folder name; None: the name is no class
    max_parents: int = 0  # folders above a class folder
    parents_are_parts: bool = False  # each folder above class folders has all classes, as in ImageNet-C
    check_parents: Callable[[LabelSpace, tuple[str, ...], int], str] = lambda *_: ""  # the problem; empty: none
    option: str = "images"  # field of the input that is the folder


def read_folders(folder: Path, layout: FolderLayout, label_space: LabelSpace) -> SampleOrder:
    """Return all images of a folder, sorted by path. Their names are paths relative to the folder.

    Files that are no images, and files and folders whose name starts with a dot, are ignored.

    Raises:
        InvalidEvidence: If the folder does not exist; if a folder in it belongs to no class, has no images, or belongs
            to the same class as another folder; or if an image is outside of the class folders.
    """
    if not folder.is_dir():
        raise InvalidEvidence(
            f"Folder of images {str(folder)!r} not found. Check the path of --images.", field="images"
        )
    try:
        names, targets = _read_class_folders(folder, layout, label_space)
    except OSError as error:
        raise InvalidEvidence(
            f"Cannot read {error.filename or folder}: {error.strerror}. Check its permissions.", field="images"
        ) from error
    if not names:
        raise InvalidEvidence(f"{folder} has no class folders. Pass images as {layout.pattern}.", field="images")
    order = sorted(range(len(names)), key=lambda row: names[row].encode())
    return SampleOrder(tuple(names[row] for row in order), np.array(targets, dtype=np.int16)[order])


def _read_class_folders(folder: Path, layout: FolderLayout, label_space: LabelSpace) -> tuple[list[str], list[int]]:
    """Return the names of all images, and their classes."""
    class_folders: dict[tuple[str, ...], str] = {}  # parents and class
    names: list[str] = []
    targets: list[int] = []
    for path, parents, target in _class_folders(folder, (), layout, label_space):
        name, key = "/".join((*parents, path.name)), (*parents, str(target))
        if _UNUSABLE.search(name):
            raise _invalid(folder, name, "has unusable characters in its name; rename it", layout)
        if problem := layout.check_parents(label_space, parents, target):
            raise _invalid(folder, name, problem, layout)
        if key in class_folders:
            problem = f"means the same class as {class_folders[key]!r:.80}; merge or rename them"
            raise _invalid(folder, name, problem, layout)
        if len(key) != len(next(iter(class_folders), key)):
            raise _invalid(folder, name, "is not as deep as the other class folders; move it", layout)
        class_folders[key] = name
        files = images_in(folder, path, name, layout)
        names += [f"{name}/{file}" for file in files]
        targets += [target] * len(files)
    return names, targets


def _class_folders(
    folder: Path, parents: tuple[str, ...], layout: FolderLayout, label_space: LabelSpace
) -> Iterator[tuple[Path, tuple[str, ...], int]]:
    """Yield, sorted by name, each class folder, the names of the folders above the class folder, and its class."""
    root = folder.parents[len(parents) - 1] if parents else folder
    entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    for path in entries:
        name = "/".join((*parents, path.name))
        if not path.is_dir():
            if path.suffix.lower() in EXTENSIONS:
                if parents:
                    problem = "has images, but belongs to no class; rename or delete it"
                    raise _invalid(root, "/".join(parents), problem, layout)
                raise _invalid(root, name, "is an image outside of the class folders; move or delete it", layout)
            continue
        target = layout.parse_class(label_space, path.name)
        if target is not None:
            yield path, parents, target
        elif len(parents) < layout.max_parents:
            yield from _class_folders(path, (*parents, path.name), layout, label_space)
        else:
            raise _invalid(root, name, f"belongs to no class; {_remedy(path, layout, label_space)}", layout)
    if parents and not any(path.is_dir() for path in entries):
        raise _invalid(root, "/".join(parents), "has no class folders; delete it, or extract its images again", layout)


def _remedy(path: Path, layout: FolderLayout, label_space: LabelSpace) -> str:
    """Return how to correct a folder that is no class folder. The folder may contain the class folders."""
    folders = [child.name for child in path.iterdir() if child.is_dir()]
    if any(layout.parse_class(label_space, name) is not None for name in folders):
        return f"pass {str(path)!r} with --images instead"
    return "rename or delete it"


def images_in(root: Path, path: Path, name: str, layout: FolderLayout) -> list[str]:
    """Return the names of the images of a class folder; raise InvalidEvidence if it has no images or has subfolders.

    Files that are no images, and names that start with a dot, are ignored.
    """
    files = []
    with os.scandir(path) as entries:
        for entry in entries:
            file = entry.name
            if file.startswith("."):
                continue
            if entry.is_dir():
                raise _invalid(root, f"{name}/{file}", "is a folder in a class folder; move its images up", layout)
            if not file.lower().endswith(EXTENSIONS):
                continue
            if _UNUSABLE.search(file):
                raise _invalid(root, name, f"has a file name with unusable characters; rename {file!r:.60}", layout)
            files.append(file)
    if not files:
        raise _invalid(root, name, "has no images; delete it, or extract its images again", layout)
    return files


def _invalid(root: Path, name: str, problem: str, layout: FolderLayout) -> InvalidEvidence:
    message = f"{root}: {name!r:.120} {problem}. Expected images as {layout.pattern}."
    return InvalidEvidence(message, field=layout.option)


def _class_of_id(label_space: LabelSpace, name: str) -> int | None:
    classes = label_space.match(name)
    return classes[0] if len(classes) == 1 and label_space.ids[classes[0]] == name else None


def _class_of_number(label_space: LabelSpace, name: str) -> int | None:
    """Return the class of a number without leading zeros. The folder "10" is class 10, even if it is listed third."""
    if not (name.isascii() and name.isdigit()) or (len(name) > 1 and name.startswith("0")) or len(name) > 5:
        return None
    return int(name) if int(name) < label_space.num_classes else None


def _check_severity(label_space: LabelSpace, parents: tuple[str, ...], target: int) -> str:
    if parents and not _SEVERITY.fullmatch(parents[-1]):
        return f"is not in a folder of a severity from 1 to 5, but in {parents[-1]!r:.60}"
    return ""


def _check_superclass(label_space: LabelSpace, parents: tuple[str, ...], target: int) -> str:
    superclasses = label_space.superclasses.names_of(target)
    if parents and parents[0].replace("_", " ") not in superclasses:
        return f"is in the folder {parents[0]!r:.60}, but its superclass is {superclasses[0]!r}"
    return ""


WORDNET_IDS = FolderLayout("wnid/file, such as n01440764/a.jpg", _class_of_id)
CLASS_NUMBERS = FolderLayout("class number/file, such as 0/a.jpg", _class_of_number)
CORRUPTIONS = FolderLayout(
    "corruption/severity/wnid/file, severity/wnid/file, or wnid/file",
    _class_of_id,
    max_parents=2,
    parents_are_parts=True,
    check_parents=_check_severity,
)
NAMED_CLASSES = FolderLayout(
    "class/file or superclass/class/file", LabelSpace.parse, max_parents=1, check_parents=_check_superclass
)
TRAINING_IMAGES = FolderLayout("class/file", LabelSpace.parse, option="train_images")
