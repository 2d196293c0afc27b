"""Verdicts in memory: of the archived analyses of a bundle, and of the analyses whose images were listed last."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from service.analyses.lru_cache import BundleCache, LruCache
from service.domain import MULTI_LABEL_ERROR_TYPES, NO_TYPE, Bytes, Classes, is_among
from service.domain.images import ImageQuery

MAX_ANALYSES = 8  # of 5 bytes for each image
MAX_SELECTIONS = 4  # of about 30 bytes for each image
Judged = TypeVar("Judged")  # JudgedAnalysis, which ports must not import
Selected = TypeVar("Selected")  # images.Selection


@dataclass(frozen=True)
class StoredVerdicts:
    """The verdicts of one archived analysis on N judged images."""

    id: str
    title: str
    owner: str
    types: Bytes  # (N,) ID of the error type; 0: no prediction
    predicted: Classes  # (N,); -1: no prediction

    @property
    def fails(self) -> NDArray[np.bool_]:
        """Return the images with a multi-label error, (N,)."""
        return is_among(self.types, MULTI_LABEL_ERROR_TYPES)


@dataclass(frozen=True)
class ModelVerdicts:
    """The verdicts of the newest plausible archived analyses of one bundle."""

    analyses: Sequence[StoredVerdicts]  # newest first
    num_images: int

    @cached_property
    def num_failing(self) -> NDArray[np.int16]:
        """Return the number of analyses with a multi-label error on each judged image, (N,)."""
        counts = np.zeros(self.num_images, dtype=np.int16)
        for analysis in self.analyses:
            counts += analysis.fails
        return counts

    @cached_property
    def num_predicting(self) -> NDArray[np.int16]:
        """Return the number of analyses with a prediction for each judged image, (N,)."""
        counts = np.zeros(self.num_images, dtype=np.int16)
        for analysis in self.analyses:
            counts += analysis.types != NO_TYPE
        return counts

    def find(self, analysis_id: str) -> StoredVerdicts | None:
        """Return the verdicts of one analysis; None if these verdicts do not include it."""
        return next((analysis for analysis in self.analyses if analysis.id == analysis_id), None)


class VerdictCache(Generic[Judged, Selected]):
    """Keeps the verdicts of bundles, and the analyses and the selections of images that were used last."""

    def __init__(self) -> None:
        self.models: BundleCache[ModelVerdicts] = BundleCache()
        self.judged: LruCache[str, Judged] = LruCache(MAX_ANALYSES)  # by the ID of the analysis
        self.selections: LruCache[ImageQuery, Selected] = LruCache(MAX_SELECTIONS)
