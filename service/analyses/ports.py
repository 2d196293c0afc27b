"""The ports of the use cases: one record, which bootstrap fills."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime

from service.archive.port import AnalysisIndex, Archive
from service.domain import Analysis
from service.evidence.repository import EvidenceRepository
from service.jobs.store import JobStore
from service.predictions.model_id import ModelId
from service.predictions.sandbox import ParserPool
from service.predictions.thumbnails import Thumbnails
from service.telemetry import Stage


@dataclass(frozen=True)
class ModelOffer:
    """A model, or a pattern of models, that workers offer."""

    model: str
    description: str


@dataclass(frozen=True)
class Limits:
    """The limits that an operator sets."""

    max_open: int  # open model analyses
    max_upload_bytes: int
    shard_size: int  # images
    max_stored_bytes: int  # size limit of the archive; 0: no limit
    max_missing: float  # share of a data set's images that may be missing or damaged


@dataclass(frozen=True)
class Ports:
    """The stores, callbacks, and limits of the use cases."""

    evidence: EvidenceRepository
    store: JobStore
    archive: Archive
    index: AnalysisIndex  # of the archive
    send_shards: Callable[[str, int], None]  # job, number of shards
    models: Callable[[], Sequence[ModelOffer]]
    pin_model: Callable[[ModelId], ModelId]  # refuses models that are not allowed, and pins references that can move
    runtime: Callable[[], str]  # returns the workers' package versions, which determine the weights of a model name
    has_images: Callable[[str], bool]  # whether workers can read the images of a data set
    thumbnails: Thumbnails
    clock: Callable[[], datetime]
    on_finished: Callable[[Analysis], None]  # called with each analysis that ends
    limits: Limits
    parsers: ParserPool  # parsers of binary uploads
    stage_timer: Callable[[Stage], AbstractContextManager[object]] = lambda _: nullcontext()  # times a stage
    on_cache_lookup: Callable[[str, bool], None] = lambda *_: None  # called with the cache and whether it hit
