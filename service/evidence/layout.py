"""The layout of a bundle's arrays, which bundle.py lists: their kinds, shapes and bounds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from errata.errors import InvalidEvidence

from service.domain import CLASS_GROUPS, NUM_CLASSES, LabelSource
from service.evidence.artefacts import NEIGHBORS

VERDICTS = "verdicts"
_REQUIRED = [
    "names",
    "all_targets",
    "rows",
    "label_offsets",
    "label_classes",
    "label_sources",
    "problematic",
    "groups",
    "superclass_members",
    "verdicts",
]
_TOGETHER = (
    ("pair_classes", "pair_counts", "pair_examples"),
    ("neighbors", "image_embeddings", "text_embeddings", "oov"),
)


def check_layout(path: Path, arrays: Mapping[str, Any], superclasses: int) -> None:
    """Raise InvalidEvidence unless the arrays, or what has their shapes and kinds, are what the layout says."""
    missing = [name for name in _REQUIRED if name not in arrays]
    if missing:
        raise InvalidEvidence(f"{path}: expected the arrays {missing}, got none of that name", field="files")
    for part in _TOGETHER:
        present = [name for name in part if name in arrays]
        if present and len(present) < len(part):
            raise InvalidEvidence(f"{path}: expected all of {', '.join(part)} or none, got {present}", field="files")
    images, judged = len(arrays["names"]), len(arrays["rows"])
    dimensions = arrays["image_embeddings"].shape[-1] if "image_embeddings" in arrays else 0
    offsets, pairs = arrays["label_offsets"], len(arrays.get("pair_classes", ()))
    layout: dict[str, tuple[str, tuple[int, ...]]] = {
        "names": ("S", (images,)),
        "all_targets": ("i2", (images,)),
        "rows": ("i4", (judged,)),
        "label_offsets": ("i4", (judged + 1,)),
        "label_classes": ("i2", (int(offsets[-1]) if len(offsets) else 0,)),
        "label_sources": ("u1", (len(arrays["label_classes"]),)),
        "problematic": ("b1", (judged,)),
        "groups": ("b1", (len(CLASS_GROUPS), judged)),
        "superclass_members": ("b1", (superclasses, NUM_CLASSES)),
        "pair_classes": ("i2", (pairs, 2)),
        "pair_counts": ("i4", (pairs,)),
        "pair_examples": ("i4", (pairs, 3)),
        "non_prototypical": ("b1", (judged,)),
        "neighbors": ("i2", (judged, NEIGHBORS)),
        "image_embeddings": ("f4", (judged, dimensions)),
        "text_embeddings": ("f4", (len(arrays.get("text_embeddings", ())), dimensions)),
        "oov": ("u1", (judged, NUM_CLASSES // 8)),
        "imagenet_m": ("b1", (judged,)),
        VERDICTS: ("u1", (judged, NUM_CLASSES)),
    }
    for name, (kind, shape) in layout.items():
        if name not in arrays:
            continue
        got = arrays[name]
        if got.dtype.kind != "S" if kind == "S" else got.dtype != np.dtype(kind):
            raise InvalidEvidence(f"{path}/{name}.npy: expected kind {kind}, got {got.dtype.str}", field=name)
        if got.shape != shape:
            raise InvalidEvidence(f"{path}/{name}.npy: expected shape {shape}, got {got.shape}", field=name)
    _check_ranges(path, arrays, images)


def _check_ranges(path: Path, arrays: Mapping[str, Any], images: int) -> None:
    """Raise InvalidEvidence for an index that points outside of what it indexes."""
    bounds = {
        "all_targets": NUM_CLASSES,
        "rows": images,
        "label_classes": NUM_CLASSES,
        "label_sources": len(LabelSource),
        "pair_classes": NUM_CLASSES,
        "neighbors": NUM_CLASSES,
    }
    for name, bound in bounds.items():
        got = arrays.get(name)
        if got is not None and got.size and not 0 <= int(got.min()) <= int(got.max()) < bound:
            raise InvalidEvidence(
                f"{path}/{name}.npy: expected 0..{bound - 1}, got {int(got.min())}..{int(got.max())}", field=name
            )
    try:
        arrays["names"].tobytes().decode()
    except UnicodeDecodeError as error:
        raise InvalidEvidence(f"{path}/names.npy: expected UTF-8, got {error}", field="names") from error
    offsets = arrays["label_offsets"]
    if offsets[0] != 0 or (np.diff(offsets) < 0).any():
        raise InvalidEvidence(
            f"{path}/label_offsets.npy: expected offsets that start at 0 and rise", field="label_offsets"
        )
