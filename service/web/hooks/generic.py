"""Webhooks of any other registry: Standard Webhooks with a type and data, optionally as a structured CloudEvent 1.0."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from service.domain import Action, RegistryEvent
from service.web.hooks.payload import any_text, section, text
from service.web.hooks.signature import Unverified, check_standard_webhook, header

MAX_BODY = 256 << 10  # bytes
_ACTIONS = {
    "model_version.created": Action.CREATED,
    "model_version_alias.created": Action.ALIAS,
    "model_version_tag.set": Action.TAG,
}


def verify(headers: Mapping[str, str], body: bytes, secrets: Sequence[str], now: float) -> None:
    """Raise Unverified unless the request is signed with one of the secrets (`whsec_BASE64`)."""
    names = ("webhook-id", "webhook-timestamp", "webhook-signature")
    check_standard_webhook(headers, names, body, [key_of(secret) for secret in secrets], now)


def parse(headers: Mapping[str, str], payload: Mapping[str, Any]) -> Sequence[RegistryEvent]:
    """Return the events of a payload; none if it is irrelevant.

    Raises:
        InvalidEvent, KeyError: The payload is invalid.
    """
    delivery = header(headers, "webhook-id")
    if "specversion" in payload:
        if payload["specversion"] != "1.0":
            return []
        delivery = f"{payload['source']}.{payload['id']}"
    action = _ACTIONS.get(any_text(payload, "type"))
    if action is None:
        return []
    data = section(payload, "data")
    name = {Action.ALIAS: "alias", Action.TAG: "key"}.get(action)
    event = RegistryEvent(
        action,
        text(data, "name"),
        text(data, "version"),
        text(data, name) if name else "",
        str(data.get("value", "")),
        delivery,
        source=text(data, "model"),
    )
    return [event]


def key_of(secret: str) -> bytes:
    """Decode a secret; raise Unverified if it is not Base64."""
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except ValueError as error:
        raise Unverified("configured secret is not Base64") from error


def model_id(event: RegistryEvent) -> str:
    """Return the model ID that workers use to load a version. The event contains it."""
    return event.source
