"""Judging all analyses of a data set with corrected labels, compared with judging and archiving each upload alone."""

import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from prometheus_client import CollectorRegistry

from benchmarks.harness import Case, Result, at_most, timed
from service.analyses import evidence_versions
from service.analyses import request as requests
from service.analyses.judge import compute_summary, digest_predictions
from service.analyses.ports import Ports
from service.analyses.reanalyze_all import reanalyze_all
from service.archive.archive import open_archive
from service.archive.index import SqliteIndex
from service.archive.indexed import IndexedArchive
from service.bootstrap.wiring import make_ports
from service.domain import Analysis, AnalysisFilter, AnalysisRequest, Predictions, Review, State
from service.evidence.bundle import Bundle
from service.jobs.engine import Engine, local_broker
from service.jobs.memory import InMemoryJobStore
from service.settings import read_settings
from service.telemetry import Metrics

ANALYSES = 200
REVIEWS = 1000
DATASET = "imagenet-real"
CASE = Case(
    "reanalyze.all",
    f"{ANALYSES} analyses x 50,000 images judged again on evidence from {REVIEWS:,} reviews",
    "the same number of uploads, judged and archived",
    "s",
    at_most(2),
)
AGAIN = Case(
    "reanalyze.repeated",
    f"the same {ANALYSES} analyses again, all of which exist",
    "judging them",
    "s",
    at_most(0.2),
)


def measure() -> Iterator[Result]:
    """Yield the duration of judging all analyses again, and that of a repetition."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ports = _make_ports(folder)
        bundle = ports.stores.evidence.find(DATASET, "")
        uploads = [*_make_uploads(bundle)]
        reference = timed(lambda: _archive(ports, bundle, uploads))()
        for number in range(REVIEWS):
            ports.stores.reviews.append(_make_review(bundle, number))
        corrected = evidence_versions.build_from_reviews(ports.stores, DATASET, "", 1, "")
        corrected.judge(corrected.evidence.targets)  # reads the verdict table, as the uploads did for their bundle
        first = timed(lambda: [*reanalyze_all(ports, DATASET, corrected.digest, "")])()
        again = timed(lambda: [*reanalyze_all(ports, DATASET, corrected.digest, "")])()
        count = ports.stores.index.count(AnalysisFilter())
        problem = "" if count == 2 * ANALYSES else f"{count} analyses instead of {2 * ANALYSES}"
        yield CASE.measured(first, reference, problem=problem)
        yield AGAIN.measured(again, first, problem=problem)


def _make_ports(folder: Path) -> Ports:
    settings = read_settings({}, data_dir=folder / "data", archive=str(folder / "archive"))
    index = SqliteIndex(folder / "index.sqlite")
    archive = IndexedArchive(open_archive(settings.archive_location), index)
    index.bind(archive.stored.id())
    index.mark(is_complete=True)
    store = InMemoryJobStore(time.time)
    return make_ports(settings, store, archive, Engine(local_broker, store), Metrics(CollectorRegistry()))


def _make_uploads(bundle: Bundle) -> Iterator[Predictions]:
    """Yield predictions of models with 75 % accuracy."""
    random = np.random.default_rng(0)
    targets = bundle.all_targets
    for _ in range(ANALYSES):
        wrong = random.random(len(targets)) < 0.25
        top1 = np.where(wrong, random.integers(0, 1000, len(targets)), targets).astype(np.int16)
        yield Predictions(top1, random.random(len(targets)).astype(np.float16))


def _archive(ports: Ports, bundle: Bundle, uploads: Sequence[Predictions]) -> None:
    """Judge and archive uploads."""
    for predictions in uploads:
        now = ports.stores.clock()
        analysis = Analysis(
            id=requests.new_id(now),
            request=AnalysisRequest(DATASET),
            state=State.SUCCEEDED,
            evidence=bundle.digest,
            create_time=now,
            predictions_digest=digest_predictions(predictions),
            images=bundle.images_digest,
            classes=bundle.classes_digest,
            summary=compute_summary(bundle, predictions),
            end_time=now,
        )
        ports.stores.archive.put(analysis, predictions)


def _make_review(bundle: Bundle, number: int) -> Review:
    row = number * 37 % len(bundle.rows)
    label = bundle.label_space.ids[(int(bundle.evidence.targets[row]) + 7) % 1000]
    now = datetime.now(UTC)
    return Review(f"{number:032x}", DATASET, bundle.judged_names[row], bundle.digest, "a", True, now, added=(label,))
