"""Threads of webhooks: a registry that answers slowly delays only its own webhooks."""

import asyncio
import json
from dataclasses import dataclass, field
from threading import Event
from typing import Any

import httpx
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette

from service.domain import RegistryEvent, RegistryRule
from service.telemetry import Metrics
from service.web.hooks.endpoint import NUM_THREADS, Caller, Hooks

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


async def test_a_slow_registry_delays_only_its_own_webhooks() -> None:
    slow, fast = WaitingRegistry("slow"), WaitingRegistry("fast")
    fast.is_released.set()
    callers: Any = {registry.id: Caller("huggingface", [SECRET], registry) for registry in (slow, fast)}  # type: ignore[arg-type]
    no_ports: Any = None
    hooks = Hooks(no_ports, callers, Metrics(CollectorRegistry()))
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
