"""The metrics of the store, GPUs, bundles, and results; a failed collection is logged and repeated."""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import structlog
from errata.errors import Unavailable
from indexed_archive import InMemoryIndexedArchive
from prometheus_client import CollectorRegistry

from service.analyses.model_metrics import WatchedModels, find_watched_models
from service.analyses.ports import Stores
from service.bootstrap.metrics_collectors import ResultsCollector, StoreCollector
from service.domain import Analysis, AnalysisRequest, Predictions, State
from service.evidence.repository import EvidenceRepository
from service.jobs.base_store import Depth
from service.jobs.memory import InMemoryJobStore
from service.jobs.store import JobStore
from service.key_value.commands import MemoryUsage
from service.periodic_task import PeriodicTask
from service.predictions.models.device import gpu_memory
from service.telemetry import Metrics

DEPTH = Depth(3, 2, 30, 4, 61.5, 7.0, workers=2, refused=5, crashes=6, delayed=8, dead=9)


class Store:
    """A store with the methods that a StoreCollector calls."""

    def __init__(self) -> None:
        self.read_depth: Callable[[], Depth] = lambda: DEPTH
        self.responds = True

    def depth(self) -> Depth:
        return self.read_depth()

    def memory_usage(self) -> MemoryUsage:
        return MemoryUsage(1000, 4000)

    def ping(self) -> bool:
        return self.responds


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(CollectorRegistry())


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def make_raising(error: Exception) -> Callable[[], Any]:
    def call() -> Any:
        raise error

    return call


def test_store_and_gpu_metrics_are_collected(metrics: Metrics) -> None:
    collector = StoreCollector(cast(JobStore, Store()), metrics, lambda: {"cuda:0": (5, 80), "cuda:1": (6, 80)})
    collector()

    assert collector.is_available()
    expected = {
        ("errata_open_analyses", "queued"): 3,
        ("errata_open_analyses", "running"): 2,
        ("errata_open_shards", "queued"): 30,
        ("errata_open_shards", "running"): 4,
        ("errata_oldest_open_seconds", "queued"): 61.5,
        ("errata_oldest_open_seconds", "running"): 7.0,
    }
    assert {key: value(metrics, key[0], state=key[1]) for key in expected} == expected
    plain = {
        "errata_live_workers": 2,
        "errata_fenced_writes_total": 5,
        "errata_crashes_total": 6,
        "errata_delayed_messages": 8,
        "errata_dead_letters": 9,
        "errata_redis_memory_bytes": 1000,
        "errata_redis_max_memory_bytes": 4000,
    }
    assert {name: value(metrics, name) for name in plain} == plain
    assert value(metrics, "errata_gpu_memory_bytes", device="cuda:1", kind="used") == 6
    assert value(metrics, "errata_gpu_memory_bytes", device="cuda:0", kind="total") == 80


def test_the_series_of_a_removed_gpu_ends(metrics: Metrics) -> None:
    result = {"cuda:0": (5, 80)}
    collector = StoreCollector(cast(JobStore, Store()), metrics, lambda: result)
    collector()
    result.clear()
    collector()

    assert value(metrics, "errata_gpu_memory_bytes", device="cuda:0", kind="used") is None


def test_only_gpus_that_this_process_uses_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = {"device_count": lambda: 3, "is_initialized": lambda: True, "memory_reserved": lambda index: index % 2}
    for name, value_of in (cuda | {"mem_get_info": lambda index: (30, 40 + index)}).items():
        monkeypatch.setattr(f"torch.cuda.{name}", value_of)
    assert gpu_memory() == {"cuda:1": (11, 41)}

    monkeypatch.setattr("torch.cuda.is_initialized", lambda: False)
    assert gpu_memory() == {}


@pytest.mark.parametrize("error", [Unavailable("Redis is unavailable."), RuntimeError("a bug")])
def test_a_store_becomes_unavailable_and_available_again(metrics: Metrics, error: Exception) -> None:
    store = Store()
    collector = StoreCollector(cast(JobStore, store), metrics)
    collector()
    store.read_depth = make_raising(error)
    with pytest.raises(type(error)):
        collector()
    assert not collector.is_available()
    store.read_depth = lambda: replace(DEPTH, workers=0)
    collector()

    assert collector.is_available()
    assert value(metrics, "errata_live_workers") == 0


def test_an_unavailable_store_raises_once(metrics: Metrics) -> None:
    store = Store()
    collector = StoreCollector(cast(JobStore, store), metrics)
    collector()
    store.read_depth = make_raising(Unavailable("Redis is unavailable."))
    with pytest.raises(Unavailable):
        collector()

    for _ in range(3):
        collector()  # raises nothing, so the log does not get a line per second
    assert not collector.is_available()


def test_metrics_are_read_at_every_third_call_and_availability_is_checked_at_each_call(
    metrics: Metrics,
) -> None:
    num_reads = []
    store = Store()
    store.read_depth = lambda: (num_reads.append(1), DEPTH)[1]
    collector = StoreCollector(cast(JobStore, store), metrics, every=3)
    for _ in range(9):
        collector()
        assert collector.is_available()
    assert len(num_reads) == 3

    store.responds, store.read_depth = False, make_raising(Unavailable("Redis is unavailable."))
    with pytest.raises(Unavailable):
        collector()
    assert not collector.is_available()


@pytest.mark.parametrize("error", [Unavailable("unavailable"), ValueError("a bug")])
def test_a_failed_task_is_logged_and_repeated(error: Exception) -> None:
    calls = []

    def collector() -> None:
        calls.append(1)
        raise error

    with structlog.testing.capture_logs() as log, PeriodicTask("test", collector, 0.01):
        deadline = time.monotonic() + 10
        while len(calls) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)

    assert len(calls) >= 3
    assert {event["task"] for event in log} == {"test"}


@pytest.mark.parametrize(("error", "count"), [(Unavailable("The index is closed."), 0), (ValueError("a bug"), 1)])
def test_only_a_bug_is_logged_after_a_stop(error: Exception, count: int) -> None:
    task = PeriodicTask("test", make_raising(error), 10)
    task.stop()
    with structlog.testing.capture_logs() as log:
        task.run_once()

    assert len(log) == count


def test_existing_bundles_are_reported_before_their_first_use(metrics: Metrics, data_dir: Path, demo: Any) -> None:
    repository, archive = EvidenceRepository({}, data_dir), InMemoryIndexedArchive()
    stores = cast(Stores, SimpleNamespace(evidence=repository, archive=archive, index=archive.index))
    ResultsCollector(stores, metrics, ["*"], 10)()

    rules = str(demo.manifest.rules_version)
    assert value(metrics, "errata_evidence_info", dataset="demo", digest=demo.digest, rules=rules) == 1
    assert value(metrics, "errata_results_dropped") == 0


def test_results_are_collected_again_only_when_the_index_changes(
    metrics: Metrics, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, calls = InMemoryIndexedArchive(), []

    def num_reads(*arguments: Any) -> WatchedModels:
        calls.append(1)
        return find_watched_models(*arguments)

    monkeypatch.setattr("service.bootstrap.metrics_collectors.find_watched_models", num_reads)
    collector = ResultsCollector(
        cast(Stores, SimpleNamespace(evidence=EvidenceRepository({}, data_dir), archive=archive, index=archive.index)),
        metrics,
        ["*"],
        10,
    )
    for _ in range(3):
        collector()
    assert len(calls) == 1

    request = AnalysisRequest("demo", labels={"model": "net", "version": "1"})
    archive.put(
        Analysis("a1", request, State.FAILED, "e", datetime(2026, 1, 1, tzinfo=UTC)),
        Predictions(np.zeros(3, dtype=np.int16)),
    )
    for _ in range(3):
        collector()
    assert len(calls) == 2


def test_the_in_memory_store_provides_the_metrics(metrics: Metrics) -> None:
    collector = StoreCollector(InMemoryJobStore(time.time), metrics)
    collector()

    assert value(metrics, "errata_open_analyses", state="queued") == 0
    assert value(metrics, "errata_dead_letters") == 0
