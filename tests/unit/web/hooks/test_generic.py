"""Generic webhooks: compatibility with the Standard Webhooks library, plain bodies, and structured CloudEvents."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cloudevents.core.bindings.http import to_structured_event
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from service.domain import Action, RegistryEvent
from service.web.hooks import generic
from service.web.hooks.payload import InvalidEvent
from service.web.hooks.signature import Unverified

from .events import single

# spec: registries, "Standard Webhooks", worked example
SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
OTHER = "whsec_" + base64.b64encode(b"another secret of 32 characters.").decode()
AT = 1795544265
HEADERS = {
    "webhook-id": "msg_errata_0001",
    "webhook-timestamp": "1795544265",
    "webhook-signature": "v1,p+3nupgo6qWlRNgsrV0V1GJDlTenPoSvi06aDc1o4UU=",
}
BODY = b'{"type":"errata.analysis.completed","timestamp":"2026-11-24T18:17:45Z","data":{"verdict":"fail"}}'
DATA = {"name": "photos", "version": "7", "model": "demo:efficientnet_lite0"}


def signed(body: str, secret: str = SECRET, name: str = "msg_1", at: int = AT) -> dict[str, str]:
    """A request that the library signs."""
    signature = Webhook(secret).sign(name, datetime.fromtimestamp(at, UTC), body)
    return {"webhook-id": name, "webhook-timestamp": str(at), "webhook-signature": signature}


def parsed(kind: str = "model_version.created", **data: Any) -> RegistryEvent | None:
    return single(generic.parse({"webhook-id": "msg_1"}, {"type": kind, "data": {**DATA, **data}}))


def test_documented_example_is_verified() -> None:
    generic.verify(HEADERS, BODY, [SECRET], AT)
    generic.verify({name.title(): value for name, value in HEADERS.items()}, BODY, [OTHER, SECRET], AT)


def test_prefix_of_a_secret_is_optional() -> None:
    generic.verify(HEADERS, BODY, [SECRET.removeprefix("whsec_")], AT)


@given(st.text(max_size=200), st.text("abcdefghijklmnopqrstuvwxyz_0123456789", min_size=1, max_size=40))
def test_every_signature_of_the_library_is_verified(body: str, name: str) -> None:
    for secret in (SECRET, OTHER):
        generic.verify(signed(body, secret, name), body.encode(), [SECRET, OTHER], AT)


def test_one_changed_byte_is_rejected() -> None:
    for position in range(len(BODY)):
        body = bytearray(BODY)
        body[position] ^= 1
        with pytest.raises(Unverified):
            generic.verify(HEADERS, bytes(body), [SECRET], AT)


@pytest.mark.parametrize("name", sorted(HEADERS))
def test_changed_or_missing_signed_header_is_rejected(name: str) -> None:
    value = HEADERS[name]
    for position in range(len(value)):
        changed = value[:position] + ("0" if value[position] != "0" else "1") + value[position + 1 :]
        with pytest.raises(Unverified):
            generic.verify({**HEADERS, name: changed}, BODY, [SECRET], AT)
    with pytest.raises(Unverified):
        generic.verify({key: value for key, value in HEADERS.items() if key != name}, BODY, [SECRET], AT)


def test_signed_delivery_without_an_id_is_rejected() -> None:
    with pytest.raises(Unverified):
        generic.verify(signed("{}", name=""), b"{}", [SECRET], AT)


@pytest.mark.parametrize("off", [-300, 300])
def test_delivery_is_accepted_for_five_minutes(off: int) -> None:
    generic.verify(HEADERS, BODY, [SECRET], AT + off)


@pytest.mark.parametrize("off", [-301, 301])
def test_delivery_outside_of_the_tolerance_is_rejected(off: int) -> None:
    with pytest.raises(Unverified):
        generic.verify(HEADERS, BODY, [SECRET], AT + off)


def test_wrong_secret_is_rejected() -> None:
    for secrets in ([OTHER], []):
        with pytest.raises(Unverified):
            generic.verify(HEADERS, BODY, secrets, AT)


def test_one_valid_signature_of_several_is_enough() -> None:
    right = HEADERS["webhook-signature"]
    for given_signature in (f"v1,AAAA {right}", f"{right} v1,AAAA", f"v1a,AAAA v1,é {right}"):
        generic.verify({**HEADERS, "webhook-signature": given_signature}, BODY, [SECRET], AT)


@pytest.mark.parametrize("version", ["v1a", "v2", "V1", ""])
def test_signature_of_another_version_is_rejected(version: str) -> None:
    changed = HEADERS["webhook-signature"].replace("v1", version)

    with pytest.raises(Unverified):
        generic.verify({**HEADERS, "webhook-signature": changed}, BODY, [SECRET], AT)


@pytest.mark.parametrize("body", [b"\xff\xfe", b"\x00", b"\xc3"])
def test_non_text_body_is_rejected(body: bytes) -> None:
    with pytest.raises(Unverified):
        generic.verify(HEADERS, body, [SECRET], AT)


def test_every_event_type_is_parsed() -> None:
    model = "demo:efficientnet_lite0"
    assert parsed() == RegistryEvent(Action.CREATED, "photos", "7", delivery="msg_1", source=model)
    assert parsed("model_version_alias.created", alias="champion") == RegistryEvent(
        Action.ALIAS, "photos", "7", "champion", delivery="msg_1", source=model
    )
    assert parsed("model_version_tag.set", key="stage") == RegistryEvent(
        Action.TAG, "photos", "7", "stage", "", "msg_1", source=model
    )


def test_request_tag_is_an_event_and_tags_of_errata_are_echoes() -> None:
    request = parsed("model_version_tag.set", key="errata.request", value="analyze")
    tag = parsed("model_version_tag.set", key="errata.gate", value="pass")
    alias = parsed("model_version_alias.created", alias="errata-passed")

    assert request is not None and request.is_analysis_request and not request.is_own_change
    assert tag is not None and tag.is_own_change
    assert alias is not None and alias.is_own_change


@pytest.mark.parametrize("kind", ["model_version.deleted", "errata.analysis.completed", "ping", ""])
def test_other_events_are_ignored(kind: str) -> None:
    assert parsed(kind) is None
    assert not generic.parse({}, {"type": kind})


def test_structured_cloud_event_is_identified_by_source_and_id() -> None:
    event = CloudEvent({"id": "e1", "source": "/registry", "type": "model_version.created"}, DATA)
    message = to_structured_event(event)
    body = bytes(message.body)
    headers = {**message.headers, **signed(body.decode())}

    generic.verify(headers, body, [SECRET], AT)
    result = single(generic.parse(headers, json.loads(body)))

    assert result is not None
    assert (result.action, result.model, result.version, result.source) == (
        Action.CREATED,
        "photos",
        "7",
        "demo:efficientnet_lite0",
    )
    assert "e1" in result.delivery and "/registry" in result.delivery and "msg_1" not in result.delivery


def test_other_cloud_events_version_is_ignored() -> None:
    payload = {"specversion": "2.0", "id": "e", "source": "s", "type": "model_version.created", "data": DATA}

    assert not generic.parse({}, payload)


@pytest.mark.parametrize("missing", ["id", "source"])
def test_cloud_event_without_a_required_field_is_invalid(missing: str) -> None:
    payload = {"specversion": "1.0", "id": "e", "source": "s", "type": "model_version.created", "data": DATA}

    with pytest.raises((InvalidEvent, KeyError, TypeError)):
        generic.parse({}, {key: value for key, value in payload.items() if key != missing})


@pytest.mark.parametrize("field", ["name", "version", "model"])
@pytest.mark.parametrize("value", [None, 7, True, [], {}, "", "x" * 10_000])
def test_field_of_a_wrong_type_is_invalid(field: str, value: Any) -> None:
    with pytest.raises((InvalidEvent, KeyError, TypeError)):
        parsed(**{field: value})


@pytest.mark.parametrize("payload", [{}, {"type": []}, {"type": "model_version.created"}])
@pytest.mark.parametrize("data", [None, [], "text", 7])
def test_invalid_payload_is_rejected(payload: dict[str, Any], data: Any) -> None:
    with pytest.raises((InvalidEvent, KeyError, TypeError)):
        generic.parse({}, {**payload, "data": data})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"type": []}, "Field 'type' must be text, got []. Send text."),
        ({"data": None}, "Field 'data' must be an object, got null. Send an object."),
        ({"data": "x"}, "Field 'data' must be an object, got \"x\". Send an object."),
    ],
)
def test_the_error_of_a_wrong_type_names_the_field_the_value_and_the_remedy(change: Any, message: str) -> None:
    with pytest.raises(InvalidEvent) as caught:
        generic.parse({}, {"type": "model_version.created", "data": DATA, **change})
    assert str(caught.value) == message


def test_model_id_is_that_of_the_event() -> None:
    result = parsed()

    assert result is not None and generic.model_id(result) == "demo:efficientnet_lite0"


@pytest.mark.parametrize("secret", ["whsec_no base64", "whsec_é", "whsec_A"])
def test_secret_that_is_not_base64_is_rejected(secret: str) -> None:
    with pytest.raises(Unverified):
        generic.key_of(secret)
