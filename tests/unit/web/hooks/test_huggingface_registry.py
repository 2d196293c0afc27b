"""The Hugging Face Hub as a registry: one pull request with the results, and the same requests as huggingface_hub."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from analyses_strategy import make_analysis, make_summary
from errata.errors import InvalidInput, ModelNotFound, Unavailable
from huggingface_hub import CommitOperationAdd, HfApi, ModelCard
from huggingface_server import TOKEN, USER, HuggingFaceServer, Pull, Repository, is_check, other_comment
from registry_server import RegistryServer, send

from service.analyses.write_back import WriteBack
from service.domain import Action, AnalysisRequest, GateDecision, GateResult, RegistryEvent, State
from service.predictions.huggingface_client import HuggingFaceClient, PullRequest
from service.predictions.registry_http import RegistryAddress
from service.web.hooks.huggingface_registry import TITLE, HuggingFaceRegistry

NAME = "team/photo-net"
CARD = "---\nlicense: mit  # ours\ntags: [vision]\n---\n# Photo net\n"
WEIGHTS = {"model.safetensors": b"weights", "config.json": b"{}"}


@pytest.fixture
def hub() -> Iterator[HuggingFaceServer]:
    with HuggingFaceServer() as running:
        running.repositories[NAME] = repository = Repository()
        repository.commit("main", {**WEIGHTS, "README.md": CARD.encode()})
        yield running


@pytest.fixture
def registry(hub: HuggingFaceServer) -> HuggingFaceRegistry:
    return HuggingFaceRegistry(RegistryAddress("hub", hub.url, TOKEN), (), "https://errata.example")


def make_result(analysis: str = "a1", decision: GateDecision | None = GateDecision.PASS, **changes: Any) -> WriteBack:
    finished = make_analysis(analysis, **{"request": AnalysisRequest("imagenet-real"), **changes})
    gate = GateResult(decision, "ship it", analysis, "", ()) if decision is not None else None
    return WriteBack(NAME, "c" * 40, finished, gate, without_baseline=False, report="<html></html>")


def test_a_result_is_proposed_in_the_model_card_and_then_commented(
    hub: HuggingFaceServer, registry: HuggingFaceRegistry
) -> None:
    registry.write(make_result())

    repository = hub.repositories[NAME]
    (pull,) = repository.pulls
    assert (pull.title, pull.status) == (TITLE, "open")
    assert repository.card("main") == CARD
    card = ModelCard(repository.card("refs/pr/1"))  # as huggingface_hub reads it
    assert (card.data.get("license"), card.data.get("tags"), card.data.get("model_name")) == (
        "mit",
        ["vision"],
        "photo-net",
    )
    assert card.text == "# Photo net\n"
    results = {result.metric_type: result for result in card.data.get("eval_results") or ()}
    assert {kind: result.metric_value for kind, result in results.items()} == {
        "accuracy": 0.5,
        "multi_label_accuracy": 0.5,
    }
    top1 = results["accuracy"]
    assert (top1.task_type, top1.dataset_type, top1.dataset_name, top1.dataset_split) == (
        "image-classification",
        "imagenet-1k",
        "imagenet-real",
        "validation",
    )
    assert (top1.source_name, top1.source_url) == ("Errata", "https://errata.example/analyses/a1")
    assert top1.metric_args == {"model_revision": "c" * 40, "analysis": "a1"}
    (comment,) = repository.comments(1)
    assert "Gate: **pass**" in comment
    assert "https://errata.example/analyses/a1" in comment
    assert [path.rpartition("/")[2] for _, path in hub.changes()] == ["main?create_pr=1", "comment"]


def test_a_repeated_delivery_changes_nothing(hub: HuggingFaceServer, registry: HuggingFaceRegistry) -> None:
    registry.write(make_result())
    before = hub.changes()

    for _ in range(3):
        registry.write(make_result())

    assert hub.changes() == before


@pytest.mark.parametrize("is_merged", [True, False])
def test_a_repeated_delivery_after_the_end_of_the_pull_request_changes_nothing(
    hub: HuggingFaceServer, registry: HuggingFaceRegistry, is_merged: bool
) -> None:
    registry.write(make_result())
    repository = hub.repositories[NAME]
    if is_merged:
        repository.merge(1)
    else:
        repository.pull(1).status = "closed"
    before = hub.changes()

    registry.write(make_result())

    assert hub.changes() == before


@pytest.mark.parametrize("lost", [1, 2])
def test_a_delivery_that_is_interrupted_after_a_change_is_completed(
    hub: HuggingFaceServer, registry: HuggingFaceRegistry, lost: int
) -> None:
    """The Hub makes the change, but the connection ends before the answer."""

    def disconnect(verb: str, path: str) -> None:
        if len(hub.changes()) == lost and verb == "POST":
            raise ConnectionAbortedError

    hub.after = disconnect
    with pytest.raises(Unavailable):
        registry.write(make_result())
    hub.after = lambda verb, path: None

    registry.write(make_result())

    repository = hub.repositories[NAME]
    assert len(repository.pulls) == 1
    assert len(repository.comments(1)) == 1
    assert repository.card("refs/pr/1").count("type: accuracy") == 1


def test_a_later_result_updates_the_open_pull_request_and_replaces_its_entry(
    hub: HuggingFaceServer, registry: HuggingFaceRegistry
) -> None:
    registry.write(make_result("a1"))
    registry.write(make_result("a2", GateDecision.FAIL))
    registry.write(make_result("a2", GateDecision.FAIL, request=AnalysisRequest("demo")))

    repository = hub.repositories[NAME]
    assert len(repository.pulls) == 1
    card = ModelCard(repository.card("refs/pr/1"))
    analyses = [
        (result.dataset_name, (result.metric_args or {})["analysis"]) for result in card.data.get("eval_results") or ()
    ]
    assert sorted(set(analyses)) == [("demo", "a2"), ("imagenet-real", "a2")]
    assert [text.splitlines()[0] for text in repository.comments(1)] == [
        "Result of analysis `a1`",
        "Result of analysis `a2`",
    ]


def test_an_older_result_does_not_replace_a_later_one(hub: HuggingFaceServer, registry: HuggingFaceRegistry) -> None:
    registry.write(make_result("a2"))
    card = hub.repositories[NAME].card("refs/pr/1")

    registry.write(make_result("a1"))

    assert hub.repositories[NAME].card("refs/pr/1") == card


def test_a_later_result_opens_a_new_pull_request_after_the_end_of_the_first(
    hub: HuggingFaceServer, registry: HuggingFaceRegistry
) -> None:
    registry.write(make_result("a1"))
    hub.repositories[NAME].merge(1)

    registry.write(make_result("a2"))

    assert [pull.status for pull in hub.repositories[NAME].pulls] == ["merged", "open"]
    assert "analysis: a1" not in hub.repositories[NAME].card("refs/pr/2")


def test_pull_requests_and_comments_of_others_are_not_used(
    hub: HuggingFaceServer, registry: HuggingFaceRegistry
) -> None:
    """Anyone can open a pull request with the same title, and anyone can write about an analysis."""
    repository = hub.repositories[NAME]
    repository.commit("refs/pr/1", {"README.md": b"---\nlicense: other\n---\nevil\n"}, repository.branches["main"])
    description = other_comment("Result of analysis `a1`")
    repository.pulls.append(Pull(1, TITLE, "somebody", [description]))

    registry.write(make_result())
    repository.pull(2).events.append(description)
    registry.write(make_result())

    assert [pull.author for pull in repository.pulls] == ["somebody", USER]
    assert "evil" not in repository.card("refs/pr/2")
    assert len(repository.pull(1).events) == 1


def test_a_repository_without_a_model_card_gets_one(hub: HuggingFaceServer, registry: HuggingFaceRegistry) -> None:
    hub.repositories[NAME] = repository = Repository()
    repository.commit("main", WEIGHTS)

    registry.write(make_result(decision=None))

    assert repository.card("refs/pr/1").startswith("---\nmodel-index:\n")
    assert "Gate" not in repository.comments(1)[0]


def test_an_analysis_without_a_result_is_not_written(hub: HuggingFaceServer, registry: HuggingFaceRegistry) -> None:
    registry.write(make_result(state=State.FAILED, summary=None))
    registry.write(make_result(summary=make_summary(None, 0)))  # no image is evaluated

    assert hub.requests == []


def test_a_missing_repository_is_not_found(hub: HuggingFaceServer, registry: HuggingFaceRegistry) -> None:
    for name in ("team/other", "../api", "a/b/c", "team/.."):
        with pytest.raises(ModelNotFound):
            registry.write(replace(make_result(), model=name))


@pytest.mark.parametrize("card", [b"---\na: [\n---\n", b"---\n- a\n---\n", b"\xff\xfe"])
def test_an_invalid_model_card_is_left_as_it_is(
    hub: HuggingFaceServer, registry: HuggingFaceRegistry, card: bytes
) -> None:
    hub.repositories[NAME].commit("main", {"README.md": card})

    with pytest.raises(InvalidInput, match="Invalid model card"):
        registry.write(make_result())
    assert hub.changes() == []


def test_a_commit_that_comes_between_reading_and_writing_is_not_overwritten(
    hub: HuggingFaceServer, registry: HuggingFaceRegistry
) -> None:
    def push(verb: str, path: str) -> None:
        if "/commit/" in path:
            hub.before = lambda verb, path: None
            hub.repositories[NAME].commit("main", {"README.md": b"# Changed meanwhile\n"})

    hub.before = push
    with pytest.raises(Unavailable):
        registry.write(make_result())
    assert hub.repositories[NAME].pulls == []

    registry.write(make_result())

    assert hub.repositories[NAME].card("refs/pr/1").endswith("# Changed meanwhile\n")


def test_the_token_goes_to_no_other_host(registry: HuggingFaceRegistry) -> None:
    with RegistryServer() as first, RegistryServer() as other:
        first.responses["/api/whoami-v2"] = {"name": USER}
        first.responses[f"/api/models/{NAME}/discussions"] = lambda handler: send(
            handler, 307, b"", Location=f"{other.url}/api"
        )
        redirected = replace(registry, address=RegistryAddress("hub", first.url, TOKEN))

        with pytest.raises(Unavailable, match="redirects to another address"):
            redirected.write(make_result())
        assert other.requests == []


def test_a_model_card_that_is_too_long_is_not_read(registry: HuggingFaceRegistry) -> None:
    with RegistryServer() as server:
        server.responses["/team/net/raw/main/README.md"] = b"x" * ((1 << 20) + 1)

        with pytest.raises(Unavailable, match="more than 1,048,576 bytes"):
            HuggingFaceClient(RegistryAddress("hub", server.url, TOKEN)).model_card("team/net", "main")


def test_pull_requests_that_are_no_objects_are_not_used() -> None:
    with RegistryServer() as server:
        server.responses["/api/whoami-v2"] = {"name": "me"}
        discussions = ["x", None, [1]]
        server.responses["/api/models/team/net/discussions"] = {"discussions": discussions, "start": 0, "count": 3}
        client = HuggingFaceClient(RegistryAddress("hub", server.url, TOKEN))

        assert list(client.own_pull_requests("team/net")) == []


# Events


def pushed(hub: HuggingFaceServer, **files: bytes) -> RegistryEvent:
    """Push files to main; return the event of the push."""
    repository = hub.repositories[NAME]
    before = repository.branches["main"]
    renamed = {name.replace("_", "."): content for name, content in files.items()}
    commit = repository.commit("main", renamed)
    return RegistryEvent(Action.CREATED, NAME, commit, previous=before)


def test_a_merged_result_is_not_analyzed(hub: HuggingFaceServer, registry: HuggingFaceRegistry) -> None:
    registry.write(make_result())
    before = hub.repositories[NAME].branches["main"]
    merged = hub.repositories[NAME].merge(1)

    assert registry.resolve(RegistryEvent(Action.CREATED, NAME, merged, previous=before)) is None


def test_a_push_with_weights_is_analyzed(hub: HuggingFaceServer, registry: HuggingFaceRegistry) -> None:
    for event in (pushed(hub, model_safetensors=b"other"), pushed(hub, README_md=b"new", config_json=b"[]")):
        assert registry.resolve(event) == event
    assert registry.resolve(pushed(hub, README_md=b"text")) is None


def test_a_new_branch_and_an_unknown_commit_are_analyzed(hub: HuggingFaceServer, registry: HuggingFaceRegistry) -> None:
    event = pushed(hub, README_md=b"text")

    assert registry.resolve(replace(event, previous="")) == replace(event, previous="")
    assert registry.resolve(replace(event, previous="f" * 40)) == replace(event, previous="f" * 40)


def test_a_registry_without_a_token_compares_commits_and_writes_nothing(hub: HuggingFaceServer) -> None:
    registry = HuggingFaceRegistry(RegistryAddress("hub", hub.url), ())
    private = pushed(hub, README_md=b"text")
    assert registry.resolve(private) == private

    hub.is_public = True
    assert registry.resolve(pushed(hub, README_md=b"other")) is None
    weights = pushed(hub, model_safetensors=b"other")
    assert registry.resolve(weights) == weights

    before = len(hub.requests)
    registry.write(make_result())
    assert len(hub.requests) == before


def test_an_unavailable_hub_does_not_prevent_an_analysis(hub: HuggingFaceServer, registry: HuggingFaceRegistry) -> None:
    event = pushed(hub, README_md=b"text")
    hub.stop()

    assert registry.resolve(event) == event


# huggingface_hub as the reference


def test_requests_are_those_of_huggingface_hub(hub: HuggingFaceServer) -> None:
    repository = hub.repositories[NAME]
    main = repository.branches["main"]
    address = RegistryAddress("hub", hub.url, TOKEN)
    client, api = HuggingFaceClient(address), HfApi(hub.url, token=TOKEN)
    content = b"# Card\n"

    def add() -> list[CommitOperationAdd]:
        return [CommitOperationAdd("README.md", content)]

    api.whoami()
    api.model_info(NAME, revision="main", files_metadata=True)
    list(api.get_repo_discussions(NAME, author=USER, discussion_type="pull_request"))
    opened = api.create_commit(
        NAME, add(), commit_message="T", commit_description="D", create_pr=True, parent_commit=main
    )
    api.get_discussion_details(NAME, 1)
    api.comment_discussion(NAME, 1, "text")
    head = repository.branches["refs/pr/1"]
    api.create_commit(NAME, add(), commit_message="T", revision="refs/pr/1", parent_commit=head)
    reference, hub.requests = list(hub.requests), []

    assert client.user == USER
    assert set(client.files(NAME, "main")) == {"README.md", *WEIGHTS}
    list(client.own_pull_requests(NAME))
    repository.pulls.clear()
    assert client.open_pull_request(NAME, main, content, "T", "D") == opened.pr_num == 1
    client.own_texts(NAME, 1)
    client.comment(NAME, 1, "text")
    repository.branches["refs/pr/1"] = head
    client.update_pull_request(NAME, PullRequest(1, "T", True), head, content, "T")

    assert normalize(hub.requests) == normalize(reference)


def normalize(requests: list[tuple[str, str, Any, bytes]]) -> list[Any]:
    """Return the metadata that the Hub reads, without the checks that huggingface_hub makes before a commit."""
    normalized = []
    for verb, path, headers, body in requests:
        if is_check(path):
            continue
        address, _, query = path.partition("?")
        lines = [json.loads(line) for line in body.splitlines()]
        kind = headers.get("content-type") if verb == "POST" else ""
        normalized.append((verb, address, sorted(query.lower().split("&")), headers["authorization"], kind, lines))
    return normalized
