"""Answers to invalid events, and threads of webhooks: a registry that answers slowly delays only its own."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from threading import Event
from typing import Any

import httpx
import pytest
from errata.errors import Unavailable
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette

from service.analyses.registries import EventResult
from service.domain import RegistryEvent, RegistryRule
from service.telemetry import Metrics
from service.web.hooks.endpoint import NUM_THREADS, Hooks, HookSource
from service.web.hooks.receive_only import ReceiveOnlyRegistry

SECRET = "a secret of the test"
PUSH = {
    "event": {"action": "update", "scope": "repo.content"},
    "repo": {"type": "model", "name": "team/net", "id": "1"},
    "updatedRefs": [{"ref": "refs/heads/main", "oldSha": "a" * 40, "newSha": "b" * 40}],
    "webhook": {"id": "2", "version": 3},
}


@dataclass
class WaitingRegistry:
    """A registry that resolves events when `is_released` is set, and then ignores them."""

    id: str
    is_released: Event = field(default_factory=Event)
    rules: tuple[RegistryRule, ...] = (RegistryRule("created"),)

    def resolve(self, event: RegistryEvent) -> RegistryEvent | None:
        assert self.is_released.wait(20)
        return None


@pytest.fixture
async def calls() -> AsyncIterator[httpx.AsyncClient]:
    """A client of the webhooks of a W&B and a Hugging Face registry."""
    no_ports: Any = None
    sources = {
        kind: HookSource(kind, [SECRET], ReceiveOnlyRegistry(kind, (), identifier=lambda event: event.model))
        for kind in ("huggingface", "wandb")
    }
    hooks = Hooks(no_ports, sources, Metrics(CollectorRegistry()))
    transport = httpx.ASGITransport(app=Starlette(routes=hooks.routes()))
    async with httpx.AsyncClient(transport=transport, base_url="http://errata") as client:
        yield client
    hooks.stop()


async def send(client: httpx.AsyncClient, kind: str, body: bytes) -> httpx.Response:
    digest = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    headers = {"X-Webhook-Secret": SECRET, "Authorization": f"Bearer {SECRET}", "X-Wandb-Signature": digest}
    return await client.post(f"/v1/hooks/{kind}/{kind}", content=body, headers=headers)


def linked(artifact: object) -> bytes:
    return json.dumps({"event_type": "LINK_ARTIFACT", "artifact_version_string": artifact}).encode()


@pytest.mark.parametrize(
    ("kind", "body", "message"),
    [
        (
            "wandb",
            linked("resnet50:v3"),
            "Field 'artifact_version_string' is 'resnet50:v3'. Send the form ENTITY/PROJECT/NAME:VERSION.",
        ),
        ("wandb", linked(7), "Field 'artifact_version_string' must be text, got 7. Send text."),
        ("wandb", linked(None), "Field 'artifact_version_string' must be text, got null. Send text."),
        ("wandb", b'{"event_type": NaN}', "NaN is not JSON. Send a number, text, or null."),
        ("wandb", b'{"a": %s}' % (b"9" * 5000), "A number has more than 4,300 digits. Send a shorter one."),
        ("wandb", linked(""), "Field 'artifact_version_string' is empty. Send 1 to 5,000 characters."),
        ("wandb", linked("x" * 5001), "Field 'artifact_version_string' has 5,001 characters. Send at most 5,000."),
        ("wandb", b"[]", "The payload is not an object. Send a JSON object."),
        ("wandb", b'{"a": "\xff"}', "Byte 0xff at position 7 is not UTF-8. Send JSON in UTF-8."),
        ("wandb", b"{}", "Field 'event_type' is missing."),
        *(
            ("huggingface", json.dumps({**PUSH, **change}).encode(), message)
            for change, message in (
                ({"event": 7}, "Field 'event' must be an object, got 7. Send an object."),
                ({"event": {"scope": []}}, "Field 'scope' must be text, got []. Send text."),
                ({"repo": None}, "Field 'repo' must be an object, got null. Send an object."),
                ({"webhook": "x"}, "Field 'webhook' must be an object, got \"x\". Send an object."),
                ({"updatedRefs": 7}, "Field 'updatedRefs' must be a list of objects, got 7. Send a list of objects."),
                (
                    {"updatedRefs": [7]},
                    "Field 'updatedRefs' must be a list of objects, got [7]. Send a list of objects.",
                ),
                ({"updatedRefs": [{"ref": 7}]}, "Field 'ref' must be text, got 7. Send text."),
            )
        ),
        (
            "huggingface",
            json.dumps({**PUSH, "updatedRefs": [{"ref": "refs/tags/v1", "newSha": "v1"}]}).encode(),
            "Field 'newSha' is 'v1'. Send a commit hash: 40 digits 0-9 and a-f.",
        ),
    ],
)
async def test_the_answer_to_an_invalid_event_states_the_problem_and_the_remedy(
    calls: httpx.AsyncClient, kind: str, body: bytes, message: str
) -> None:
    answer = await send(calls, kind, body)

    assert (answer.status_code, answer.json()["message"]) == (400, f"Invalid event. {message}")


@pytest.mark.parametrize("artifact", ["\ud800" * 4000, "\u202e/" * 2000, "'\n" * 2000])
async def test_the_value_in_an_answer_is_short_and_printable(calls: httpx.AsyncClient, artifact: str) -> None:
    answer = await send(calls, "wandb", linked(artifact))

    assert answer.status_code == 400
    assert len(answer.json()["message"]) < 250 and answer.json()["message"].isprintable()


@pytest.mark.parametrize(
    ("versions", "status", "outcome"),
    [
        (("queued", "repeated", "ignored"), 202, "queued"),
        (("refused", "ignored", "queued"), 202, "queued"),
        (("ignored", "repeated"), 200, "repeated"),
        (("refused", "refused"), 200, "refused"),
        (("queued", "later", "queued"), 503, "later"),
    ],
)
async def test_every_event_of_a_request_is_handled(
    calls: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, versions: tuple[str, ...], status: int, outcome: str
) -> None:
    commits = {f"{number:040x}": version for number, version in enumerate(versions)}

    def handle(ports: object, registry: object, event: RegistryEvent) -> EventResult:
        if commits[event.version] == "later":
            raise Unavailable("no worker")
        return EventResult(commits[event.version])

    monkeypatch.setattr("service.web.hooks.endpoint.handle_event", handle)
    refs = [{"ref": f"refs/tags/{commit}", "oldSha": None, "newSha": commit} for commit in commits]

    answer = await send(calls, "huggingface", json.dumps({**PUSH, "updatedRefs": refs}).encode())

    assert (answer.status_code, answer.json()["outcome"]) == (status, outcome)


async def test_a_slow_registry_delays_only_its_own_webhooks() -> None:
    slow, fast = WaitingRegistry("slow"), WaitingRegistry("fast")
    fast.is_released.set()
    sources: Any = {registry.id: HookSource("huggingface", [SECRET], registry) for registry in (slow, fast)}  # type: ignore[arg-type]
    no_ports: Any = None
    hooks = Hooks(no_ports, sources, Metrics(CollectorRegistry()))
    transport = httpx.ASGITransport(app=Starlette(routes=hooks.routes()))
    headers = {"X-Webhook-Secret": SECRET}
    async with httpx.AsyncClient(transport=transport, base_url="http://errata", headers=headers) as client:

        def call(registry: str) -> "asyncio.Task[httpx.Response]":
            path = f"/v1/hooks/huggingface/{registry}"
            return asyncio.create_task(client.post(path, content=json.dumps(PUSH)))

        waiting = [call("slow") for _ in range(4 * NUM_THREADS)]
        answer = await call("fast")
        assert (answer.status_code, answer.json()["outcome"]) == (200, "ignored")
        assert not any(task.done() for task in waiting)

        slow.is_released.set()
        assert {task.status_code for task in await asyncio.gather(*waiting)} == {200}
    hooks.stop()
