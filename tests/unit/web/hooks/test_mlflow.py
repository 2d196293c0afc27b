"""MLflow webhooks: captured requests and the documented example are accepted; other requests are refused."""

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from service.domain import Action, RegistryEvent
from service.web.hooks import mlflow
from service.web.hooks.payload import InvalidEvent
from service.web.hooks.signature import Unverified

from .events import single

SECRET = "errata-test-secret"
OTHER = "another-secret"
EXPECTED = {  # from the captured bodies
    "model_version.created": RegistryEvent(
        Action.CREATED, "st-model", "1", delivery="5deedaa7-7a5b-4e57-ba5f-5f0ac9818254"
    ),
    "model_version_alias.created": RegistryEvent(
        Action.ALIAS, "resnet50", "1", "errata-passed", delivery="78f6e75d-0fd1-42e0-856c-4d9965919455"
    ),
    "model_version_tag.set": RegistryEvent(
        Action.TAG, "resnet50", "1", "errata.verdict", "fail", "3d4acb9a-80d8-4bde-b42c-afa48a28a21c"
    ),
}
EVENTS = sorted(EXPECTED)


@dataclass(frozen=True)
class Call:
    """A captured request and its time."""

    headers: dict[str, str]
    body: bytes
    at: float

    def verify(self, *secrets: str) -> None:
        mlflow.verify(self.headers, self.body, secrets, self.at)

    def with_header(self, name: str, value: str) -> "Call":
        return replace(self, headers={**self.headers, name: value})

    def without(self, name: str) -> "Call":
        return replace(self, headers={key: value for key, value in self.headers.items() if key != name})


# spec: registries, "Signature", worked example
EXAMPLE = Call(
    {
        "X-MLflow-Delivery-Id": "3d4acb9a-80d8-4bde-b42c-afa48a28a21c",
        "X-MLflow-Timestamp": "1795544309",
        "X-MLflow-Signature": "v1,o4jan1kYnZIOEijLpJM1eAYbFXWQOxpLL4FTebJGFig=",
    },
    b'{"entity": "model_version_tag", "action": "set", "timestamp": "2026-11-24T18:18:29.240605+00:00", '
    b'"data": {"name": "resnet50", "version": "1", "key": "errata.verdict", "value": "fail"}}',
    1795544309,
)
SIGNED = sorted(EXAMPLE.headers)


def captured(reference: Path, event: str) -> Call:
    capture = json.loads((reference / "registries" / f"mlflow-{event}.json").read_text(encoding="utf-8"))
    assert capture["secret"] == SECRET
    return Call(capture["headers"], capture["body"].encode(), capture["received_at_unix"])


def parsed(data: dict[str, Any], entity: str = "model_version", action: str = "created") -> RegistryEvent | None:
    return single(mlflow.parse({"x-mlflow-delivery-id": "d1"}, {"entity": entity, "action": action, "data": data}))


@pytest.mark.parametrize("event", EVENTS)
def test_captured_request_is_verified_and_parsed(reference: Path, event: str) -> None:
    call = captured(reference, event)

    call.verify(SECRET)

    assert mlflow.parse(call.headers, json.loads(call.body)) == [EXPECTED[event]]


@pytest.mark.parametrize("event", EVENTS)
def test_captured_request_with_one_changed_byte_is_rejected(reference: Path, event: str) -> None:
    call = captured(reference, event)
    for position in range(len(call.body)):
        for bit in (1, 0x80):
            body = bytearray(call.body)
            body[position] ^= bit
            with pytest.raises(Unverified):
                replace(call, body=bytes(body)).verify(SECRET)


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("secrets", [(SECRET, OTHER), (OTHER, SECRET)])
def test_captured_request_is_verified_with_any_of_several_secrets(
    reference: Path, event: str, secrets: tuple[str, str]
) -> None:
    captured(reference, event).verify(*secrets)


def test_documented_example_is_verified() -> None:
    EXAMPLE.verify(SECRET)


def test_header_names_are_case_insensitive() -> None:
    for change in (str.lower, str.upper):
        replace(EXAMPLE, headers={change(name): value for name, value in EXAMPLE.headers.items()}).verify(SECRET)


def test_extended_or_truncated_body_is_rejected() -> None:
    for body in (EXAMPLE.body + b"\n", b" " + EXAMPLE.body, EXAMPLE.body[:-1], b""):
        with pytest.raises(Unverified):
            replace(EXAMPLE, body=body).verify(SECRET)


@pytest.mark.parametrize("name", SIGNED)
def test_changed_signed_header_is_rejected(name: str) -> None:
    value = EXAMPLE.headers[name]
    for position in range(len(value)):
        changed = value[:position] + ("0" if value[position] != "0" else "1") + value[position + 1 :]
        with pytest.raises(Unverified):
            EXAMPLE.with_header(name, changed).verify(SECRET)


@pytest.mark.parametrize("name", SIGNED)
def test_request_without_a_signed_header_is_rejected(name: str) -> None:
    with pytest.raises(Unverified):
        EXAMPLE.without(name).verify(SECRET)


@pytest.mark.parametrize("off", [-300, -299, 299, 300])
def test_delivery_is_accepted_for_five_minutes(off: int) -> None:
    replace(EXAMPLE, at=EXAMPLE.at + off).verify(SECRET)


@pytest.mark.parametrize("off", [-86_400, -301, -300.5, 300.5, 301, 86_400])
def test_delivery_outside_of_the_tolerance_is_rejected(off: float) -> None:
    with pytest.raises(Unverified):
        replace(EXAMPLE, at=EXAMPLE.at + off).verify(SECRET)


def test_wrong_secret_is_rejected() -> None:
    for secrets in ((OTHER,), (OTHER, SECRET + " "), (SECRET.upper(),), ()):
        with pytest.raises(Unverified):
            EXAMPLE.verify(*secrets)


def test_signed_delivery_without_an_id_is_rejected() -> None:
    message = b"." + b"1795544309" + b"." + EXAMPLE.body
    signature = base64.b64encode(hmac.new(SECRET.encode(), message, hashlib.sha256).digest()).decode()
    call = EXAMPLE.without("X-MLflow-Delivery-Id").with_header("X-MLflow-Signature", f"v1,{signature}")

    with pytest.raises(Unverified):
        call.verify(SECRET)


def test_signature_of_the_library_is_verified() -> None:
    stamp = datetime.fromtimestamp(EXAMPLE.at, UTC)
    body = '{"any": "thing, é"}'
    call = replace(
        EXAMPLE.with_header("X-MLflow-Delivery-Id", "other").with_header(
            "X-MLflow-Signature", Webhook(SECRET.encode()).sign("other", stamp, body)
        ),
        body=body.encode(),
    )

    call.verify(SECRET)


def test_new_version_needs_only_names() -> None:
    # spec: after log_model(registered_model_name=), run_id is null
    data: dict[str, Any] = {
        "name": "n",
        "version": "3",
        "source": "models:/m-1",
        "run_id": None,
        "tags": {},
        "description": None,
    }

    assert parsed(data) == RegistryEvent(Action.CREATED, "n", "3", delivery="d1")


def test_workspace_field_is_ignored() -> None:
    payload = {"entity": "model_version", "action": "created", "workspace": "w", "data": {"name": "n", "version": "3"}}

    expected = RegistryEvent(Action.CREATED, "n", "3", delivery="d1")
    assert mlflow.parse({"x-mlflow-delivery-id": "d1"}, payload) == [expected]


@pytest.mark.parametrize(
    ("entity", "action", "data"),
    [
        ("registered_model", "created", {"name": "n", "tags": {}, "description": None}),
        ("model_version_tag", "deleted", {"name": "n", "version": "1", "key": "k"}),
        ("model_version_alias", "deleted", {"name": "n", "alias": "champion"}),
        ("prompt", "created", {"name": "n"}),
        ("prompt_version", "created", {"name": "n", "version": "1"}),
        ("prompt_alias", "created", {"name": "n", "alias": "a", "version": "1"}),
        ("budget_policy", "exceeded", {}),
        ("model_version", "deleted", {"name": "n", "version": "1"}),
    ],
)
def test_other_events_are_ignored(entity: str, action: str, data: dict[str, Any]) -> None:
    assert parsed(data, entity, action) is None


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"name": "n"},
        {"version": "1"},
        {"name": "n", "version": 1},
        {"name": None, "version": "1"},
        {"name": ["n"], "version": "1"},
        {"name": "n", "version": {}},
        {"name": "", "version": "1"},
        [],
        "text",
        None,
        7,
    ],
)
def test_invalid_payload_is_rejected(data: Any) -> None:
    with pytest.raises((InvalidEvent, KeyError, TypeError)):
        parsed(data)


@pytest.mark.parametrize("value", ["", "x" * 100_000])
def test_tag_value_can_be_any_text(value: str) -> None:
    result = parsed({"name": "n", "version": "1", "key": "stage", "value": value}, "model_version_tag", "set")

    assert result is not None
    assert (result.action, result.name) == (Action.TAG, "stage")


@pytest.mark.parametrize("key", ["errata.gate", "errata.report", "errata.evaluation", "errata.verdict"])
def test_errata_own_tags_are_echoes(key: str) -> None:
    result = parsed({"name": "n", "version": "1", "key": key, "value": "analyze"}, "model_version_tag", "set")

    assert result is not None and result.is_own_change and not result.is_analysis_request


def test_request_tag_is_no_echo() -> None:
    data = {"name": "n", "version": "1", "key": "errata.request"}
    request = parsed({**data, "value": "analyze"}, "model_version_tag", "set")
    other = parsed({**data, "value": "stop"}, "model_version_tag", "set")

    assert request is not None and request.is_analysis_request and not request.is_own_change
    assert other is not None and other.is_own_change and not other.is_analysis_request


@pytest.mark.parametrize(
    ("alias", "echo"), [("errata-passed", True), ("errata-", True), ("champion", False), ("not-errata-", False)]
)
def test_errata_own_aliases_are_echoes(alias: str, echo: bool) -> None:
    result = parsed({"name": "n", "version": "1", "alias": alias}, "model_version_alias", "created")

    assert result is not None and result.is_own_change is echo


def test_other_tag_or_version_is_no_echo() -> None:
    tag = parsed({"name": "errata.n", "version": "1", "key": "stage", "value": "errata."}, "model_version_tag", "set")
    created = parsed({"name": "errata-n", "version": "1"})

    assert tag is not None and not tag.is_own_change
    assert created is not None and not created.is_own_change
