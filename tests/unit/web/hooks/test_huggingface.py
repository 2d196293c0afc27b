"""Hugging Face webhooks: a secret in a header, and commits as versions."""

import copy
from typing import Any

import pytest

from service.domain import Action, RegistryEvent
from service.web.hooks import huggingface
from service.web.hooks.payload import InvalidEvent
from service.web.hooks.signature import Unverified

from .events import single

OLD, NEW = "ce9a4674fa833a68d5a73ec355f0ea95eedd60b7", "575db8b7a51b6f85eb06eee540738584589f131c"
# spec: registries, "Hugging Face Hub"
DOCUMENTED: dict[str, Any] = {
    "event": {"action": "update", "scope": "repo.content"},
    "repo": {
        "type": "model",
        "name": "some-user/some-repo",
        "id": "6366c000a2abcdf2fd69a080",
        "private": False,
        "url": {"web": "https://hub.example/some-user/some-repo", "api": "https://hub.example/api"},
        "headSha": "c379e821c9c95d613899e8c4343e4bfee2b0c600",
        "tags": ["license:other"],
        "owner": {"id": "61d2000c3c2083e1c08af22d"},
    },
    "updatedRefs": [{"ref": "refs/heads/main", "oldSha": OLD, "newSha": NEW}],
    "webhook": {"id": "6390e855e30d9209411de93b", "version": 3},
}


def parsed(**changes: Any) -> RegistryEvent | None:
    return single(huggingface.parse({}, {**copy.deepcopy(DOCUMENTED), **changes}))


def pushed(ref: str, new: str | None = NEW) -> RegistryEvent | None:
    return parsed(updatedRefs=[{"ref": ref, "oldSha": OLD, "newSha": new}])


def test_request_with_one_of_the_secrets_is_verified() -> None:
    for name in ("X-Webhook-Secret", "x-webhook-secret"):
        huggingface.verify({name: "first secret"}, b"{}", ["first secret", "second secret"], 0)
        huggingface.verify({name: "second secret"}, b"{}", ["first secret", "second secret"], 0)


@pytest.mark.parametrize(
    "value", ["", "first secre", "first secret ", "First secret", "first secret\n", "é", "x" * 9999]
)
def test_request_with_another_secret_is_rejected(value: str) -> None:
    with pytest.raises(Unverified):
        huggingface.verify({"X-Webhook-Secret": value}, b"{}", ["first secret"], 0)


def test_secret_in_the_query_is_ignored() -> None:
    with pytest.raises(Unverified):
        huggingface.verify({"Referer": "https://h/?secret=first"}, b'{"secret": "first secret"}', ["first secret"], 0)


def test_commit_on_main_is_a_version_named_by_its_hash() -> None:
    result = parsed()

    assert result is not None
    assert (result.action, result.model, result.version) == (Action.CREATED, "some-user/some-repo", NEW)
    assert not result.is_own_change


def test_delivery_key_is_hook_repository_ref_and_commit() -> None:
    keys = [item.delivery for item in (parsed(), parsed(webhook={"id": "other", "version": 3})) if item is not None]
    keys += [item.delivery for item in (pushed("refs/tags/v1"), pushed("refs/heads/main", OLD)) if item is not None]
    again = parsed(event={"action": "create", "scope": "repo.content"})

    assert len(set(keys)) == 4 and all(keys)
    assert again is not None and again.delivery == keys[0]


@pytest.mark.parametrize("ref", ["refs/tags/v1.0", "refs/tags/releases/2", "refs/heads/main"])
def test_tags_and_main_are_versions(ref: str) -> None:
    result = pushed(ref)

    assert result is not None and result.version == NEW


@pytest.mark.parametrize("ref", ["refs/pr/1", "refs/pr/1/head", "refs/heads/dev", "refs/heads/main2", "refs/convert/x"])
def test_pull_requests_and_branches_are_ignored(ref: str) -> None:
    assert pushed(ref) is None


def test_deleted_ref_is_ignored() -> None:
    assert pushed("refs/tags/v1", None) is None
    assert pushed("refs/heads/main", None) is None


def test_new_ref_is_accepted() -> None:
    result = parsed(updatedRefs=[{"ref": "refs/tags/v1", "oldSha": None, "newSha": NEW}])

    assert result is not None and result.version == NEW


def test_ignored_ref_does_not_hide_the_next() -> None:
    refs = [{"ref": "refs/pr/4", "oldSha": None, "newSha": OLD}, {"ref": "refs/tags/v0", "oldSha": OLD, "newSha": None}]
    result = parsed(updatedRefs=[*refs, *DOCUMENTED["updatedRefs"]])

    assert result is not None and result.version == NEW


def test_a_push_of_main_and_tags_has_an_event_for_each() -> None:
    refs = [
        *DOCUMENTED["updatedRefs"],
        {"ref": "refs/pr/4", "oldSha": None, "newSha": OLD},
        {"ref": "refs/tags/v1", "oldSha": None, "newSha": OLD},
        {"ref": "refs/tags/v2", "oldSha": None, "newSha": NEW},
    ]
    events = huggingface.parse({}, {**DOCUMENTED, "updatedRefs": refs})

    assert [(event.version, event.previous) for event in events] == [(NEW, OLD), (OLD, ""), (NEW, "")]
    assert len({event.delivery for event in events}) == 3


def test_a_push_of_very_many_tags_has_a_limited_number_of_events() -> None:
    refs = [{"ref": f"refs/tags/v{number}", "oldSha": None, "newSha": f"{number:040x}"} for number in range(1000)]
    events = huggingface.parse({}, {**DOCUMENTED, "updatedRefs": refs})

    assert [int(event.version, 16) for event in events] == [*range(20)]


def test_narrower_scope_is_a_content_update() -> None:
    result = parsed(event={"action": "update", "scope": "repo.content.x"})

    assert result is not None and result.version == NEW


@pytest.mark.parametrize(
    "scope", ["repo", "repo.config", "repo.config.dois", "discussion", "discussion.comment", "repo.contents", "new", ""]
)
def test_other_scopes_are_ignored(scope: str) -> None:
    assert parsed(event={"action": "update", "scope": scope}) is None


@pytest.mark.parametrize("kind", ["dataset", "space", "kernel"])
def test_other_repositories_are_ignored(kind: str) -> None:
    assert parsed(repo={**DOCUMENTED["repo"], "type": kind}) is None


def test_event_without_refs_is_ignored() -> None:
    without = {key: value for key, value in DOCUMENTED.items() if key != "updatedRefs"}

    assert not huggingface.parse({}, without)
    assert parsed(updatedRefs=[]) is None
    assert parsed(updatedRefs=None) is None


def test_another_version_of_the_payload_is_ignored() -> None:
    webhook = {"id": "6390e855e30d9209411de93b", "version": 4}

    assert parsed(webhook=webhook) is None
    assert not huggingface.parse({}, {"webhook": webhook})  # its fields can be others


@pytest.mark.parametrize(
    "commit", ["main", "", "575DB8B7A51B6F85EB06EEE540738584589F131C", NEW[:-1], NEW + "0", NEW + "\n", 7, ["x"]]
)
def test_invalid_commit_hash_is_rejected(commit: Any) -> None:
    with pytest.raises((InvalidEvent, KeyError, TypeError)):
        pushed("refs/heads/main", commit)


@pytest.mark.parametrize("missing", ["event", "repo", "webhook"])
def test_missing_field_is_invalid(missing: str) -> None:
    with pytest.raises((InvalidEvent, KeyError, TypeError)):
        huggingface.parse({}, {key: value for key, value in DOCUMENTED.items() if key != missing})


@pytest.mark.parametrize("name", [None, 7, ["a/b"], {}])
def test_name_of_a_wrong_type_is_invalid(name: Any) -> None:
    with pytest.raises((InvalidEvent, KeyError, TypeError)):
        parsed(repo={**DOCUMENTED["repo"], "name": name})


def test_model_id_contains_the_commit() -> None:
    result = parsed()

    assert result is not None
    assert huggingface.model_id(result) == f"hf:some-user/some-repo@{NEW}"
