"""Small inputs of bundles: seven images of which five are evaluated, with all parts."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from service.domain import Labels, LabelSource
from service.evidence.inputs import BundleInputs, ClipInputs, CooccurrenceInputs, LabelInputs, Source
from service.taxonomy.superclasses import Grouping

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
        superclasses=Grouping({"a": (("x",),), "b": (("y", "z"),)}, members),
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
        ),
        sources=(SOURCE,),
        imagenet_m=np.array([True, False, False, True, False]),
    )


def _unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def missing(part: str) -> BundleInputs:
    """Return the inputs without a part, so that its rule abstains."""
    return replace(synthetic_inputs(), **{part: None})


def _labels(**changes: np.ndarray) -> Callable[[BundleInputs], BundleInputs]:
    return lambda facts: replace(facts, labels=replace(facts.labels, labels=replace(facts.labels.labels, **changes)))


def _images(**changes: np.ndarray) -> Callable[[BundleInputs], BundleInputs]:
    return lambda facts: replace(facts, labels=replace(facts.labels, **changes))


def _pairs(**changes: np.ndarray) -> Callable[[BundleInputs], BundleInputs]:
    return lambda facts: replace(facts, pairs=replace(facts.pairs, **changes))


def _clip(**changes: np.ndarray) -> Callable[[BundleInputs], BundleInputs]:
    return lambda facts: replace(facts, clip=replace(facts.clip, **changes))


def _flipped(array: np.ndarray) -> np.ndarray:
    """Flip one bit of the last element of an array."""
    changed = array.copy()
    changed.view(f"u{array.dtype.itemsize}").reshape(-1)[-1] ^= 1
    return changed


_FACTS = synthetic_inputs()
CHANGES: dict[str, Callable[[BundleInputs], BundleInputs]] = {
    "dataset": lambda facts: replace(facts, dataset="yours"),
    "superclass id": lambda facts: replace(
        facts, superclasses=Grouping({"a": (("x",),), "c": (("y", "z"),)}, facts.superclasses.members)
    ),
    "superclass order": lambda facts: replace(
        facts, superclasses=Grouping({"b": (("y", "z"),), "a": (("x",),)}, facts.superclasses.members)
    ),
    "names": _images(names=np.array([b"other.jpg", *_FACTS.labels.names[1:]])),
    "all_targets": _images(all_targets=_flipped(_FACTS.labels.all_targets)),
    "rows": _images(rows=np.array([0, 2, 3, 4, 5], dtype=np.int32)),
    "problematic": _images(problematic=_flipped(_FACTS.labels.problematic)),
    "label_offsets": _labels(offsets=np.array([0, 1, 3, 5, 5, 7], dtype=np.int32)),
    "label_classes": _labels(classes=_flipped(_FACTS.labels.labels.classes)),
    "label_sources": _labels(sources=np.array([3, 4, 3, 3, 4, 1, LabelSource.UNCLEAR], dtype=np.uint8)),
    "superclass_members": lambda facts: replace(
        facts, superclasses=Grouping(facts.superclasses.predicates, _flipped(facts.superclasses.members))
    ),
    "pair_classes": _pairs(classes=np.array([[1, 20], [2, 3], [5, 998]], dtype=np.int16)),
    "pair_counts": _pairs(counts=np.array([2, 4, 2], dtype=np.int32)),
    "pair_examples": _pairs(examples=_flipped(_FACTS.pairs.examples)),
    "non_prototypical": lambda facts: replace(facts, non_prototypical=_flipped(facts.non_prototypical)),
    "neighbors": _clip(neighbors=_flipped(_FACTS.clip.neighbors)),
    "image_embeddings": _clip(images=_flipped(_FACTS.clip.images)),
    "text_embeddings": _clip(texts=_flipped(_FACTS.clip.texts)),
    "oov": _clip(oov=_flipped(_FACTS.clip.oov)),
    "imagenet_m": lambda facts: replace(facts, imagenet_m=_flipped(facts.imagenet_m)),
    "no pairs": lambda facts: replace(facts, pairs=None),
    "no list": lambda facts: replace(facts, non_prototypical=None),
    "no clip": lambda facts: replace(facts, clip=None),
    "no ImageNet-M": lambda facts: replace(facts, imagenet_m=None),
}
