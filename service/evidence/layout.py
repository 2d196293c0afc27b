"""Check the types, shapes, and ranges of a bundle's arrays. bundle.py lists the arrays."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from errata.errors import InvalidEvidence

from service.domain import DENSE_CLASSES, ERROR_TYPES, IMAGENET_1K, ExpertSeverity, LabelSource, LabelSpace
from service.evidence.artefacts import NEIGHBORS
from service.evidence.labels import NUM_VALIDATION_IMAGES
from service.evidence.manifest import REMEDY

VERDICTS = "verdicts"
EXPERT_JUDGMENTS = "expert_judgments"
LABEL_PREFERRED = "label_preferred"
MAX_TABLE_CELLS = 256 << 20  # five times the table of imagenet-real
PROPOSALS = "proposals"
WITHOUT_DIGEST = frozenset({VERDICTS, LABEL_PREFERRED, EXPERT_JUDGMENTS})  # not covered by a bundle's digest
_REQUIRED = [
    "names",
    "all_targets",
    "rows",
    "label_offsets",
    "label_classes",
    "label_sources",
    "problematic",
    "groups",
]
_TOGETHER = (
    ("pair_classes", "pair_counts", "pair_examples"),
    ("neighbors", "image_embeddings", "text_embeddings", "oov"),
)


def has_table(num_samples: int, num_classes: int) -> bool:
    """Return whether a bundle has a verdict table. Without a table, the rules are applied to each model's predictions.

    With more than DENSE_CLASSES classes, it takes longer to compute a table than to evaluate many models.
    """
    return num_classes <= DENSE_CLASSES and num_samples * num_classes <= MAX_TABLE_CELLS


def check_layout(path: Path, arrays: Mapping[str, Any], label_space: LabelSpace) -> None:
    """Check arrays, or objects with their shapes and types.

    Args:
        path: Folder of the bundle, for messages.
        arrays: Arrays by name.
        label_space: The classes of the bundle.

    Raises:
        InvalidEvidence: If an array is missing or does not have the documented layout.
    """
    missing = [name for name in _REQUIRED if name not in arrays]
    if not missing and VERDICTS not in arrays and has_table(len(arrays["rows"]), label_space.num_classes):
        missing = [VERDICTS]
    if missing:
        raise InvalidEvidence(
            f"{path}: the arrays {', '.join(missing)} are missing. Build the bundle again.", field="files"
        )
    for part in _TOGETHER:
        present = [name for name in part if name in arrays]
        if present and len(present) < len(part):
            raise InvalidEvidence(
                f"{path}: expected all or none of {', '.join(part)}, got {', '.join(present)}. Build the bundle again.",
                field="files",
            )
    if label_space.name != IMAGENET_1K and "oov" in arrays and PROPOSALS not in arrays:
        raise InvalidEvidence(f"{path}: the array {PROPOSALS} is missing. Build the bundle again.", field="files")
    for name in [name for name in arrays if not arrays[name].shape]:
        raise InvalidEvidence(f"{path}/{name}.npy: expected an array, got a single value. {REMEDY}", field=name)
    images, judged, num_classes = len(arrays["names"]), len(arrays["rows"]), label_space.num_classes
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
        "groups": ("b1", (len(label_space.groups), judged)),
        "superclass_members": ("b1", (len(label_space.superclasses.ids), num_classes)),
        "pair_classes": ("i2", (pairs, 2)),
        "pair_counts": ("i4", (pairs,)),
        "pair_examples": ("i4", (pairs, 3)),
        "pair_names": ("S", (len(arrays.get("pair_names", ())),)),
        "non_prototypical": ("b1", (judged,)),
        "neighbors": ("i2", (judged, NEIGHBORS)),
        "image_embeddings": ("f4", (judged, dimensions)),
        "text_embeddings": ("f4", (len(arrays.get("text_embeddings", ())), dimensions)),
        "oov": ("u1", (judged, -(-num_classes // 8))),
        "label_preferred": ("u1", (judged, -(-num_classes // 8))),
        PROPOSALS: ("u1", (len(arrays.get(PROPOSALS, ())),)),
        "imagenet_m": ("b1", (judged,)),
        EXPERT_JUDGMENTS: ("i4", (len(arrays.get(EXPERT_JUDGMENTS, ())), 4)),
        VERDICTS: ("u1", (judged, num_classes)),
    }
    for name, (kind, shape) in layout.items():
        if name not in arrays:
            continue
        array = arrays[name]
        if array.dtype.kind != "S" if kind == "S" else array.dtype != np.dtype(kind):
            raise InvalidEvidence(
                f"{path}/{name}.npy: expected type {kind}, got {array.dtype.str}. {REMEDY}", field=name
            )
        if array.shape != shape:
            raise InvalidEvidence(f"{path}/{name}.npy: expected shape {shape}, got {array.shape}. {REMEDY}", field=name)
    _check_ranges(path, arrays, num_classes)


def _check_ranges(path: Path, arrays: Mapping[str, Any], num_classes: int) -> None:
    """Raise InvalidEvidence if an index is out of range."""
    num_pair_names = len(arrays["pair_names"]) if "pair_names" in arrays else NUM_VALIDATION_IMAGES
    bounds = {
        "all_targets": num_classes,
        "rows": len(arrays["names"]),
        "label_classes": num_classes,
        "label_sources": len(LabelSource),
        "pair_classes": num_classes,
        "pair_examples": 1 + num_pair_names,
        "neighbors": num_classes,
    }
    for name, bound in bounds.items():
        array = arrays.get(name)
        if array is not None and array.size and not 0 <= int(array.min()) <= int(array.max()) < bound:
            raise InvalidEvidence(
                f"{path}/{name}.npy: expected values from 0 to {bound - 1}, got {int(array.min())} to "
                f"{int(array.max())}. {REMEDY}",
                field=name,
            )
    _check_judgments(path, arrays, num_classes)
    for name in ("names", "pair_names"):
        try:
            str(arrays.get(name, np.zeros(0, dtype="S1")).data, "utf-8")
        except UnicodeDecodeError as error:
            raise InvalidEvidence(f"{path}/{name}.npy: expected UTF-8: {error}. {REMEDY}", field=name) from error
    offsets = arrays["label_offsets"]
    if offsets[0] != 0 or (np.diff(offsets) < 0).any():
        raise InvalidEvidence(
            f"{path}/label_offsets.npy: expected ascending offsets that start at 0. {REMEDY}", field="label_offsets"
        )


def _check_judgments(path: Path, arrays: Mapping[str, Any], num_classes: int) -> None:
    judgments = arrays.get(EXPERT_JUDGMENTS)
    if judgments is None or not judgments.size:
        return
    causes = [error_type.id for error_type in ERROR_TYPES]
    limits = (len(arrays["rows"]), num_classes, max(causes) + 1, len(ExpertSeverity))
    if (judgments < 0).any() or (judgments >= limits).any() or not np.isin(judgments[:, 2], causes).all():
        raise InvalidEvidence(
            f"{path}/{EXPERT_JUDGMENTS}.npy: expected rows, classes, error types, and severities. Build the bundle "
            "again.",
            field=EXPERT_JUDGMENTS,
        )
