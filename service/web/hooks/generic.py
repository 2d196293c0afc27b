"""Any other registry: Standard Webhooks; the body is a type and data, or a structured CloudEvent 1.0 with the same."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

from service.domain import Action, RegistryEvent
from service.web.hooks.payload import text
from service.web.hooks.signature import Unverified, check_delivery, check_signed, check_time, header

LIMIT = 256 << 10  # bytes of a body
_ACTIONS = {
    "model_version.created": Action.CREATED,
    "model_version_alias.created": Action.ALIAS,
    "model_version_tag.set": Action.TAG,
}


def verify(headers: Mapping[str, str], body: bytes, secrets: Sequence[str], now: float) -> None:
    """Raise Unverified unless the call is signed by one of the secrets (`whsec_BASE64`)."""
    delivery, stamp = header(headers, "webhook-id"), header(headers, "webhook-timestamp")
    check_delivery(delivery)
    check_time(stamp, now)
    message = b".".join([delivery.encode("utf-8", "surrogateescape"), stamp.encode(), body])
    check_signed(header(headers, "webhook-signature"), message, [key_of(secret) for secret in secrets])


def parse(headers: Mapping[str, str], payload: Mapping[str, Any]) -> RegistryEvent | None:
    """Return what happened, None for events that don't matter; raise KeyError or TypeError for another form."""
    delivery = header(headers, "webhook-id")
    if "specversion" in payload:
        if payload["specversion"] != "1.0":
            return None
        delivery = f"{payload['source']}.{payload['id']}"
    action = _ACTIONS.get(payload["type"])
    if action is None:
        return None
    data = payload["data"]
    name = {Action.ALIAS: "alias", Action.TAG: "key"}.get(action)
    return RegistryEvent(
        action,
        text(data, "name"),
        text(data, "version"),
        text(data, name) if name else "",
        str(data.get("value", "")),
        delivery,
        source=text(data, "model"),
    )


def key_of(secret: str) -> bytes:
    """Return the key that a secret stands for; raise Unverified for one that isn't base64."""
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (ValueError, binascii.Error) as error:
        raise Unverified("the configured secret is no base64") from error


def model_id(event: RegistryEvent) -> str:
    """Return the identifier by which a worker loads a version: what the sender says."""
    return event.source
