"""Hugging Face's webhooks (spec: registries, "Hugging Face Hub", from its documentation): a plain secret in a header.

A commit on main, or a tag, is a new version; its name is the commit. Pull requests, which anyone can open, are ignored.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from service.domain import Action, RegistryEvent
from service.web.hooks.signature import check_secret, header

LIMIT = 256 << 10  # bytes of a body
_COMMIT = re.compile(r"[0-9a-f]{40}")


def verify(headers: Mapping[str, str], body: bytes, secrets: Sequence[str], now: float) -> None:
    """Raise Unverified unless the call has one of the secrets."""
    check_secret(header(headers, "x-webhook-secret"), [secret.encode() for secret in secrets])


def parse(headers: Mapping[str, str], payload: Mapping[str, Any]) -> RegistryEvent | None:
    """Return what happened, None for events that don't matter; raise KeyError or TypeError for another form."""
    event, repository = payload["event"], payload["repo"]
    scope = event["scope"]
    if not (scope == "repo.content" or scope.startswith("repo.content.")) or repository["type"] != "model":
        return None
    if not isinstance(repository["name"], str) or not repository["name"]:
        raise TypeError("expected text as repo.name")
    for ref in payload.get("updatedRefs") or []:
        name, commit = ref["ref"], ref["newSha"]
        if commit is None or not (name == "refs/heads/main" or name.startswith("refs/tags/")):
            continue
        if not _COMMIT.fullmatch(commit):
            raise TypeError("expected a commit as newSha")
        delivery = ".".join(map(str, (payload["webhook"]["id"], repository["id"], name, commit)))
        return RegistryEvent(Action.CREATED, repository["name"], commit, delivery=delivery)
    return None


def model_id(event: RegistryEvent) -> str:
    """Return the identifier by which a worker loads a version."""
    return f"hf-hub:{event.model}@{event.version}"
