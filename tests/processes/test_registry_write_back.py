"""Write-backs to the Hugging Face Hub and Weights & Biases: an API that is killed after a step completes the rest."""

import json
import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from huggingface_server import TOKEN, HuggingFaceServer, Repository
from redis import Redis
from wandb_results_server import COLLECTION, ENTITY, KEY, PROJECT, Artifact, WandbServer

from .cluster import SOON, Cluster, cluster, wait_for
from .test_write_back import SECRET, call

NAME = "team/photo-net"
HOOK_SECRET = "a secret of the test"
POLICY = """
version: 1
name: ship it
min_samples: 10
bounds: [{name: few failures, measure: count, types: MODEL_FAILURE, max: 20}]
"""  # it passes for all predictions, because there are 20 images


@pytest.fixture
def hub() -> Iterator[HuggingFaceServer]:
    with HuggingFaceServer() as running:
        running.repositories[NAME] = Repository()
        running.repositories[NAME].commit("main", {"model.safetensors": b"", "README.md": b"# Photo net\n"})
        yield running


@pytest.fixture
def wandb() -> Iterator[WandbServer]:
    with WandbServer() as running:
        running.artifacts = [Artifact(3, {"latest"})]
        yield running


@contextmanager
def requested_analysis(
    data_dir: Path, folder: Path, name: str, version: str, registry: Mapping[str, Any]
) -> Iterator[Cluster]:
    """Start a service with an open analysis of a registry, and then with the settings of the registry.

    A generic webhook requests the analysis, because it can name a model that needs no download.
    """
    policy = folder / "policy.yaml"
    policy.write_text(POLICY)
    rules = [{"event": "created", "dataset": "demo", "policy": str(policy)}]
    generic = {"kind": "generic", "secrets": [SECRET], "rules": rules}
    with cluster(data_dir, folder, workers=0, ERRATA_REGISTRIES=json.dumps({"any": generic})) as service:
        assert call(service, version, "d1", name) == 202
        kill(service)
        settings = {"secrets": [HOOK_SECRET], "rules": rules, **registry}
        service.settings["ERRATA_REGISTRIES"] = json.dumps({"any": settings})
        service.settings["ERRATA_PUBLIC_URL"] = "https://errata.example"
        service.start_api()
        service.start_worker(0.01)
        yield service


def push(service: Cluster, before: str, after: str) -> tuple[int, str]:
    """Send the webhook of a push to main; return the status and the outcome."""
    event = {
        "event": {"action": "update", "scope": "repo.content"},
        "repo": {"type": "model", "name": NAME, "id": "1"},
        "updatedRefs": [{"ref": "refs/heads/main", "oldSha": before, "newSha": after}],
        "webhook": {"id": "2", "version": 3},
    }
    url = f"http://{service.http}/v1/hooks/huggingface/any"
    request = urllib.request.Request(url, json.dumps(event).encode(), {"X-Webhook-Secret": HOOK_SECRET})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return int(answer.status), str(json.load(answer)["outcome"])


def kill(service: Cluster) -> None:
    assert service.api is not None
    service.api.kill()
    service.api.wait(10)


def write_back_with_kills(service: Cluster, changes: Callable[[], int], killed: threading.Event, steps: int) -> None:
    """Restart the API after each step at which it is killed, until the result is written."""
    for step in range(1, steps + 1):
        wait_for(killed.is_set, f"the API is killed after step {step}", SOON)
        assert changes() == step
        assert service.api is not None
        service.api.wait(10)
        killed.clear()
        end_lease(service)
        service.start_api()
    wait_for(lambda: service.metric("errata_write_backs_total") > 0, "a result is written", SOON)
    assert service.events("result written back")


def end_lease(service: Cluster) -> None:
    """End the leases of the killed process now, instead of a minute later."""
    with Redis.from_url(service.redis.url) as redis:
        items = redis.zrange("errata:owed", 0, -1)
        assert len(items) == 1
        redis.zadd("errata:owed", dict.fromkeys(items, 0), xx=True)
        assert redis.delete("errata:owed:lease:any") == 1


def test_a_pull_request_is_opened_and_commented_once_despite_kills(
    data_dir: Path, tmp_path: Path, hub: HuggingFaceServer
) -> None:
    repository = hub.repositories[NAME]
    settings = {"kind": "huggingface", "url": hub.url, "token": TOKEN}
    with requested_analysis(data_dir, tmp_path, NAME, repository.branches["main"], settings) as service:
        killed = threading.Event()

        def kill_after_change(verb: str, path: str) -> None:
            if verb == "POST":
                kill(service)
                killed.set()

        hub.after = kill_after_change
        write_back_with_kills(service, lambda: len(hub.changes()), killed, steps=2)
        before = repository.branches["main"]
        assert push(service, before, repository.merge(1)) == (200, "ignored")  # the merged result
        with service.client() as client:
            assert len([*client.list()]) == 1

    (pull,) = repository.pulls
    (result,) = {item.dataset_name for item in ModelCard(repository.card("refs/pr/1")).data.get("eval_results") or ()}
    assert result == "demo"
    (comment,) = repository.comments(pull.number)
    assert "Gate: **pass**" in comment
    assert len(hub.changes()) == 2


def test_summary_metadata_and_alias_are_written_once_despite_kills(
    data_dir: Path, tmp_path: Path, wandb: WandbServer
) -> None:
    settings = {"kind": "wandb", "url": wandb.url, "token": KEY}
    collection = f"{ENTITY}/{PROJECT}/{COLLECTION}"
    with requested_analysis(data_dir, tmp_path, collection, "v3", settings) as service:
        killed = threading.Event()

        def kill_after_change(operation: str) -> None:
            if operation != "ArtifactMembershipByName":
                kill(service)
                killed.set()

        wandb.after = kill_after_change
        write_back_with_kills(service, lambda: len(wandb.changes()), killed, steps=3)

    assert wandb.changes() == ["UpsertBucket", "UpdateArtifact", "AddAliases"]
    assert "errata/top1" in wandb.summaries["run-1"]
    assert wandb.artifacts[0].metadata["errata"]["gate"] == "pass"
    assert wandb.artifacts[0].aliases == {"latest", "errata-passed"}
