"""The evidence of a bundle with other labels. Parts that do not depend on labels stay the same.

| part | with other labels |
| --- | --- |
| images, original labels, classes, superclasses, overlaps | the same |
| non-prototypical images, ImageNet-M, expert judgments | the same, for the images that are still evaluated |
| co-occurrence over the data set's own labels, or over the ReaL labels of its images | counted again |
| co-occurrence over the labels of other images, or over a second file | the same |
| CLIP embeddings, neighbors, proposals | the same, for the images that are still evaluated |
| out-of-vocabulary decisions, preferred labels | decided again for images whose labels or effective target changed |
| groups, verdict table, counts | computed by `write_bundle` |
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from service.domain import IMAGENET_1K, Labels, Mask
from service.evidence.bundle import Bundle
from service.evidence.inputs import BundleInputs, ClipInputs, LabelInputs
from service.evidence.label_pairs import recount_pairs
from service.evidence.manifest import damage_error
from service.evidence.vocabulary import ClipImages, decide_oov


def inputs_of(bundle: Bundle) -> BundleInputs:
    """Return the inputs from which `write_bundle` can write the same bundle again.

    Raises:
        EvidenceDamaged: A file of the bundle changed.
    """
    arrays, manifest = bundle.arrays, bundle.manifest
    return BundleInputs(
        dataset=bundle.dataset,
        labels=bundle.label_inputs,
        label_space=bundle.label_space,
        pairs=bundle.pairs,
        non_prototypical=arrays.get("non_prototypical"),
        clip=_clip_of(bundle),
        sources=manifest.sources,
        imagenet_m=bundle.imagenet_m,
        expert_judgments=arrays.get("expert_judgments"),
        min_cooccurrence=manifest.min_cooccurrence,
        base=manifest.base,
        reviews=manifest.reviews,
    )


def relabel(bundle: Bundle, images: LabelInputs) -> BundleInputs:
    """Return the evidence of a bundle with other labels.

    Args:
        bundle: The bundle.
        images: The same images with other labels. Some evaluated images may be left out.

    Raises:
        EvidenceDamaged: A file of the bundle changed.
    """
    before = inputs_of(bundle)
    rows = np.searchsorted(bundle.rows, images.rows)
    return replace(
        before,
        labels=images,
        pairs=recount_pairs(before, images),
        non_prototypical=None if before.non_prototypical is None else before.non_prototypical[rows],
        clip=None if before.clip is None else _relabel_clip(bundle, before.clip, images, rows),
        imagenet_m=None if before.imagenet_m is None else before.imagenet_m[rows],
        expert_judgments=_take_judgments(before.expert_judgments, rows, len(bundle.rows)),
        base=bundle.digest,
        reviews=None,
    )


def changed_labels(before: Labels, after: Labels) -> Mask:
    """Return the samples whose labels differ in number, classes, or order, (N,)."""
    changed = before.counts != after.counts
    same = ~changed
    differs = before.classes[same[before.samples]] != after.classes[same[after.samples]]
    changed[before.samples[same[before.samples]][differs]] = True
    return np.asarray(changed)


def has_same_labels(before: LabelInputs, after: LabelInputs) -> bool:
    """Return whether the same images are evaluated, with the same labels, whatever the sources of the labels are."""
    return (
        np.array_equal(before.rows, after.rows)
        and np.array_equal(before.problematic, after.problematic)
        and not changed_labels(before.labels, after.labels).any()
    )


def _clip_of(bundle: Bundle) -> ClipInputs | None:
    arrays = bundle.arrays
    if "oov" not in arrays:
        return None
    clip = ClipInputs(
        neighbors=arrays["neighbors"],
        images=arrays["image_embeddings"],
        texts=arrays["text_embeddings"],
        oov=arrays["oov"],
        label_preferred=arrays.get("label_preferred", np.zeros((0, 0), dtype=np.uint8)),
        encoder=bundle.manifest.encoder,
        proposals=None if bundle.label_space.name == IMAGENET_1K else bundle.proposals,
    )
    return clip if len(clip.label_preferred) else _decide_again(bundle, clip, bundle.label_inputs)


def _relabel_clip(bundle: Bundle, clip: ClipInputs, images: LabelInputs, rows: NDArray[np.intp]) -> ClipInputs:
    """Return the CLIP evidence of some rows.

    Out-of-vocabulary decisions are computed again for images whose labels or effective targets changed.
    """
    relabeled = replace(
        clip,
        neighbors=clip.neighbors[rows],
        images=clip.images[rows],
        oov=clip.oov[rows],
        label_preferred=clip.label_preferred[rows],
    )
    before = bundle.evidence
    changed = changed_labels(before.labels.take(rows), images.labels)
    changed |= before.effective_targets[rows] != images.effective_targets
    if not changed.any():
        return relabeled
    numbers = np.flatnonzero(changed)
    part = replace(relabeled, neighbors=relabeled.neighbors[numbers], images=relabeled.images[numbers])
    decided = _decide_again(
        bundle,
        part,
        replace(
            images,
            rows=images.rows[numbers],
            labels=images.labels.take(numbers),
            problematic=images.problematic[numbers],
        ),
    )
    oov, label_preferred = relabeled.oov.copy(), relabeled.label_preferred.copy()
    oov[numbers], label_preferred[numbers] = decided.oov, decided.label_preferred
    return replace(relabeled, oov=oov, label_preferred=label_preferred)


def _decide_again(bundle: Bundle, clip: ClipInputs, images: LabelInputs) -> ClipInputs:
    proposals = bundle.proposals
    if proposals is None or len(proposals.texts) != len(clip.texts):
        raise damage_error(bundle.manifest, "the texts of CLIP differ from the proposals of the label space.")
    clip_images = ClipImages(clip.images, images.effective_targets, images.labels, clip.neighbors)
    decisions = decide_oov(clip_images, clip.texts, proposals, lambda _stage, _done, _total: None)
    return replace(clip, oov=decisions.oov, label_preferred=decisions.label_preferred)


def _take_judgments(
    judgments: NDArray[np.int32] | None, rows: NDArray[np.intp], num_before: int
) -> NDArray[np.int32] | None:
    """Return the judgments of some of the evaluated images, with their new rows."""
    if judgments is None:
        return None
    new_rows = np.full(num_before, -1, dtype=np.int32)
    new_rows[rows] = np.arange(len(rows))
    moved = judgments.copy()
    moved[:, 0] = new_rows[judgments[:, 0]]
    return moved[moved[:, 0] >= 0]
