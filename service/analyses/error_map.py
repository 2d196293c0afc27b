"""A map of the errors of an analysis: the first two principal components of the embeddings of their images.

The axes come from evaluated images of the bundle, whether or not they are errors, so that the maps of all models with
the same evidence have the same axes.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from errata.errors import InvalidRequest
from numpy.typing import NDArray

from service.analyses.images import select_images, take_images
from service.analyses.lru_cache import LruCache
from service.analyses.ports import Stores
from service.domain import MULTI_LABEL_ERROR_TYPES, is_among
from service.domain.images import ImageQuery, ImageRow
from service.evidence.bundle import Bundle

EMBEDDINGS = "image_embeddings"
MAX_DOTS = 2000
MAX_SAMPLE = 2000  # images from which the axes are computed
MAX_CACHED = 8  # bundles


@dataclass(frozen=True)
class Axes:
    """The axes of a map."""

    mean: NDArray[np.float64]  # (d,)
    directions: NDArray[np.float64]  # (2, d)
    share: float  # share of the variance that the axes explain; 0 if there is no variance


@dataclass(frozen=True)
class ErrorMap:
    """The errors of an analysis on a map."""

    rows: Sequence[ImageRow]  # at most MAX_DOTS
    positions: NDArray[np.float64]  # (n, 2)
    total: int  # errors
    share: float  # share of the variance that the axes explain


class ErrorMaps:
    """Computes maps, and caches the axes of the most recently used bundles. Thread-safe."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._lock = threading.Lock()
        self._axes: LruCache[str, Axes] = LruCache(MAX_CACHED)  # by digest

    def compute(self, analysis: str) -> ErrorMap:
        """Return the map of the errors of an analysis, without problematic images.

        If there are more than MAX_DOTS errors, the map has only MAX_DOTS, evenly spaced in the order of the bundle.

        Raises:
            InvalidRequest: The evidence has no embeddings of images.
            AnalysisNotFound: The analysis does not exist. See `select_images` for further errors.
        """
        selection = select_images(self._stores, ImageQuery(analysis))
        images = selection.images
        bundle = images.judged.bundle
        if EMBEDDINGS not in bundle.arrays:
            raise InvalidRequest(
                f"The evidence {bundle.digest[:12]} has no embeddings of images. Build it with an encoder.",
                field="analysis",
            )
        is_error = is_among(images.types, MULTI_LABEL_ERROR_TYPES)[selection.rows]
        errors = selection.rows[is_error]
        shown = errors[_spread(len(errors), MAX_DOTS)]
        axes = self._axes_of(bundle)
        positions = (_read(bundle, shown) - axes.mean) @ axes.directions.T
        return ErrorMap(take_images(images, shown), positions, len(errors), axes.share)

    def _axes_of(self, bundle: Bundle) -> Axes:
        with self._lock:
            axes = self._axes.find(bundle.digest)
            if axes is None:
                axes = compute_axes(_read(bundle, _spread(len(bundle.rows), MAX_SAMPLE)))
            self._axes.add(bundle.digest, axes)
            return axes


def compute_axes(embeddings: NDArray[np.float64]) -> Axes:
    """Return the first two principal components of embeddings, (n, d), with n >= 1.

    The largest component of each direction is positive, so that the result does not depend on the sign that the
    decomposition chooses.
    """
    mean = embeddings.mean(axis=0)
    _, values, vectors = np.linalg.svd(embeddings - mean, full_matrices=False)
    directions = np.zeros((2, embeddings.shape[1]))
    directions[: len(vectors[:2])] = vectors[:2]
    largest = directions[[0, 1], np.abs(directions).argmax(axis=1)]
    variances = values**2
    total = float(variances.sum())
    share = float(variances[:2].sum() / total) if total else 0.0
    return Axes(mean, directions * np.where(largest < 0, -1, 1)[:, np.newaxis], share)


def _read(bundle: Bundle, rows: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the embeddings of evaluated images, (n, d)."""
    if not len(rows):
        return np.zeros((0, bundle.image_embedding(0).shape[1]))
    return np.concatenate([bundle.image_embedding(int(row)) for row in rows]).astype(np.float64)


def _spread(size: int, limit: int) -> NDArray[np.intp]:
    """Return at most `limit` evenly spaced indices from 0 to `size` - 1."""
    return np.arange(size) if size <= limit else np.arange(limit) * size // limit
