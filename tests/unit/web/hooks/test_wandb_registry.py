"""Weights & Biases as a registry: summary, metadata, and alias, with the same requests as the client `wandb`."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from analyses_strategy import make_analysis
from errata.errors import ModelNotFound, Unavailable
from graphql import FieldNode, Visitor, parse, visit
from missing_tools import require_package
from registry_server import RegistryServer, send
from wandb_results_server import COLLECTION, ENTITY, KEY, PROJECT, Artifact, WandbServer

from service.analyses.write_back import WriteBack
from service.domain import Action, AnalysisRequest, Failure, GateDecision, GateResult, RegistryEvent, State
from service.predictions.registry_http import RegistryAddress
from service.predictions.wandb_results import WandbResults
from service.web.hooks.wandb_registry import WandbRegistry

NAME = f"{ENTITY}/{PROJECT}/{COLLECTION}"
LINK = "https://errata.example/analyses/a1"


@pytest.fixture
def server() -> Iterator[WandbServer]:
    with WandbServer() as running:
        running.artifacts = [Artifact(2, {"champion"}), Artifact(3, {"latest"}, {"framework": "torch"})]
        yield running


@pytest.fixture
def registry(server: WandbServer) -> WandbRegistry:
    return WandbRegistry(RegistryAddress("wandb", server.url, KEY, "wandb"), (), "https://errata.example")


def make_result(analysis: str = "a1", decision: GateDecision | None = GateDecision.PASS, **changes: Any) -> WriteBack:
    finished = make_analysis(analysis, **{"request": AnalysisRequest("demo"), **changes})
    gate = GateResult(decision, "ship it", analysis, "", ()) if decision is not None else None
    return WriteBack(NAME, "v3", finished, gate, without_baseline=False, report="<html></html>")


def test_a_result_is_written_to_run_and_artifact_and_last_to_the_alias(
    server: WandbServer, registry: WandbRegistry
) -> None:
    registry.write(make_result())

    assert server.changes() == ["UpsertBucket", "UpdateArtifact", "AddAliases"]
    summary = server.summaries["run-1"]
    assert (summary["loss"], summary["errata/top1"], summary["errata/report"]) == (0.5, 0.5, LINK)
    assert (summary["errata/count/correct"], summary["errata/count/model_failure"]) == (93, 7)
    assert "errata/count/fine_grained_oov" not in summary  # its rule abstained
    artifact = server.artifacts[1]
    assert artifact.metadata["framework"] == "torch"
    errata = artifact.metadata["errata"]
    assert (errata["analysis"], errata["state"], errata["dataset"], errata["report"]) == (
        "a1",
        "succeeded",
        "demo",
        LINK,
    )
    assert (errata["gate"], errata["gate_analysis"], errata["metrics"]["top1"]) == ("pass", "a1", 0.5)
    assert artifact.aliases == {"latest", "errata-passed"}
    assert server.artifacts[0].metadata == {}


def test_a_repeated_delivery_changes_nothing(server: WandbServer, registry: WandbRegistry) -> None:
    registry.write(make_result())
    before = server.changes()

    for _ in range(3):
        registry.write(make_result())

    assert server.changes() == before


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_a_delivery_that_is_interrupted_after_a_change_is_completed(
    server: WandbServer, registry: WandbRegistry, lost: int
) -> None:
    def disconnect(operation: str) -> None:
        if len(server.changes()) == lost:
            raise ConnectionAbortedError

    server.after = disconnect
    with pytest.raises(Unavailable):
        registry.write(make_result())
    server.after = lambda operation: None

    registry.write(make_result())

    assert server.changes() == ["UpsertBucket", "UpdateArtifact", "AddAliases"]
    assert "errata-passed" in server.artifacts[1].aliases


def test_the_alias_moves_to_the_version_that_passed_last(server: WandbServer, registry: WandbRegistry) -> None:
    registry.write(replace(make_result("a1"), version="v2"))
    assert server.artifacts[0].aliases == {"champion", "errata-passed"}

    registry.write(make_result("a2"))

    assert [artifact.aliases for artifact in server.artifacts] == [{"champion"}, {"latest", "errata-passed"}]


def test_a_version_that_fails_loses_the_alias(server: WandbServer, registry: WandbRegistry) -> None:
    registry.write(make_result("a1"))
    registry.write(make_result("a2", GateDecision.FAIL))

    assert server.artifacts[1].aliases == {"latest"}
    assert server.artifacts[1].metadata["errata"]["gate"] == "fail"


@pytest.mark.parametrize("decision", [GateDecision.UNDECIDED, GateDecision.ERROR, None])
def test_a_version_without_a_decision_keeps_its_alias(
    server: WandbServer, registry: WandbRegistry, decision: GateDecision | None
) -> None:
    registry.write(make_result("a1"))
    registry.write(make_result("a2", decision))

    assert "errata-passed" in server.artifacts[1].aliases
    expected = decision.name.lower() if decision else "pass"
    assert server.artifacts[1].metadata["errata"]["gate"] == expected


def test_an_older_result_changes_nothing(server: WandbServer, registry: WandbRegistry) -> None:
    registry.write(make_result("a2"))
    before = server.changes()

    registry.write(make_result("a1", GateDecision.FAIL))

    assert server.changes() == before


def test_a_later_result_that_another_process_writes_meanwhile_is_not_replaced(
    server: WandbServer, registry: WandbRegistry
) -> None:
    def write_later(operation: str) -> None:
        if operation == "UpsertBucket":
            server.after = lambda operation: None
            registry.write(make_result("a2", GateDecision.FAIL))

    server.after = write_later
    registry.write(make_result("a1", GateDecision.PASS))

    errata = server.artifacts[1].metadata["errata"]
    assert (errata["analysis"], errata["gate_analysis"], errata["gate"]) == ("a2", "a2", "fail")
    assert server.artifacts[1].aliases == {"latest"}


def test_a_late_result_does_not_move_the_alias_back_to_its_version(
    server: WandbServer, registry: WandbRegistry
) -> None:
    registry.write(make_result("a2"))
    registry.write(replace(make_result("a1"), version="v2"))

    assert [artifact.aliases for artifact in server.artifacts] == [{"champion"}, {"latest", "errata-passed"}]
    assert server.artifacts[0].metadata["errata"]["gate"] == "pass"


def test_a_failed_analysis_is_written_with_its_error(server: WandbServer, registry: WandbRegistry) -> None:
    failure = Failure("UNSUPPORTED_FORMAT", "pickle files are refused")
    registry.write(make_result(decision=GateDecision.ERROR, state=State.FAILED, summary=None, failure=failure))

    errata = server.artifacts[1].metadata["errata"]
    assert (errata["state"], errata["error"], errata["metrics"]) == ("failed", "pickle files are refused", {})
    assert server.artifacts[1].aliases == {"latest"}


def test_an_artifact_without_a_run_gets_metadata_and_alias(server: WandbServer, registry: WandbRegistry) -> None:
    server.artifacts[1].run = ""

    registry.write(make_result())

    assert server.changes() == ["UpdateArtifact", "AddAliases"]


@pytest.mark.parametrize(
    ("name", "version"), [(NAME, "v9"), (f"{ENTITY}/other/{COLLECTION}", "v3"), (f"{ENTITY}/{PROJECT}/other", "v3")]
)
def test_a_missing_version_is_not_found(registry: WandbRegistry, name: str, version: str) -> None:
    with pytest.raises(ModelNotFound):
        registry.write(replace(make_result(), model=name, version=version))


@pytest.mark.parametrize("name", ["resnet50", "a/b", "a//c", "a/b/c/d"])
def test_a_name_of_another_form_is_not_found(server: WandbServer, registry: WandbRegistry, name: str) -> None:
    with pytest.raises(ModelNotFound):
        registry.write(replace(make_result(), model=name))
    assert server.requests == []


# Events


def test_an_event_of_an_alias_gets_the_number_of_its_version(server: WandbServer, registry: WandbRegistry) -> None:
    event = RegistryEvent(Action.CREATED, NAME, "latest")

    resolved = registry.resolve(event)
    assert resolved == replace(event, version="v3")
    assert registry.model_id(resolved) == f"wandb://wandb/{NAME}:v3"
    assert registry.version_of(NAME, "champion") == "v2"
    assert registry.version_of(NAME, "none") is None


def test_a_registry_without_a_token_resolves_aliases_and_writes_nothing(server: WandbServer) -> None:
    registry = WandbRegistry(RegistryAddress("wandb", server.url, kind="wandb"), ())
    server.is_public = True
    event = RegistryEvent(Action.CREATED, NAME, "latest")

    assert registry.resolve(event).version == "v3"
    server.artifacts = [Artifact(3), Artifact(4, {"latest"})]
    assert registry.resolve(event).version == "v4"

    before = len(server.requests)
    registry.write(make_result())
    assert len(server.requests) == before


def test_an_event_of_a_version_needs_no_request(server: WandbServer, registry: WandbRegistry) -> None:
    event = RegistryEvent(Action.CREATED, NAME, "v3")

    assert registry.resolve(event) == event
    assert server.requests == []


# Errors


@pytest.mark.parametrize(
    ("response", "message"),
    [
        ({"errors": [{"message": "permission denied"}], "data": None}, "refused a request"),
        ({"data": []}, "refused a request"),
        ((401, {"errors": ["no"]}), "HTTP 401"),
        ((200, b"<html>"), "JSON object"),
        ({"data": {"project": {"artifactCollectionMembership": {"artifact": {"id": "a"}}}}}, "invalid artifact"),
        ({"data": {"project": "p"}}, "invalid artifact"),
        ({"data": {"project": {"artifactCollectionMembership": ["m"]}}}, "invalid artifact"),
        (
            {
                "data": {
                    "project": {
                        "artifactCollectionMembership": {
                            "versionIndex": math.inf,
                            "aliases": [],
                            "artifact": {"id": "a"},
                        }
                    }
                }
            },
            "invalid artifact",
        ),
        (
            {
                "data": {
                    "project": {
                        "artifactCollectionMembership": {
                            "versionIndex": 3,
                            "aliases": [],
                            "artifact": {"id": "a", "metadata": "[" * 500},
                        }
                    }
                }
            },
            "invalid artifact",
        ),
    ],
)
def test_unexpected_responses_are_errors(response: Any, message: str) -> None:
    with RegistryServer() as server:
        server.responses["/graphql"] = response
        client = WandbResults(RegistryAddress("wandb", server.url, KEY, "wandb"))

        with pytest.raises(Unavailable, match=message):
            client.artifact(NAME, "v3")


def test_the_key_goes_to_no_other_host() -> None:
    with RegistryServer() as server, RegistryServer() as other:
        server.responses["/graphql"] = lambda handler: send(handler, 307, b"", Location=f"{other.url}/graphql")

        with pytest.raises(Unavailable, match="redirects to another address"):
            WandbResults(RegistryAddress("wandb", server.url, KEY, "wandb")).artifact(NAME, "v3")
        assert other.requests == []


# The client `wandb` as the reference


@pytest.mark.processes
def test_requests_are_those_of_the_client(server: WandbServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server checks the credentials; the fields that Errata reads are fields that the client reads."""
    require_package("wandb")
    send_with_client(server, tmp_path, monkeypatch)
    reference, operations = normalize(server.requests), "\n".join(server.queries)
    server.requests.clear()
    server.queries.clear()
    server.artifacts[1].metadata = {"framework": "torch"}
    client = WandbResults(RegistryAddress("wandb", server.url, KEY, "wandb"))

    artifact = client.artifact(NAME, "v3")
    client.set_summary(artifact.run, {"loss": 0.5, "errata/top1": 0.25})
    client.set_metadata(artifact.id, {"framework": "torch", "errata": {"gate": "pass"}})
    client.add_alias(artifact.id, NAME, "errata-passed")
    client.delete_alias(artifact.id, NAME, "errata-passed")

    assert normalize(server.requests) == reference
    from wandb.apis.public.runs import RUN_FRAGMENT
    from wandb.sdk.artifacts._generated.operations import ARTIFACT_CREATED_BY_GQL

    known = field_names(operations) | field_names(ARTIFACT_CREATED_BY_GQL) | field_names(RUN_FRAGMENT)
    assert field_names("\n".join(server.queries)) <= known


def send_with_client(server: WandbServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the same changes with the public API of the client."""
    import wandb
    from wandb.apis.public.summary import HTTPSummary

    for name in ("WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR"):
        monkeypatch.setenv(name, str(folder))
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.setenv("WANDB_SILENT", "true")
    api = wandb.Api(overrides={"base_url": server.url}, api_key=KEY)
    artifact = api.artifact(f"{NAME}:v3")
    run = SimpleNamespace(dir=str(folder), storage_id="run-1", files=lambda **_: [])
    summary: Any = HTTPSummary  # has no types
    summary(run, api._service_api, summary={"loss": 0.5}).update({"errata/top1": 0.25})
    artifact.metadata["errata"] = {"gate": "pass"}
    artifact.save()
    artifact.aliases.append("errata-passed")
    artifact.save()
    artifact.aliases.remove("errata-passed")
    artifact.save()
    wandb.teardown()


def normalize(requests: list[tuple[str, Mapping[str, Any]]]) -> list[Any]:
    """Return the first of each operation; the client also asks for features, and sends all fields at each save."""
    first: dict[str, Any] = {}
    for name, variables in requests:
        if name in ("Viewer", "GetDefaultEntity", "ServerFeaturesQuery"):
            continue
        values = variables.get("input", variables)
        decoded = {
            key: json.loads(value) if key in ("metadata", "summaryMetrics") else value
            for key, value in values.items()
            if value != []  # no tags to add or to delete
        }
        first.setdefault(name, decoded)
    return sorted(first.items())


def field_names(operations: str) -> set[str]:
    """Return the names of the fields that operations select."""
    names: set[str] = set()

    class Fields(Visitor):
        def enter_field(self, node: FieldNode, *_: Any) -> None:
            names.add(node.name.value)

    visit(parse(operations), Fields())
    return names
