"""Prometheus scrapes a service and its worker with the configuration in deploy/; an injected fault fires an alert."""

import json
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from missing_tools import skip_or_fail
from redis_server import free_port

from .cluster import Cluster, cluster, wait_for

DEPLOY = Path(__file__).resolve().parents[2] / "deploy" / "prometheus"


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus."""

    address: str

    def query(self, path: str, **parameters: str) -> Any:
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"http://{self.address}/api/v1/{path}?{query}", timeout=5) as answer:
            return json.loads(answer.read())["data"]

    def value(self, expression: str) -> float | None:
        result = self.query("query", query=expression)["result"]
        return float(result[0]["value"][1]) if result else None

    def firing_alerts(self) -> set[str]:
        return {item["labels"]["alertname"] for item in self.query("alerts")["alerts"] if item["state"] == "firing"}


@pytest.fixture
def running(data_dir: Path, tmp_path: Path) -> Iterator[Cluster]:
    folder = tmp_path / "cluster"
    folder.mkdir()
    with cluster(data_dir, folder, seconds=0.01, ERRATA_WORKER_HTTP_ADDRESS=f"127.0.0.1:{free_port()}") as result:
        yield result


@pytest.fixture
def prometheus(running: Cluster, tmp_path: Path) -> Iterator[Prometheus]:
    """Prometheus with the configuration in deploy/, other targets, and intervals of seconds instead of minutes."""
    if shutil.which("prometheus") is None:
        skip_or_fail("prometheus is missing: tests/scripts/install-deploy-tools")
    settings = yaml.safe_load((DEPLOY / "prometheus.yaml").read_text())
    settings["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    for job, address in zip(settings["scrape_configs"], (running.http, running.worker_http), strict=True):
        job.pop("dns_sd_configs", None)
        job["static_configs"] = [{"targets": [address]}]
    rules = yaml.safe_load((DEPLOY / "rules.yaml").read_text())
    for group in rules["groups"]:
        for rule in group["rules"]:
            if "for" in rule:
                rule["for"] = "2s"
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(settings))
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules))
    address = f"127.0.0.1:{free_port()}"
    options = {
        "config.file": tmp_path / "prometheus.yml",
        "storage.tsdb.path": tmp_path / "tsdb",
        "web.listen-address": address,
    }
    with (tmp_path / "prometheus.log").open("wb") as log:
        command = ["prometheus", *(f"--{name}={value}" for name, value in options.items())]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    result = Prometheus(address)
    try:
        wait_for(lambda: _is_up(result), "Prometheus answers")
        yield result
    finally:
        process.terminate()
        process.wait(30)


def _is_up(prometheus: Prometheus) -> bool:
    try:
        return prometheus.value("vector(1)") == 1
    except OSError:
        return False


def test_prometheus_scrapes_the_service_and_an_alert_fires_for_an_injected_fault(
    running: Cluster, prometheus: Prometheus
) -> None:
    for job in ("errata-api", "errata-worker"):
        wait_for(lambda job=job: prometheus.value(f'up{{job="{job}"}}') == 1, f"{job} is scraped")
    groups = prometheus.query("rules")["groups"]
    loaded = {rule["name"] for group in groups for rule in group["rules"]}
    written = yaml.safe_load((DEPLOY / "rules.yaml").read_text())["groups"]
    assert loaded == {rule.get("alert") or rule["record"] for group in written for rule in group["rules"]}

    with running.client() as client:
        list(client.watch(client.analyze("demo:efficientnet_lite0", "demo").name))
    wait_for(
        lambda: prometheus.value('errata_images_total{job="errata-worker"}') == 20,
        "the images of the worker are reported",
    )
    wait_for(lambda: prometheus.value('sum(errata_analyses_total{state="succeeded"})') == 1, "the analysis is reported")
    wait_for(lambda: prometheus.value('sum(errata_result_samples{group="all"})') == 20, "the result is reported")
    assert prometheus.value('errata_ready{job="errata-api"}') == 1
    assert all(rule["health"] != "err" for group in groups for rule in group["rules"])
    wait_for(lambda: prometheus.value("min(errata_ready)") == 1, "both processes are ready")
    assert prometheus.firing_alerts() == set()

    running.redis.kill()
    wait_for(lambda: "ErrataNotReady" in prometheus.firing_alerts(), "the alert fires")

    running.redis.start()
    wait_for(lambda: "ErrataNotReady" not in prometheus.firing_alerts(), "the alert ends")
