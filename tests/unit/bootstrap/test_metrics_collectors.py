"""What the watches look at: the store, GPUs, bundles, results; a look that fails is logged and the next one comes."""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import structlog
from errata.errors import Unavailable
from prometheus_client import CollectorRegistry

from service.analyses.model_metrics import WatchedModels, find_watched_models
from service.analyses.ports import Ports
from service.archive.memory import InMemoryArchive
from service.bootstrap.metrics_collectors import ResultsCollector, StoreCollector, Watch
from service.domain import Analysis, AnalysisRequest, Predictions, State
from service.evidence.repository import EvidenceRepository
from service.jobs.memory import InMemoryJobStore
from service.jobs.store import Depth, JobStore, MemoryUsage
from service.predictions.models.device import gpu_memory
from service.telemetry import Metrics

DEPTH = Depth(3, 2, 30, 4, 61.5, 7.0, workers=2, refused=5, crashes=6, delayed=8, dead=9)


class Store:
    """A store of which only the depth is asked."""

    def __init__(self) -> None:
        self.depth_now: Callable[[], Depth] = lambda: DEPTH
        self.answers = True

    def depth(self) -> Depth:
        return self.depth_now()

    def memory_usage(self) -> MemoryUsage:
        return MemoryUsage(1000, 4000)

    def ping(self) -> bool:
        return self.answers


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(CollectorRegistry())


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def raising(error: Exception) -> Callable[[], Any]:
    def call() -> Any:
        raise error

    return call


def test_what_the_store_says_is_told(metrics: Metrics) -> None:
    look = StoreCollector(cast(JobStore, Store()), metrics, lambda: {"cuda:0": (5, 80), "cuda:1": (6, 80)})
    look()

    assert look.is_there()
    told = {
        ("errata_open_analyses", "queued"): 3,
        ("errata_open_analyses", "running"): 2,
        ("errata_open_shards", "queued"): 30,
        ("errata_open_shards", "running"): 4,
        ("errata_oldest_open_seconds", "queued"): 61.5,
        ("errata_oldest_open_seconds", "running"): 7.0,
    }
    assert {key: value(metrics, key[0], state=key[1]) for key in told} == told
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


def test_a_gpu_that_is_gone_is_not_told_any_more(metrics: Metrics) -> None:
    result = {"cuda:0": (5, 80)}
    look = StoreCollector(cast(JobStore, Store()), metrics, lambda: result)
    look()
    result.clear()
    look()

    assert value(metrics, "errata_gpu_memory_bytes", device="cuda:0", kind="used") is None


def test_only_gpus_on_which_this_process_has_something_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = {"device_count": lambda: 3, "is_initialized": lambda: True, "memory_reserved": lambda index: index % 2}
    for name, value_of in (cuda | {"mem_get_info": lambda index: (30, 40 + index)}).items():
        monkeypatch.setattr(f"torch.cuda.{name}", value_of)
    assert gpu_memory() == {"cuda:1": (11, 41)}

    monkeypatch.setattr("torch.cuda.is_initialized", lambda: False)
    assert gpu_memory() == {}


@pytest.mark.parametrize("error", [Unavailable("Redis is away"), RuntimeError("a bug")])
def test_a_store_that_is_away_isnt_there_and_is_again(metrics: Metrics, error: Exception) -> None:
    store = Store()
    look = StoreCollector(cast(JobStore, store), metrics)
    look()
    store.depth_now = raising(error)
    with pytest.raises(type(error)):
        look()
    assert not look.is_there()
    store.depth_now = lambda: replace(DEPTH, workers=0)
    look()

    assert look.is_there()
    assert value(metrics, "errata_live_workers") == 0


def test_a_store_that_stays_away_is_told_once(metrics: Metrics) -> None:
    store = Store()
    look = StoreCollector(cast(JobStore, store), metrics)
    look()
    store.depth_now = raising(Unavailable("Redis is away"))
    with pytest.raises(Unavailable):
        look()

    for _ in range(3):
        look()  # the log would have a line a second
    assert not look.is_there()


def test_what_takes_long_is_counted_now_and_then_and_whether_the_store_is_there_is_seen_each_time(
    metrics: Metrics,
) -> None:
    counted = []
    store = Store()
    store.depth_now = lambda: (counted.append(1), DEPTH)[1]
    look = StoreCollector(cast(JobStore, store), metrics, every=3)
    for _ in range(9):
        look()
        assert look.is_there()
    assert len(counted) == 3

    store.answers, store.depth_now = False, raising(Unavailable("Redis is away"))
    with pytest.raises(Unavailable):
        look()
    assert not look.is_there()


@pytest.mark.parametrize("error", [Unavailable("away"), ValueError("a bug")])
def test_a_look_that_fails_is_logged_and_the_next_one_comes(error: Exception) -> None:
    looks = []

    def look() -> None:
        looks.append(1)
        raise error

    watch = Watch("test", look, 0.01)
    with structlog.testing.capture_logs() as log:
        watch.start()
        deadline = time.monotonic() + 10
        while len(looks) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        watch.stop()

    assert len(looks) >= 3
    assert {event["watch"] for event in log} == {"test"}


def test_bundles_that_lie_there_are_told_before_anybody_asks_for_them(
    metrics: Metrics, data_dir: Path, demo: Any
) -> None:
    evidence_repository = EvidenceRepository({}, data_dir)
    ports = cast(Ports, SimpleNamespace(evidence_repository=evidence_repository, archive=InMemoryArchive()))
    ResultsCollector(ports, metrics, ["*"], 10)()

    rules = str(demo.manifest.rules_version)
    assert value(metrics, "errata_evidence_info", dataset="demo", digest=demo.digest, rules=rules) == 1
    assert value(metrics, "errata_results_dropped") == 0


def test_results_are_looked_through_again_only_when_the_list_has_changed(
    metrics: Metrics, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, looks = InMemoryArchive(), []

    def counted(*arguments: Any) -> WatchedModels:
        looks.append(1)
        return find_watched_models(*arguments)

    monkeypatch.setattr("service.bootstrap.metrics_collectors.find_watched_models", counted)
    look = ResultsCollector(
        cast(Ports, SimpleNamespace(evidence_repository=EvidenceRepository({}, data_dir), archive=archive)),
        metrics,
        ["*"],
        10,
    )
    for _ in range(3):
        look()
    assert len(looks) == 1

    request = AnalysisRequest("demo", labels={"model": "net", "version": "1"})
    archive.put(
        Analysis("a1", request, State.FAILED, "e", datetime(2026, 1, 1, tzinfo=UTC)), Predictions(top1=cast(Any, None))
    )
    for _ in range(3):
        look()
    assert len(looks) == 2


def test_a_store_in_memory_has_all_that_is_told(metrics: Metrics) -> None:
    look = StoreCollector(InMemoryJobStore(time.time), metrics)
    look()

    assert value(metrics, "errata_open_analyses", state="queued") == 0
    assert value(metrics, "errata_dead_letters") == 0
