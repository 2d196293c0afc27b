"""A worker survives models that never load, hang, or are killed, and runs the next model."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from errata import Client, pb
from security import graphs

from .cluster import SOON, Cluster, wait_for

GOOD = "demo:efficientnet_lite0"
LONG = 180.0  # seconds; the timeout includes imports of torch on a busy machine


@pytest.fixture
def models(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


@pytest.fixture
def service(data_dir: Path, tmp_path: Path, models: Path, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """The service with one worker that runs models; the parameter is ERRATA_LOAD_SECONDS."""
    settings = {"ERRATA_MODELS": str(models), "ERRATA_LOAD_SECONDS": str(getattr(request, "param", 900))}
    running = Cluster(data_dir, tmp_path, **settings, ERRATA_SHARD_SIZE="20", ERRATA_LOG_FORMAT="json")
    try:
        running.redis.start()
        running.start_api()
        running.start_real_worker()
        wait_for(lambda: running.metric("errata_live_workers") == 1, "the worker is live", LONG)
        yield running
    finally:
        running.stop()


def wait_for_end(client: Client, name: str) -> pb.Analysis:
    """Wait until an analysis ends."""
    final = (pb.Analysis.STATE_SUCCEEDED, pb.Analysis.STATE_FAILED, pb.Analysis.STATE_CANCELLED)
    wait_for(lambda: client.get(name).state in final, f"{name} ends", LONG)
    return client.get(name)


def serves(service: Cluster, client: Client) -> None:
    """Check that the first worker still runs and completes an analysis."""
    assert wait_for_end(client, client.analyze(GOOD, "demo", fresh=True).name).state == pb.Analysis.STATE_SUCCEEDED
    assert len(service.events("worker ready")) == 1
    assert service.workers[0].poll() is None


def children(service: Cluster) -> list[int]:
    """Return the ids of the model processes, oldest first."""
    return [int(str(event["pid"])) for event in service.events("model process started")]


def uses_cpu(pid: int) -> bool:
    """Return whether a process has used two seconds of CPU time since it was ready, as a stuck loop does."""

    def ticks() -> int:
        return sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]))

    before = ticks()
    wait_for(lambda: ticks() > before + 2 * os.sysconf("SC_CLK_TCK"), "it computes", LONG)
    return True


def has_ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.parametrize("service", [15], indirect=True)
def test_a_model_that_never_loads_fails_and_the_worker_runs_the_next(service: Cluster, models: Path) -> None:
    hostile = graphs.write(models, "hostile", graphs.endless_loop())
    with service.client() as client:
        failure = wait_for_end(client, client.analyze(hostile, "demo").name).failure

        assert failure.reason == "MODEL_REFUSED"
        assert "onnx:hostile.onnx" in failure.message
        assert "longer than 15 seconds" in failure.message
        assert "ERRATA_LOAD_SECONDS" in failure.message
        serves(service, client)


@pytest.mark.parametrize("black_ends", [False, True], ids=["load", "predict"])
def test_canceling_a_stuck_model_ends_it_immediately(service: Cluster, models: Path, black_ends: bool) -> None:
    hostile = graphs.write(models, "hostile", graphs.endless_loop(black_ends))
    with service.client() as client:
        name = client.analyze(hostile, "demo").name
        wait_for(lambda: children(service), "the process starts", LONG)
        (child,) = children(service)
        assert uses_cpu(child)

        assert client.cancel(name).state == pb.Analysis.STATE_CANCELLED

        wait_for(lambda: has_ended(child), "the process is killed", SOON)
        wait_for(lambda: service.events("shard stopped"), "the shard stops", SOON)
        serves(service, client)


def test_a_model_that_kills_its_process_in_each_batch_fails_after_a_limited_number_of_attempts(
    service: Cluster, models: Path
) -> None:
    hostile = graphs.write(models, "hostile", graphs.endless_loop(black_ends=True))
    with service.client() as client:
        name = client.analyze(hostile, "demo").name
        for tries in range(1, 5):
            wait_for(lambda expected=tries: len(children(service)) == expected, "the process starts", LONG)
            child = children(service)[-1]
            assert uses_cpu(child)
            os.kill(child, signal.SIGSEGV)

        failure = wait_for_end(client, name).failure

        assert failure.reason == "WORKER_LOST"
        assert "ended while it predicted" in failure.message
        serves(service, client)


def test_a_worker_stops_in_time_without_leftover_processes(service: Cluster, models: Path) -> None:
    hostile = graphs.write(models, "hostile", graphs.endless_loop())
    with service.client() as client:
        name = client.analyze(hostile, "demo").name
        wait_for(lambda: children(service), "the process starts", LONG)
        (child,) = children(service)
        assert uses_cpu(child)

        service.workers[0].send_signal(signal.SIGTERM)

        assert service.workers[0].wait(SOON) == 0
        wait_for(lambda: has_ended(child), "the process is killed")
        assert client.get(name).state == pb.Analysis.STATE_QUEUED  # it was released for another worker
        client.cancel(name)


def test_log_lines_of_the_model_process_have_the_ids_of_the_analysis(service: Cluster, data_dir: Path) -> None:
    """The log lines about a missing image have the ids of the job and the request."""
    service.workers[0].kill()
    service.workers[0].wait()
    images = service.folder / "images"
    images.mkdir()
    (images / "other.png").write_bytes(b"no image")
    service.start_real_worker(ERRATA_IMAGES=json.dumps({"demo": str(images)}))
    with service.client() as client:
        name = client.analyze(GOOD, "demo").name
        wait_for_end(client, name)

    lines = service.events("image unreadable")
    assert lines
    assert all(line["analyses"] == [name.removeprefix("analyses/")] for line in lines)
    assert all(line["model"] == GOOD and line["job"] and line["request"] for line in lines)
