"""Weights & Biases' automations (spec: registries, "Weights & Biases", from its documentation).

A bearer token and an HMAC of the body, both from the registry's secrets; the body is the template that we hand out.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from service.domain import Action, RegistryEvent
from service.web.hooks.signature import check_digest, check_secret, header

LIMIT = 256 << 10  # bytes of a body


def verify(headers: Mapping[str, str], body: bytes, secrets: Sequence[str], now: float) -> None:
    """Raise Unverified unless the call has a token and a signature of one of the secrets."""
    keys = [secret.encode() for secret in secrets]
    check_secret(header(headers, "authorization"), [b"Bearer " + key for key in keys])
    check_digest(header(headers, "x-wandb-signature"), body, keys)


def parse(headers: Mapping[str, str], payload: Mapping[str, Any]) -> RegistryEvent | None:
    """Return what happened, None for events that don't matter; raise KeyError or TypeError for another form."""
    kind = payload["event_type"]
    if kind not in ("LINK_ARTIFACT", "ADD_ARTIFACT_ALIAS"):
        return None
    path, colon, version = payload["artifact_version_string"].rpartition(":")
    if not colon or path.count("/") != 2:
        raise TypeError("expected ENTITY/PROJECT/NAME:VERSION as artifact_version_string")
    if kind == "LINK_ARTIFACT":
        return RegistryEvent(Action.CREATED, path, version)
    return RegistryEvent(Action.ALIAS, path, version, str(payload["alias"]))


def model_id(event: RegistryEvent) -> str:
    """Return the identifier by which a worker loads a version."""
    return f"wandb:{event.model}:{event.version}"
