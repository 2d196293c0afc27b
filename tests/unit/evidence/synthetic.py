"""Small inputs of bundles: seven images of which five are evaluated, with all parts."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from service.domain import Labels, LabelSource, Superclasses
from service.evidence.build import superclass_members
from service.evidence.inputs import BundleInputs, ClipInputs, CooccurrenceInputs, LabelInputs, Source
from service.taxonomy.imagenet_1k import imagenet_1k

T = TypeVar("T")
SOURCE = Source("labels", "synthetic", "none", "0" * 64)


def synthetic_inputs() -> BundleInputs:
    """Create inputs without missing parts and without constant arrays."""
    rng = np.random.default_rng(7)
    members = np.zeros((2, 1000), dtype=bool)
    members[0, [1, 2, 3]] = True
    members[1, [3, 900]] = True
    return BundleInputs(
        dataset="mine",
        labels=LabelInputs(
            names=np.array([f"image_{number}.jpg".encode() for number in range(7)], dtype=np.bytes_),
            all_targets=np.array([1, 2, 3, 356, 504, 999, 0], dtype=np.int16),
            rows=np.array([0, 2, 3, 4, 6], dtype=np.int32),
            labels=Labels(
                offsets=np.array([0, 2, 3, 5, 5, 7], dtype=np.int32),
                classes=np.array([1, 20, 3, 356, 357, 0, 999], dtype=np.int16),
                sources=np.array([3, 4, 3, 3, 4, 1, 2], dtype=np.uint8),
            ),
            problematic=np.array([False, False, False, True, False]),
            sources=(SOURCE,),
        ),
        label_space=replace(imagenet_1k(), superclasses=Superclasses.from_members(("a", "b"), members)),
        pairs=CooccurrenceInputs(
            classes=np.array([[1, 20], [2, 3], [5, 999]], dtype=np.int16),
            counts=np.array([2, 4, 1], dtype=np.int32),
            examples=np.array([[1, 9, 0], [3, 4, 5], [8, 0, 0]], dtype=np.int32),
        ),
        non_prototypical=np.array([False, True, False, False, False]),
        clip=ClipInputs(
            neighbors=rng.integers(0, 1000, (5, 10), dtype=np.int16),
            images=_unit(rng.standard_normal((5, 4))),
            texts=_unit(rng.standard_normal((6, 4))),
            oov=rng.integers(0, 256, (5, 125), dtype=np.uint8),
            label_preferred=np.tile(np.array([0x80, 1, 0, 0, 0], dtype=np.uint8), (5, 25)),
        ),
        sources=(SOURCE,),
        imagenet_m=np.array([True, False, False, True, False]),
    )


def _unit(vectors: np.ndarray) -> np.ndarray:
    norms: np.ndarray = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / norms, dtype=np.float32)


def missing(part: str) -> BundleInputs:
    """Return the inputs without a part, so that its rule abstains."""
    absent: dict[str, Any] = {part: None}
    return replace(synthetic_inputs(), **absent)


def present(part: T | None) -> T:
    """Return a part that the synthetic inputs have."""
    assert part is not None
    return part


def _labels(**changes: Any) -> Callable[[BundleInputs], BundleInputs]:
    return lambda inputs: replace(
        inputs, labels=replace(inputs.labels, labels=replace(inputs.labels.labels, **changes))
    )


def _images(**changes: Any) -> Callable[[BundleInputs], BundleInputs]:
    return lambda inputs: replace(inputs, labels=replace(inputs.labels, **changes))


def _pairs(**changes: Any) -> Callable[[BundleInputs], BundleInputs]:
    return lambda inputs: replace(inputs, pairs=replace(present(inputs.pairs), **changes))


def _clip(**changes: Any) -> Callable[[BundleInputs], BundleInputs]:
    return lambda inputs: replace(inputs, clip=replace(present(inputs.clip), **changes))


def _with_superclasses(inputs: BundleInputs, ids: tuple[str, ...], members: np.ndarray) -> BundleInputs:
    superclasses = Superclasses.from_members(ids, members)
    return replace(inputs, label_space=replace(inputs.label_space, superclasses=superclasses))


def _flipped(array: np.ndarray) -> np.ndarray:
    """Flip one bit of the last element of an array."""
    changed = array.copy()
    changed.view(f"u{array.dtype.itemsize}").reshape(-1)[-1] ^= 1
    return changed


_INPUTS = synthetic_inputs()
_PAIRS = present(_INPUTS.pairs)
_CLIP = present(_INPUTS.clip)
CHANGES: dict[str, Callable[[BundleInputs], BundleInputs]] = {
    "dataset": lambda inputs: replace(inputs, dataset="yours"),
    "superclass id": lambda inputs: _with_superclasses(inputs, ("a", "c"), superclass_members(inputs.label_space)),
    "superclass order": lambda inputs: _with_superclasses(inputs, ("b", "a"), superclass_members(inputs.label_space)),
    "names": _images(names=np.array([b"other.jpg", *_INPUTS.labels.names[1:]])),
    "all_targets": _images(all_targets=_flipped(_INPUTS.labels.all_targets)),
    "rows": _images(rows=np.array([0, 2, 3, 4, 5], dtype=np.int32)),
    "problematic": _images(problematic=_flipped(_INPUTS.labels.problematic)),
    "label_offsets": _labels(offsets=np.array([0, 1, 3, 5, 5, 7], dtype=np.int32)),
    "label_classes": _labels(classes=_flipped(_INPUTS.labels.labels.classes)),
    "label_sources": _labels(sources=np.array([3, 4, 3, 3, 4, 1, LabelSource.UNCLEAR], dtype=np.uint8)),
    "superclass_members": lambda inputs: _with_superclasses(
        inputs, ("a", "b"), _flipped(superclass_members(inputs.label_space))
    ),
    "pair_classes": _pairs(classes=np.array([[1, 20], [2, 3], [5, 998]], dtype=np.int16)),
    "pair_counts": _pairs(counts=np.array([2, 4, 2], dtype=np.int32)),
    "pair_examples": _pairs(examples=_flipped(_PAIRS.examples)),
    "non_prototypical": lambda inputs: replace(inputs, non_prototypical=_flipped(present(inputs.non_prototypical))),
    "neighbors": _clip(neighbors=_flipped(_CLIP.neighbors)),
    "image_embeddings": _clip(images=_flipped(_CLIP.images)),
    "text_embeddings": _clip(texts=_flipped(_CLIP.texts)),
    "oov": _clip(oov=_flipped(_CLIP.oov)),
    "imagenet_m": lambda inputs: replace(inputs, imagenet_m=_flipped(present(inputs.imagenet_m))),
    "no pairs": lambda inputs: replace(inputs, pairs=None),
    "no list": lambda inputs: replace(inputs, non_prototypical=None),
    "no clip": lambda inputs: replace(inputs, clip=None),
    "no ImageNet-M": lambda inputs: replace(inputs, imagenet_m=None),
}
