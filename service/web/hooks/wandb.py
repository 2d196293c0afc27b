"""Weights & Biases automations.

Requests have a bearer token and an HMAC of the body, both made from the registry's secrets. The body is the template
from the documentation of Errata.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from service.domain import Action, RegistryEvent
from service.web.hooks.payload import InvalidEvent, text
from service.web.hooks.signature import check_digest, check_secret, header

MAX_BODY = 256 << 10  # bytes


def verify(headers: Mapping[str, str], body: bytes, secrets: Sequence[str], now: float) -> None:
    """Raise Unverified unless the request has a token and a signature made from one of the secrets."""
    keys = [secret.encode() for secret in secrets]
    check_secret(header(headers, "authorization"), [b"Bearer " + key for key in keys])
    check_digest(header(headers, "x-wandb-signature"), body, keys)


def parse(headers: Mapping[str, str], payload: Mapping[str, Any]) -> Sequence[RegistryEvent]:
    """Return the events of a payload; none if it is irrelevant.

    Raises:
        InvalidEvent, KeyError: The payload is invalid.
    """
    event_type = payload["event_type"]
    if event_type not in ("LINK_ARTIFACT", "ADD_ARTIFACT_ALIAS"):
        return []
    artifact = text(payload, "artifact_version_string")
    path, colon, version = artifact.rpartition(":")
    if not colon or path.count("/") != 2:
        raise InvalidEvent(
            f"Field 'artifact_version_string' is {artifact!r:.80}. Send the form ENTITY/PROJECT/NAME:VERSION."
        )
    if event_type == "LINK_ARTIFACT":
        return [RegistryEvent(Action.CREATED, path, version)]
    return [RegistryEvent(Action.ALIAS, path, version, str(payload["alias"]))]
