"""docker-compose.yml with real images: uploads, models, monitoring, kills, restarts, and scaling."""

import csv
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from errata import Client, pb
from errata.errors import ErrataError

from service.evidence.bundle import Bundle

from .stack import Stack, docker, wait_for

MODEL = "demo:efficientnet_lite0"
SUCCEEDED, RUNNING = pb.Analysis.STATE_SUCCEEDED, pb.Analysis.STATE_RUNNING
ATTEMPTS = 5  # to pause a worker before it completes a shard


def analyze_demo(client: Client) -> float:
    """Run the demo's model, and return its accuracy."""
    analysis = client.wait(client.analyze(MODEL, "demo", fresh=True))
    assert analysis.state == SUCCEEDED, analysis.failure
    return float(analysis.summary.groups["all"].top1_accuracy)


@pytest.fixture
def client(stack: Stack) -> Iterator[Client]:
    with stack.client() as result:
        yield result


def pause_in_shard(stack: Stack, client: Client) -> pb.Analysis:
    """Start an analysis, and freeze the worker while it runs a shard."""
    (worker,) = stack.containers("worker")
    for _ in range(ATTEMPTS):
        analysis = client.analyze(MODEL, "demo", fresh=True)
        wait_for(lambda run=analysis: client.get(run).state != pb.Analysis.STATE_QUEUED, "the analysis runs")
        docker("pause", worker)
        if client.get(analysis).state == RUNNING:
            return analysis
        docker("unpause", worker)
    raise AssertionError("each analysis ended before its worker was paused")


def state(client: Client, analysis: pb.Analysis) -> int:
    """Return the state of an analysis; 0 while the service is unavailable."""
    try:
        return client.get(analysis).state
    except ErrataError:
        return 0


def test_all_services_become_healthy(stack: Stack) -> None:
    assert {"redis", "api", "worker", "prometheus"} <= set(stack.services)
    for service in ("redis", "api", "worker"):
        (container,) = stack.containers(service)
        assert docker("inspect", "--format", "{{.State.Health.Status}}", container) == "healthy"


def test_a_file_from_outside_is_analyzed(client: Client, reference: Path, imagenet_real: Bundle) -> None:
    file = reference / "predictions" / "imagenet_val_resnet50_cv.csv"
    analysis = client.upload(file, "imagenet-real")

    with file.open(newline="") as lines:
        predicted = {row["file_name"]: int(row["top1"]) for row in csv.DictReader(lines)}
    targets = dict(zip(imagenet_real.image_names, imagenet_real.all_targets.tolist(), strict=True))
    right = [predicted[name] == targets[name] for name in imagenet_real.judged_names]
    assert analysis.summary.groups["all"].top1_accuracy == pytest.approx(sum(right) / len(right))


def test_the_demo_model_runs_on_a_worker(client: Client) -> None:
    assert analyze_demo(client) == 0.9  # 18 of 20 photographs


def test_prometheus_scrapes_all_processes_and_loads_the_rules(stack: Stack) -> None:
    def targets() -> dict[str, str]:
        return {target["labels"]["job"]: target["health"] for target in stack.prometheus("targets")["activeTargets"]}

    wait_for(lambda: targets() == {"errata-api": "up", "errata-worker": "up"}, "all targets are up")

    def health() -> set[str]:
        rules = [rule for group in stack.prometheus("rules")["groups"] for rule in group["rules"]]
        assert rules
        return {rule["health"] for rule in rules}

    wait_for(lambda: health() == {"ok"}, "all rules are evaluated without an error")


def test_a_health_check_takes_a_fraction_of_the_time_of_a_grpc_client(stack: Stack) -> None:
    """Measured inside the container, in CPU time, beside each other."""
    (container,) = stack.containers("api")
    probe = ["python3", "-I", "-S", "/opt/package/service/probe.py", "ERRATA_HTTP_ADDRESS"]
    program = (
        "import resource, subprocess, sys\n"
        "for _ in range(5): subprocess.run(sys.argv[1:], check=True, stderr=subprocess.DEVNULL)\n"
        "usage = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print((usage.ru_utime + usage.ru_stime) / 5 * 1000)\n"
    )
    mine, theirs = (
        float(docker("exec", container, "python3", "-c", program, *command))
        for command in (probe, ["errata", "health"])
    )

    print(f"CPU time of the health check: {mine:.0f} ms; of errata health: {theirs:.0f} ms")
    assert mine < theirs / 3
    assert mine < 100


@pytest.mark.parametrize("service", ["worker", "redis", "api"])
def test_a_process_killed_during_a_shard_restarts_and_the_analysis_finishes(
    stack: Stack, client: Client, service: str
) -> None:
    (worker,) = stack.containers("worker")
    analysis = pause_in_shard(stack, client)
    stack.kill(service)
    docker("unpause", worker)
    started = time.monotonic()

    wait_for(lambda: state(client, analysis) == SUCCEEDED, f"the analysis finishes after the {service} was killed")
    print(f"the analysis finished {time.monotonic() - started:.1f} s after SIGKILL of the {service}")
    assert client.get(analysis).summary.groups["all"].top1_accuracy == 0.9
    count = docker("inspect", "--format", "{{.RestartCount}}", stack.containers(service)[0])
    assert int(count) == 1


def test_finished_analyses_survive_a_restart_of_all_services(stack: Stack, client: Client) -> None:
    before = {analysis.name for analysis in client.list()}
    assert before
    stack.compose("restart")
    stack.up()

    assert {analysis.name for analysis in client.list()} == before


def test_archived_analyses_survive_down_and_up(stack: Stack, client: Client) -> None:
    before = {analysis.name for analysis in client.list()}
    assert before
    stack.down()
    stack.up()

    with stack.client() as after:
        assert {analysis.name for analysis in after.list()} == before


def test_two_workers_share_the_work(stack: Stack) -> None:
    stack.up("--scale", "worker=2")
    assert len(stack.containers("worker")) == 2
    with stack.client() as client:
        analyses = [
            client.analyze(MODEL, "demo", fresh=True, request_id=f"two-workers-{number}") for number in range(6)
        ]
        ended = [client.wait(analysis) for analysis in analyses]

    assert [analysis.summary.groups["all"].top1_accuracy for analysis in ended] == [0.9] * len(ended)

    def busy() -> set[str]:
        counts = stack.prometheus("query?query=errata_images_total")["result"]
        return {count["metric"]["instance"] for count in counts if float(count["value"][1]) > 0}

    wait_for(lambda: len(busy()) == 2, "both workers predicted images")
