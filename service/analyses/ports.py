"""The ports of the use cases, in groups. A use case takes the groups that it needs; bootstrap creates them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from service.analyses.decisions import DecisionCache
from service.analyses.lru_cache import LruCache
from service.analyses.model_votes import VoteCache
from service.analyses.verdict_cache import VerdictCache
from service.archive.port import AnalysisIndex, Archive
from service.archive.record_log import RecordLog
from service.domain import AuditEvent, GateDecision, Observer, Review
from service.evidence.attributes import AttributeRepository
from service.evidence.repository import EvidenceRepository
from service.jobs.store import JobStore
from service.jobs.transitions import WorkerOffer
from service.predictions.model_id import ModelId
from service.predictions.sandbox import ParserPool
from service.predictions.thumbnails import Thumbnails

if TYPE_CHECKING:
    from service.analyses.images import Selection
    from service.analyses.judge import JudgedAnalysis

MAX_GATE_DECISIONS = 10_000  # last decisions of gates; polling a gate adds no event for the same decision


@dataclass(frozen=True)
class Stores:
    """Where analyses and evidence are stored."""

    evidence: EvidenceRepository
    jobs: JobStore
    archive: Archive
    index: AnalysisIndex  # of the archive
    clock: Callable[[], datetime]
    reviews: RecordLog[Review]
    attributes: AttributeRepository = field(default_factory=lambda: AttributeRepository({}))
    verdict_cache: "VerdictCache[JudgedAnalysis, Selection]" = field(default_factory=VerdictCache)
    votes: VoteCache = field(default_factory=VoteCache)
    decisions: DecisionCache = field(default_factory=DecisionCache)
    events: RecordLog[AuditEvent] | None = None  # audit events, except those of evidence; None: they are not stored
    gate_decisions: LruCache[tuple[str, ...], GateDecision] = field(
        default_factory=lambda: LruCache(MAX_GATE_DECISIONS)
    )


@dataclass(frozen=True)
class ModelOffer:
    """A model, or a pattern of models, that workers offer."""

    model: str
    description: str


@dataclass(frozen=True)
class Workers:
    """A snapshot of the workers."""

    offers: Sequence[WorkerOffer]  # of the live workers, or else the latest offer; empty before a worker registers
    # What the workers of an autoscaler are expected to offer.
    expected: WorkerOffer = field(default_factory=lambda: WorkerOffer((), ()))

    @property
    def models(self) -> Sequence[ModelOffer]:
        """The models that the workers can run, and those that a worker is expected to run."""
        descriptions = dict(self.expected.models)
        descriptions |= {model: description for offer in self.offers for model, description in offer.models}
        return [ModelOffer(model, description) for model, description in descriptions.items()]

    @property
    def runtime(self) -> str:
        """The package versions of the workers, which determine the weights of a model name."""
        return "; ".join(sorted({offer.runtime for offer in self.offers}))

    def has_images(self, dataset: str) -> bool:
        """Return whether a worker can read the images of a data set."""
        return any(dataset in offer.datasets for offer in self.offers)

    def can_have_images(self, dataset: str) -> bool:
        """Return whether a job on a data set can run, or no worker has registered yet."""
        return not self.offers or self.has_images(dataset) or dataset in self.expected.datasets


@dataclass(frozen=True)
class Models:
    """The models that workers run."""

    workers: Callable[[], Workers]
    pin: Callable[[ModelId], ModelId]  # refuses models that are not allowed, and pins references that can move
    send_shards: Callable[[str, int], None]  # job, number of shards


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
    """All groups of ports, for use cases that create analyses."""

    stores: Stores
    models: Models
    limits: Limits
    observer: Observer
    parsers: ParserPool  # parsers of binary uploads
    thumbnails: Thumbnails
