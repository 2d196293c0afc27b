"""Hugging Face webhooks, which have a plain secret in a header.

Each commit that is pushed to `main` or tagged is a new version, named by the commit hash. Pull requests are ignored,
because anyone can open them.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from service.domain import Action, RegistryEvent
from service.web.hooks.payload import InvalidEvent, any_text, section, text, wrong_type
from service.web.hooks.signature import check_secret, header

MAX_BODY = 256 << 10  # bytes
VERSION = 3  # of the payload
MAX_EVENTS = 20  # branches and tags of one push; further ones are ignored
_COMMIT = re.compile(r"[0-9a-f]{40}")


def verify(headers: Mapping[str, str], body: bytes, secrets: Sequence[str], now: float) -> None:
    """Raise Unverified unless the request has one of the secrets."""
    check_secret(header(headers, "x-webhook-secret"), [secret.encode() for secret in secrets])


def parse(headers: Mapping[str, str], payload: Mapping[str, Any]) -> Sequence[RegistryEvent]:
    """Return the events of a payload; none if it is irrelevant.

    Raises:
        InvalidEvent, KeyError: The payload is invalid.
    """
    webhook = section(payload, "webhook")
    if webhook["version"] != VERSION:
        return []
    repository = section(payload, "repo")
    scope = any_text(section(payload, "event"), "scope")
    if not (scope == "repo.content" or scope.startswith("repo.content.")) or repository["type"] != "model":
        return []
    refs = payload.get("updatedRefs") or []
    if not isinstance(refs, list) or not all(isinstance(ref, dict) for ref in refs):
        raise wrong_type("updatedRefs", "a list of objects", refs)
    model = text(repository, "name")
    delivery = f"{webhook['id']}.{repository['id']}"
    return [*islice(_iterate_events(refs, model, delivery), MAX_EVENTS)]


def model_id(event: RegistryEvent) -> str:
    """Return the model ID that workers use to load a version."""
    return f"hf:{event.model}@{event.version}"


def _iterate_events(refs: Iterable[Mapping[str, Any]], model: str, delivery: str) -> Iterator[RegistryEvent]:
    """Yield an event for each new commit of the branch `main` or of a tag; a deleted tag or branch yields no event."""
    for ref in refs:
        name, commit = any_text(ref, "ref"), ref["newSha"]
        if commit is None or not (name == "refs/heads/main" or name.startswith("refs/tags/")):
            continue
        if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
            raise InvalidEvent(f"Field 'newSha' is {commit!r:.80}. Send a commit hash: 40 digits 0-9 and a-f.")
        old = ref.get("oldSha")
        previous = old if isinstance(old, str) and _COMMIT.fullmatch(old) else ""
        yield RegistryEvent(Action.CREATED, model, commit, delivery=f"{delivery}.{name}.{commit}", previous=previous)
