"""docker-compose.yml with real images: uploads, models, monitoring, kills, restarts, and scaling."""

from pathlib import Path

import pytest
from errata import Client

from .stack import SERVICES, Stack, docker, wait_for

MODEL = "demo:efficientnet_lite0"


def analyze_demo(client: Client) -> float:
    """Run the demo's model, and return its accuracy."""
    analysis = client.wait(client.analyze(MODEL, "demo", fresh=True))
    assert analysis.state.name == "SUCCEEDED", analysis.failure
    return float(analysis.summary.groups["all"].top1_accuracy)


@pytest.fixture
def client(stack: Stack) -> Client:
    return stack.client()


def test_all_services_become_healthy(stack: Stack) -> None:
    for service in SERVICES:
        (container,) = stack.containers(service)
        health = docker("inspect", "--format", "{{if .State.Health}}{{.State.Health.Status}}{{end}}", container)
        assert health == ("" if service == "prometheus" else "healthy")


def test_a_file_from_outside_is_analyzed(stack: Stack, client: Client, reference: Path) -> None:
    file = reference / "predictions" / "imagenet_val_resnet50_cv.csv"
    analysis = client.upload(file, "imagenet-real")

    assert analysis.summary.groups["all"].top1_accuracy == pytest.approx(0.727, abs=0.02)


def test_the_demo_model_runs_on_a_worker(client: Client) -> None:
    assert analyze_demo(client) == 0.9  # 18 of 20 photographs


def test_prometheus_scrapes_all_processes_and_loads_the_rules(stack: Stack) -> None:
    def targets() -> dict[str, str]:
        return {target["labels"]["job"]: target["health"] for target in stack.prometheus("targets")["activeTargets"]}

    wait_for(lambda: targets() == {"errata-api": "up", "errata-worker": "up"}, "all targets are up")
    rules = [rule for group in stack.prometheus("rules")["groups"] for rule in group["rules"]]
    assert rules
    assert {rule["health"] for rule in rules} <= {"ok", "unknown"}


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


@pytest.mark.parametrize("service", ["worker", "redis", "api"])
def test_a_killed_process_restarts_and_the_analysis_finishes(stack: Stack, client: Client, service: str) -> None:
    analysis = client.analyze(MODEL, "demo", fresh=True)
    wait_for(lambda: client.get(analysis).state.name != "QUEUED", "the analysis runs")
    stack.kill(service)

    def state() -> str:
        try:
            return client.get(analysis).state.name
        except Exception:
            return "UNAVAILABLE"

    wait_for(lambda: state() == "SUCCEEDED", f"the analysis finishes after the {service} was killed")
    assert client.get(analysis).summary.groups["all"].top1_accuracy == 0.9


def test_archived_analyses_survive_down_and_up(stack: Stack) -> None:
    with stack.client() as client:
        before = {analysis.name for analysis in client.list()}
    assert before
    stack.down()
    stack.up()

    with stack.client() as client:
        assert {analysis.name for analysis in client.list()} == before


def test_two_workers_share_the_work(stack: Stack) -> None:
    stack.up("--scale", "worker=2")
    assert len(stack.containers("worker")) == 2
    with stack.client() as client:
        assert analyze_demo(client) == 0.9
