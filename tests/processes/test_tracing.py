"""Traces: one analysis from a client through the API, the queue, a worker, the judging, and the write-back."""

import base64
import hashlib
import hmac
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from errata import pb
from registry_server import RegistryServer
from standardwebhooks.webhooks import Webhook
from trace_collector import Span, TraceCollector, trace_collector

from service.evidence.labels import demo_folder

from .cluster import Cluster, cluster, wait_for
from .test_write_back import SECRET as GENERIC_SECRET
from .test_write_back import Receiver

SECRET = "a secret of the test's"
DEMO_MODEL = "demo:efficientnet_lite0"
REGISTERED_MODEL = "mlflow:models://prod/photo-net/7"
VERSION = "/api/2.0/mlflow/model-versions"
NUM_SHARDS = 4  # of 20 photographs
SECRETS = (SECRET, "password-of-the-tests-redis", "token-of-the-collector")


@pytest.fixture
def collector() -> Iterator[TraceCollector]:
    with trace_collector() as running:
        yield running


@pytest.fixture
def registry() -> Iterator[RegistryServer]:
    """A registry that speaks the API of MLflow."""
    with RegistryServer() as running:
        running.responses[f"{VERSION}/get"] = {"model_version": {"name": "photo-net", "version": "7"}}
        running.responses[f"{VERSION}/set-tag"] = {}
        running.responses[f"{VERSION}/search"] = {}
        running.responses["/api/2.0/mlflow/registered-models/search"] = {}
        yield running


@pytest.fixture
def service(data_dir: Path, tmp_path: Path, collector: TraceCollector, registry: RegistryServer) -> Iterator[Cluster]:
    """A service with one worker, whose processes export spans to the collector."""
    rule = {"event": "created", "model": "photo-*", "dataset": "demo"}
    prod = {"kind": "mlflow", "url": registry.url, "secrets": [SECRET], "rules": [rule]}
    settings = {
        "ERRATA_REGISTRIES": json.dumps({"prod": prod}),
        "ERRATA_MODEL_SOURCES": '["demo:*", "mlflow:*"]',
        "ERRATA_POLL_SECONDS": "3600",
        "MODEL": REGISTERED_MODEL,
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_EXPORTER_OTLP_HEADERS": f"authorization={SECRETS[2]}",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    with cluster(data_dir, tmp_path, seconds=0.01, **settings) as running:
        yield running


def run_program(service: Cluster, collector: TraceCollector, file: Path = Path(), **settings: str) -> None:
    """Run a program that traces its calls of the service."""
    program = Path(__file__).parent / "traced_program.py"
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_SERVICE_NAME": "program"}
    subprocess.run(
        [sys.executable, str(program), service.grpc, DEMO_MODEL, str(file)],
        env=service.settings | variables | settings,
        timeout=120,
        check=True,
    )


def webhook(service: Cluster) -> str:
    """Return the request of a registry that has a new version, signed as MLflow signs it."""
    body = json.dumps(
        {"entity": "model_version", "action": "created", "data": {"name": "photo-net", "version": "7", "source": "s"}}
    )
    now = str(int(time.time()))
    signature = hmac.new(SECRET.encode(), f"d1.{now}.{body}".encode(), hashlib.sha256).digest()
    headers = {
        "Content-Type": "application/json",
        "X-MLflow-Delivery-Id": "d1",
        "X-MLflow-Timestamp": now,
        "X-MLflow-Signature": f"v1,{base64.b64encode(signature).decode()}",
    }
    return json.dumps({"url": f"http://{service.http}/v1/hooks/mlflow/prod", "headers": headers, "body": body})


def generic_webhook(service: Cluster) -> str:
    """Return the request of a registry that has a new version of a model of the demo."""
    data = {"name": "photo-net", "version": "7", "model": DEMO_MODEL}
    body, now = json.dumps({"type": "model_version.created", "data": data}), datetime.now(UTC)
    headers = {
        "Content-Type": "application/json",
        "webhook-id": "d1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(GENERIC_SECRET).sign("d1", now, body),
    }
    return json.dumps({"url": f"http://{service.http}/v1/hooks/generic/any", "headers": headers, "body": body})


def copy_photographs(folder: Path) -> Path:
    """Copy the photographs of the demo; one of the copies is damaged."""
    shutil.copytree(demo_folder(), folder)
    min(folder.rglob("*.jpg")).write_bytes(b"no image")
    return folder


def names_of_children(collector: TraceCollector, parent: Span) -> list[str]:
    return sorted(span.name for span in collector.spans() if span.parent == parent.id)


def test_an_analysis_is_one_trace_from_the_webhook_to_the_write_back(
    service: Cluster, collector: TraceCollector, registry: RegistryServer
) -> None:
    run_program(service, collector, WEBHOOK=webhook(service))
    wait_for(lambda: collector.spans("write-back"), "the write-back is traced")
    wait_for(lambda: len(collector.spans("shard")) == NUM_SHARDS, "all shards are traced")
    wait_for(lambda: collector.spans("judging"), "the judging is traced")

    root = collector.only("program")
    trace = [span for span in collector.spans() if span.trace == root.trace]
    request = collector.only("POST /v1/hooks/{kind}/{registry_id}")
    submit = collector.only("submit")
    assert (request.parent, request.kind, request.service) == (root.id, "SERVER", "errata-api")
    assert submit.parent == request.id
    assert request.attributes["http.response.status_code"] == 202
    shards = collector.spans("shard")
    assert [
        span.attributes["errata.shard"] for span in sorted(shards, key=lambda span: span.attributes["errata.shard"])
    ] == [*range(NUM_SHARDS)]
    for name in ("shard", "queue wait", "judging", "write-back"):
        for span in collector.spans(name):
            assert (name, span.trace, span.parent) == (name, root.trace, submit.id)
    assert {span.service for span in shards} == {"errata-worker"}
    assert all(names_of_children(collector, shard) == ["inference", "model load"] for shard in shards)
    judging, write_back = collector.only("judging"), collector.only("write-back")
    assert judging.service == write_back.service == "errata-api"
    assert names_of_children(collector, judging) == ["archive write", "judge"]
    assert judging.start >= max(shard.start for shard in shards)
    assert write_back.start >= judging.end

    own = {
        "errata.analysis": submit.attributes["errata.analysis"],
        "errata.dataset": "demo",
        "errata.model": REGISTERED_MODEL,
    }
    for span in (submit, *shards, judging, write_back):
        assert own.items() <= span.attributes.items()
    calls = [span for span in trace if span.kind == "CLIENT" and span.parent == write_back.id]
    assert {span.attributes["http.request.method"] for span in calls} == {"GET", "POST"}
    assert {span.attributes["http.response.status_code"] for span in calls} == {200}
    assert {span.status for span in trace} == {"UNSET"}


def test_clients_calls_and_their_analyses_are_in_the_trace_of_the_program(
    service: Cluster, collector: TraceCollector, demo_csv: bytes, tmp_path: Path
) -> None:
    file = tmp_path / "my-secret-predictions.csv"
    file.write_bytes(demo_csv)
    run_program(service, collector, file)
    wait_for(lambda: collector.spans("judging"), "the judging is traced")
    wait_for(lambda: len(collector.spans("shard")) == NUM_SHARDS, "all shards are traced")
    upload = "errata.v1.AnalysisService/UploadPredictions"
    wait_for(lambda: len(collector.spans(upload)) == 2, "the upload is traced")

    root = collector.only("program")
    assert {span.trace for span in collector.spans() if span.name != "GET other"} == {root.trace}
    for method in ("CreateAnalysis", "WatchAnalysis", "UploadPredictions"):
        called, served = collector.spans(f"errata.v1.AnalysisService/{method}")
        assert (called.kind, called.service, called.parent) == ("CLIENT", "program", root.id)
        assert (served.kind, served.service, served.parent) == ("SERVER", "errata-api", called.id)
        for span in (called, served):
            assert span.attributes["rpc.system.name"] == "grpc"
            assert span.attributes["rpc.method"] == span.name
            assert span.attributes["rpc.response.status_code"] == "OK"
    _, served = collector.spans(upload)
    assert names_of_children(collector, served) == ["archive write", "judge", "parse"]
    assert served.attributes["errata.dataset"] == "demo"
    with service.client() as client:
        assert served.attributes["errata.analysis"] in {item.name.removeprefix("analyses/") for item in client.list()}

    judged = [line for line in service.events("analysis judged") if line.get("trace_id") == root.trace]
    assert {line["span_id"] for line in judged} == {served.id, collector.only("judging").id}
    claimed = service.events("shard claimed")
    assert {(line["trace_id"], line["span_id"]) for line in claimed} == {
        (root.trace, span.id) for span in collector.spans("shard")
    }
    content = repr(collector.spans())
    assert all(secret not in content for secret in SECRETS)
    assert file.name not in content
    assert ".jpg" not in content.lower()


def test_a_shard_of_a_killed_worker_is_redelivered_in_the_same_trace(
    service: Cluster, collector: TraceCollector
) -> None:
    (first,) = service.workers
    first.kill()
    first.wait(10)
    second = service.start_worker(seconds=0.5)
    with service.client() as client:
        analysis = client.analyze(DEMO_MODEL, "demo")
        wait_for(lambda: service.events("shard claimed"), "a shard is claimed")
        wait_for(lambda: collector.spans("model load"), "its model is loaded")
        second.kill()
        second.wait(10)
        service.start_worker(seconds=0.01)
        wait_for(lambda: client.get(analysis.name).state == pb.Analysis.STATE_SUCCEEDED, "the analysis has succeeded")
    wait_for(lambda: len(collector.spans("shard")) == NUM_SHARDS, "all shards are traced")
    wait_for(lambda: collector.spans("judging"), "the judging is traced")

    submit = collector.only("submit")
    killed_shard = service.events("shard claimed")[0]["shard"]
    waits = collector.spans("queue wait", errata_shard=killed_shard)
    shard = collector.only("shard", errata_shard=killed_shard)
    assert len(waits) == 2
    assert {span.process["service.instance.id"] for span in waits} >= {shard.process["service.instance.id"]}
    assert waits[0].process["service.instance.id"] != waits[1].process["service.instance.id"]
    assert {(span.trace, span.parent) for span in (*waits, *collector.spans("shard"))} == {(submit.trace, submit.id)}
    assert waits[1].start > waits[0].end  # the second wait begins when the lease of the killed worker ends


def test_a_model_process_logs_the_trace_and_a_webhook_carries_it(
    data_dir: Path, tmp_path: Path, collector: TraceCollector
) -> None:
    receiver = Receiver(tmp_path)
    receiver.status = 200
    rule = {"event": "created", "model": "photo-*", "dataset": "demo"}
    registry = {"kind": "generic", "url": receiver.url, "secrets": [GENERIC_SECRET], "rules": [rule]}
    registry |= {"ports": [receiver.port], "networks": ["127.0.0.0/8", "::1/128"]}
    settings = {
        "ERRATA_REGISTRIES": json.dumps({"any": registry}),
        "SSL_CERT_FILE": str(receiver.certificate),
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "ERRATA_MAX_MISSING": "0.1",
        "ERRATA_IMAGES": json.dumps({"demo": str(copy_photographs(tmp_path / "images"))}),
    }
    with cluster(data_dir, tmp_path, workers=0, **settings) as service:
        service.start_real_worker()
        wait_for(lambda: service.metric("errata_live_workers") == 1, "the worker is live")
        run_program(service, collector, WEBHOOK=generic_webhook(service))
        wait_for(lambda: collector.spans("write-back"), "the write-back is traced", 120)
        wait_for(lambda: len(collector.spans("shard")) == NUM_SHARDS, "all shards are traced")
    receiver.stop()

    root, write_back = collector.only("program"), collector.only("write-back")
    assert {span.trace for span in collector.spans()} == {root.trace}
    (delivery,) = receiver.deliveries
    assert delivery.headers["traceparent"] == f"00-{root.trace}-{write_back.id}-03"
    (line,) = service.events("image unreadable")  # an event of the model process
    assert line["trace_id"] == root.trace
    assert line["span_id"] in {span.id for span in collector.spans("inference")}


def test_an_unreachable_collector_neither_fails_analyses_nor_stops_the_shutdown(
    data_dir: Path, tmp_path: Path, demo_csv: bytes
) -> None:
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_BSP_SCHEDULE_DELAY": "100"}
    variables |= {"ERRATA_GRACE_SECONDS": "10"}  # the end of the interpreter takes seconds on a busy machine
    file = tmp_path / "predictions.csv"
    file.write_bytes(demo_csv)
    with cluster(data_dir, tmp_path, seconds=0.01, **variables) as running, running.client() as client:
        assert client.upload(file, "demo", accept_implausible=True).state == pb.Analysis.STATE_SUCCEEDED
        assert client.wait(client.analyze(DEMO_MODEL, "demo")).state == pb.Analysis.STATE_SUCCEEDED
        assert running.api is not None
        for process in (*running.workers, running.api):
            process.terminate()
            assert process.wait(30) == 0
