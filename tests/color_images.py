"""A data set with its own classes: solid images of ten colors, one of each, and bundles for them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from service.domain import ClassPairs, Labels, LabelSource, LabelSpace, Superclasses
from service.evidence.build import write_bundle
from service.evidence.inputs import BundleInputs, LabelInputs

# ID, name, synonym, superclass, and RGB value of each class.
COLORS = (
    ("c-red", "red", "rojo", "warm", (255, 0, 0)),
    ("c-lime", "lime", "verde lima", "cold", (0, 255, 0)),
    ("c-blue", "blue", "azul", "cold", (0, 0, 255)),
    ("c-yellow", "light yellow", "amarillo", "warm", (255, 255, 0)),
    ("c-cyan", "cyan", "cian", "cold", (0, 255, 255)),
    ("c-pink", "pink", "rosa", "warm", (255, 0, 255)),
    ("c-black", "black", "negro", "", (0, 0, 0)),
    ("c-white", "white", "blanco", "", (255, 255, 255)),
    ("c-maroon", "maroon", "granate", "warm", (128, 0, 0)),
    ("c-navy", "navy", "azul marino", "cold", (0, 0, 128)),
)
NAMES = [f"image-{index}.png" for index in range(len(COLORS))]
GROUPS = ("organism", "artifact", "other")


def colors(order: Sequence[int] = range(len(COLORS))) -> LabelSpace:
    """Return the label space, with its classes in any order."""
    rows = [COLORS[index] for index in order]
    return LabelSpace(
        name="colors",
        ids=tuple(row[0] for row in rows),
        names=tuple(row[1] for row in rows),
        synonyms=tuple((row[2],) for row in rows),
        synsets=("",) * len(rows),
        superclasses=Superclasses.from_names([[row[3]] if row[3] else [] for row in rows]),
        groups=GROUPS,
        group_members=np.array([[row[3] == superclass for row in rows] for superclass in ("warm", "cold", "")]),
        overlaps=ClassPairs.of(np.array([[0, 8]]), len(rows)),
    )


def build_colors(path: Path, order: Sequence[int] = range(len(COLORS)), dataset: str = "colors") -> str:
    """Write a bundle whose image N shows color N, and return its digest."""
    images = len(COLORS)
    label_space = colors(order)
    targets = np.array([label_space.ids.index(row[0]) for row in COLORS], dtype=np.int16)
    labels = Labels(
        offsets=np.arange(images + 1, dtype=np.int32),
        classes=targets,
        sources=np.full(images, LabelSource.ORIGINAL, dtype=np.uint8),
    )
    inputs = LabelInputs(
        names=np.array([name.encode() for name in NAMES]),
        all_targets=targets,
        rows=np.arange(images, dtype=np.int32),
        labels=labels,
        problematic=np.zeros(images, dtype=bool),
    )
    return write_bundle(BundleInputs(dataset, inputs, label_space, None, None, None, ()), path)


def write_images(folder: Path) -> Path:
    """Write the images as files of a folder by file name."""
    folder.mkdir(exist_ok=True)
    for name, row in zip(NAMES, COLORS, strict=True):
        Image.new("RGB", (16, 16), row[4]).save(folder / name)
    return folder
