"""Inputs of a bundle: one record with all evidence, and the sources of its parts."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from service.domain import Bytes, Classes, Labels, LabelSpace, Mask, effective_targets
from service.taxonomy.proposals import Proposals

LABELS_FILE = "labels"  # name of the source that is a labels file


@dataclass(frozen=True)
class Source:
    """Source of a part of the evidence. The manifest lists it; the digest does not include it."""

    name: str
    origin: str
    license: str
    sha256: str = ""


@dataclass(frozen=True)
class EncoderInfo:
    """The model of an encoder. The manifest lists it; the digest does not include it."""

    architecture: str  # name in the library
    weights: str  # tag in the library, or name of a local file
    weights_sha256: str
    activation: str  # activation function of both towers: "quick_gelu" or "gelu"
    library: str  # name and version


@dataclass(frozen=True)
class LabelInputs:
    """Images of a data set and the labels of the evaluated images (A images, N evaluated)."""

    names: NDArray[np.bytes_]  # (A,) UTF-8, distinct
    all_targets: Classes  # (A,)
    rows: NDArray[np.int32]  # (N,) indices of the evaluated images, ascending
    labels: Labels  # labels of the N evaluated images
    problematic: Mask  # (N,)
    sources: tuple[Source, ...] = ()

    @cached_property
    def targets(self) -> Classes:
        """Return the original label of each evaluated image, shape (N,)."""
        return self.all_targets.take(self.rows)

    @property
    def effective_targets(self) -> Classes:
        """Return the label under which statistics count each evaluated image, shape (N,)."""
        return effective_targets(self.targets, self.labels, self.problematic)


@dataclass(frozen=True)
class CooccurrenceInputs:
    """Pairs of classes that occur in the same image, and their counts (P pairs)."""

    classes: NDArray[np.int16]  # (P, 2) ascending
    counts: NDArray[np.int32]  # (P,) number of images
    examples: NDArray[np.int32]  # (P, 3) 1-based numbers of images; 0: fewer than three
    names: NDArray[np.bytes_] | None = None  # (E,) UTF-8, of the numbered images; None: those of the validation images


@dataclass(frozen=True)
class ClipInputs:
    """Embeddings of the N evaluated images and T texts, and the resulting decisions (d dimensions)."""

    neighbors: NDArray[np.int16]  # (N, 10) classes of the nearest training images
    images: NDArray[np.float32]  # (N, d) L2-normalized
    texts: NDArray[np.float32]  # (T, d) L2-normalized, in the order of Proposals.texts
    oov: Bytes  # (N, ceil(C / 8)) bits, see domain.Evidence
    label_preferred: Bytes  # (N, ceil(C / 8)) bits, see vocabulary.OovDecisions
    encoder: EncoderInfo | None = None  # None: the encoder does not describe its model
    proposals: Proposals | None = None  # all proposals of the label space; bundles of imagenet-1k do not store them


@dataclass(frozen=True)
class ReviewsInfo:
    """The reviews that changed the labels of a bundle. The manifest includes them; the digest does not."""

    sha256: str  # of the reviews in canonical form
    count: int  # reviews of evaluated images that are not undone
    min_reviews: int  # reviewers that must have voted on a class


@dataclass(frozen=True)
class BundleInputs:
    """All evidence of a bundle. If the part that a rule needs is None, the rule abstains."""

    dataset: str
    labels: LabelInputs
    label_space: LabelSpace
    pairs: CooccurrenceInputs | None
    non_prototypical: Mask | None  # (N,)
    clip: ClipInputs | None
    sources: tuple[Source, ...]
    imagenet_m: Mask | None = None  # (N,) samples of ImageNet-M; None: unknown
    expert_judgments: NDArray[np.int32] | None = None  # (J, 4), not covered by the digest; None: unknown
    min_cooccurrence: int = 2  # images in which a pair must occur
    base: str = ""  # digest of the bundle whose labels were changed; not covered by the digest
    reviews: ReviewsInfo | None = None
