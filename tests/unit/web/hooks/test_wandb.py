"""Weights & Biases webhooks with the documented template: a bearer token and a signature."""

import base64
import hashlib
import hmac
from typing import Any

import pytest

from service.domain import Action, RegistryEvent
from service.web.hooks import wandb
from service.web.hooks.payload import InvalidEvent
from service.web.hooks.signature import Unverified

from .events import single

# spec: registries, "Weights & Biases automations", worked example
SECRET = "wandb-test-secret"
BODY = b'{"project_name":"model-registry","event_type":"LINK_ARTIFACT"}'
BASE64 = "f5AjHGZFqvVkIRceo8d1pwlznDQtfRWOXLnpJkdkYV8="
HEX = "7f90231c6645aaf56421171ea3c775a709739c342d7d158e5cb9e9264764615f"
# and its template, rendered
RENDERED = {
    "event_type": "LINK_ARTIFACT",
    "event_author": "someone",
    "entity_name": "team",
    "project_name": "model-registry",
    "alias": "",
    "tag": "",
    "artifact_collection_name": "resnet50",
    "artifact_version": "wandb-artifact://_id/QXJ0aWZhY3Q6MQ==",
    "artifact_version_string": "team/model-registry/resnet50:v3",
}


def verify(signature: str, bearer: str = f"Bearer {SECRET}", body: bytes = BODY, secrets: tuple[str, ...] = ()) -> None:
    wandb.verify({"Authorization": bearer, "X-Wandb-Signature": signature}, body, secrets or (SECRET,), 0)


def parsed(**changes: Any) -> RegistryEvent | None:
    return single(wandb.parse({}, {**RENDERED, **changes}))


@pytest.mark.parametrize("signature", [BASE64, HEX])
def test_documented_example_is_verified(signature: str) -> None:
    verify(signature)
    verify(signature, secrets=("another-secret", SECRET))
    verify(signature, secrets=(SECRET, "another-secret"))


def test_signature_made_in_python_is_verified() -> None:
    body = '{"é": 1}'.encode("latin-1")  # not UTF-8
    digest = hmac.new(SECRET.encode(), body, hashlib.sha256).digest()

    verify(base64.b64encode(digest).decode(), body=body)
    verify(digest.hex(), body=body)


@pytest.mark.parametrize("signature", [BASE64, HEX])
def test_one_changed_byte_is_rejected(signature: str) -> None:
    for position in range(len(BODY)):
        body = bytearray(BODY)
        body[position] ^= 1
        with pytest.raises(Unverified):
            verify(signature, body=bytes(body))


@pytest.mark.parametrize("signature", [BASE64, HEX])
def test_changed_signature_is_rejected(signature: str) -> None:
    for position in range(len(signature)):
        changed = "0" if signature[position] != "0" else "1"
        with pytest.raises(Unverified):
            verify(signature[:position] + changed + signature[position + 1 :])


@pytest.mark.parametrize("bearer", ["", "Bearer", "Bearer ", SECRET, f"bearer  {SECRET}", "Bearer another-secret", HEX])
def test_signature_without_token_is_rejected(bearer: str) -> None:
    with pytest.raises(Unverified):
        verify(BASE64, bearer)


@pytest.mark.parametrize("signature", ["", "sha256=" + HEX, HEX[:-2], BASE64[:-1], "v1," + BASE64, " " * 64, "g" * 64])
def test_token_without_signature_is_rejected(signature: str) -> None:
    with pytest.raises(Unverified):
        verify(signature)


def test_wrong_secret_is_rejected() -> None:
    with pytest.raises(Unverified):
        verify(BASE64, secrets=("another-secret",))
    with pytest.raises(Unverified):
        verify(BASE64, "Bearer another-secret", secrets=("another-secret",))


def test_linked_artifact_is_a_new_version() -> None:
    assert parsed() == RegistryEvent(Action.CREATED, "team/model-registry/resnet50", "v3")


@pytest.mark.parametrize(("alias", "echo"), [("champion", False), ("errata-passed", True)])
def test_alias_is_parsed_and_an_alias_of_errata_is_an_echo(alias: str, echo: bool) -> None:
    result = parsed(event_type="ADD_ARTIFACT_ALIAS", alias=alias)

    assert result is not None
    assert (result.action, result.model, result.version, result.name) == (
        Action.ALIAS,
        "team/model-registry/resnet50",
        "v3",
        alias,
    )
    assert result.is_own_change is echo


@pytest.mark.parametrize("kind", ["CREATE_ARTIFACT", "ADD_ARTIFACT_TAG", "RUN_METRIC", "UPDATE_RUN_STATE", ""])
def test_other_events_are_ignored(kind: str) -> None:
    assert parsed(event_type=kind) is None


def test_other_events_that_name_no_artifact_are_ignored() -> None:
    """An event of a run has no artifact; a 4xx response would mark the webhook as broken."""
    assert parsed(event_type="RUN_METRIC", artifact_version_string="") is None
    assert not wandb.parse({}, {"event_type": "RUN_METRIC"})


@pytest.mark.parametrize(
    "artifact",
    ["", "resnet50", "resnet50:v3", "model-registry/resnet50:v3", "a/b/c", "a/b/c/d:v1", None, 7, ["a/b/c:1"]],
)
def test_invalid_artifact_name_is_invalid(artifact: Any) -> None:
    with pytest.raises((InvalidEvent, KeyError, TypeError, AttributeError)):
        parsed(artifact_version_string=artifact)


def test_missing_field_is_invalid() -> None:
    for payload in ({}, {"event_type": "LINK_ARTIFACT"}, {"artifact_version_string": "a/b/c:v1"}):
        with pytest.raises((InvalidEvent, KeyError, TypeError)):
            wandb.parse({}, payload)
    with pytest.raises((InvalidEvent, KeyError, TypeError)):
        wandb.parse({}, {"event_type": "ADD_ARTIFACT_ALIAS", "artifact_version_string": "a/b/c:v1"})
