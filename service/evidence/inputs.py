"""What a build gathers before it writes a bundle: one record, and where each part came from."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.domain import Bytes, Classes, Labels, Mask
from service.taxonomy.superclasses import Grouping


@dataclass(frozen=True)
class Source:
    """Where a part of the evidence came from; kept in the manifest, outside of the digest."""

    name: str
    origin: str
    license: str
    sha256: str = ""


@dataclass(frozen=True)
class LabelInputs:
    """The images of a data set and what is in those that are judged (A images, N judged)."""

    names: NDArray[np.bytes_]  # (A,) UTF-8, distinct
    all_targets: Classes  # (A,)
    rows: NDArray[np.int32]  # (N,) ascending: which images are judged
    labels: Labels  # of the N
    problematic: Mask  # (N,)
    sources: tuple[Source, ...]

    @property
    def targets(self) -> Classes:
        """Return the original label of each judged image, shape (N,)."""
        return self.all_targets[self.rows]


@dataclass(frozen=True)
class CooccurrenceInputs:
    """Which pairs of classes are seen in one image, and how often (P pairs, seen at least once)."""

    classes: NDArray[np.int16]  # (P, 2) ascending
    counts: NDArray[np.int32]  # (P,) images
    examples: NDArray[np.int32]  # (P, 3) numbers of validation images, 1-based; 0 where there are fewer


@dataclass(frozen=True)
class ClipInputs:
    """What an encoder says of the N judged images, and the decisions that follow (T prompts, d dimensions)."""

    neighbors: NDArray[np.int16]  # (N, 10) classes of the nearest training images
    images: NDArray[np.float32]  # (N, d) L2-normalized
    texts: NDArray[np.float32]  # (T, d) L2-normalized, in the order of Proposals.texts
    oov: Bytes  # (N, C / 8)


@dataclass(frozen=True)
class Facts:
    """All that a bundle is written from. A part that is None makes its rule abstain."""

    dataset: str
    labels: LabelInputs
    superclasses: Grouping
    pairs: CooccurrenceInputs | None
    non_prototypical: Mask | None  # (N,)
    clip: ClipInputs | None
    sources: tuple[Source, ...]
    imagenet_m: Mask | None = None  # (N,) the samples of ImageNet-M, where the annotation names them
