"""Fixtures for the use cases: ports with in-memory stores and a fake archive that fails on request."""

import uuid
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from indexed_archive import InMemoryIndexedArchive

from service.analyses.owner_guard import GuardedArchive, GuardedIndex, GuardedJobStore
from service.analyses.ports import Limits, Models, Ports, Stores, Workers
from service.archive.files import ObjectFiles
from service.archive.port import Record
from service.archive.record_log import RecordLog
from service.domain import Analysis, AuditEvent, Observer, Predictions, Review, review_keys
from service.evidence.repository import EvidenceRepository
from service.jobs.memory import InMemoryJobStore
from service.jobs.transitions import WorkerOffer
from service.predictions.sandbox import ParserPool
from service.predictions.thumbnails import Thumbnails

MODEL = "demo:efficientnet_lite0"


class FailingArchive(InMemoryIndexedArchive):
    """An archive whose next writes each raise one of `errors`; None: the write succeeds."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[BaseException | None] = []
        self.num_writes = 0

    def put(
        self, analysis: Analysis, predictions: Predictions, creation: AuditEvent | None = None, *, replaces: bool = True
    ) -> Record:
        self.num_writes += 1
        if self.errors and (error := self.errors.pop(0)):
            raise error
        return super().put(analysis, predictions, creation, replaces=replaces)


def make_review_log() -> RecordLog[Review]:
    """Return an empty log of reviews in memory."""
    return RecordLog(ObjectFiles(MemoryFileSystem(), f"/{uuid.uuid4().hex}"), Review, review_keys)


class FinishedAnalyses(Observer):
    def __init__(self, finished: list[Analysis]) -> None:
        self._finished = finished

    def analysis_finished(self, analysis: Analysis) -> None:
        self._finished.append(analysis)


@dataclass
class Backend:
    """Ports, and the recorded calls of their callbacks."""

    repository: EvidenceRepository
    archive: FailingArchive = field(default_factory=FailingArchive)
    now: float = 1_700_000_000.0
    runtime: str = "timm 1.0"
    datasets: tuple[str, ...] = ("demo",)  # whose images the worker has
    sent: list[tuple[str, int]] = field(default_factory=list)
    finished: list[Analysis] = field(default_factory=list)
    reviews: RecordLog[Review] = field(default_factory=make_review_log)

    def __post_init__(self) -> None:
        self.store = InMemoryJobStore(lambda: self.now)

    @property
    def ports(self) -> Ports:
        return Ports(
            stores=Stores(self.repository, self.store, self.archive, self.archive.index, self._clock, self.reviews),
            models=Models(
                workers=lambda: Workers([WorkerOffer(((MODEL, "a model"),), self.datasets, self.runtime)]),
                pin=lambda model: model,
                send_shards=lambda job, count: self.sent.append((job, count)),
            ),
            limits=Limits(max_open=10, max_upload_bytes=1 << 20, shard_size=8, max_stored_bytes=0, max_missing=0.1),
            observer=FinishedAnalyses(self.finished),
            parsers=ParserPool(size=0),
            thumbnails=Thumbnails({}),
        )

    def _clock(self) -> datetime:
        self.now += 1
        return datetime.fromtimestamp(self.now, UTC)


@pytest.fixture
def backend(repository: EvidenceRepository) -> Backend:
    return Backend(repository)


@pytest.fixture
def isolated(backend: Backend) -> Ports:
    """Return ports whose owners are isolated."""
    stores = backend.ports.stores
    guarded = replace(
        stores,
        jobs=GuardedJobStore(stores.jobs),
        archive=GuardedArchive(stores.archive),
        index=GuardedIndex(stores.index),
    )
    return replace(backend.ports, stores=guarded)
