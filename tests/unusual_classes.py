"""A data set with its own classes: names with spaces, HTML, quotes, other scripts, and of 200 characters."""

from pathlib import Path
from typing import Any

import numpy as np

from service.domain import Labels, LabelSource, LabelSpace, create_label_space
from service.evidence.build import write_bundle
from service.evidence.inputs import BundleInputs, LabelInputs, Source

DATASET = "products"
HTML = "<script>alert('1')</script> & \"quoted\""
LONG = "a very long name " * 11 + "of 200 letters"
CLASSES: list[dict[str, Any]] = [
    {"id": "sku-1", "name": "running shoe", "synonyms": ["trainer"], "superclasses": ["shoes"], "groups": ["footwear"]},
    {"id": "sku-2", "name": "ballet shoe", "synonyms": [], "superclasses": ["shoes"], "groups": ["footwear"]},
    {"id": "sku-3", "name": HTML, "synonyms": [], "superclasses": [], "groups": ["other"]},
    {"id": "sku-4", "name": "crane", "synonyms": ["bird"], "superclasses": [], "groups": ["other"]},
    {"id": "sku-5", "name": "crane", "synonyms": ["machine"], "superclasses": [], "groups": ["other"]},
    {"id": "sku-6", "name": "Brötchen 面包", "synonyms": [], "superclasses": [], "groups": ["food"]},
    {"id": "3", "name": "three", "synonyms": ["sku/7"], "superclasses": [], "groups": ["other"]},
    {"id": "sku-8", "name": LONG, "synonyms": [], "superclasses": ["shoes", HTML], "groups": ["footwear"]},
]
TARGETS = [0, 0, 1, 2, 3, 4, 5, 6, 7]
PREDICTED = [0, 1, 1, 2, 4, 4, 5, 0, 0]  # one fine-grained error, two model failures, and another fine-grained error
NAMES = [f"image {number}.jpg" for number in range(len(TARGETS))]


def label_space(rows: list[dict[str, Any]] = CLASSES, name: str = DATASET) -> LabelSpace:
    """Return the label space."""
    full = [{"synset": ""} | row for row in rows]
    return create_label_space(name, full, np.array([[3, 4]]) if rows is CLASSES else np.zeros((0, 2), dtype=np.int64))


def write_own_bundle(path: Path, space: LabelSpace | None = None, targets: list[int] = TARGETS) -> None:
    """Write a bundle in which the original label is the only label of each image."""
    size = len(targets)
    labels = LabelInputs(
        names=np.array([name.encode() for name in NAMES[:size]]),
        all_targets=np.array(targets, dtype=np.int16),
        rows=np.arange(size, dtype=np.int32),
        labels=Labels(
            offsets=np.arange(size + 1, dtype=np.int32),
            classes=np.array(targets, dtype=np.int16),
            sources=np.full(size, LabelSource.ORIGINAL, dtype=np.uint8),
        ),
        problematic=np.zeros(size, dtype=bool),
    )
    source = Source("labels", "synthetic", "none", "0" * 64)
    write_bundle(BundleInputs(DATASET, labels, space or label_space(), None, None, None, (source,)), path)


def upload_text() -> bytes:
    """Return the predictions as CSV with indices."""
    rows = zip(NAMES, PREDICTED, strict=True)
    return ("file_name,predicted_class,probability\n" + "".join(f"{name},{top1},0.5\n" for name, top1 in rows)).encode()
