"""POST /v1/hooks/{kind}/{registry_id}: verifies and parses the webhook of a registry, and queues its analyses.

200: ignored or processed before. 202: queued. 400: invalid JSON or event. 401: not verified. 408: body too slow.
413: body too large. 503 with Retry-After: retry later.
"""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, NoReturn

import structlog
from errata.errors import ErrataError, EvidenceDamaged, TooBusy, Unavailable
from errata.json_input import parse_json
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from service.analyses.ports import Ports
from service.analyses.registries import EventResult, Registry, handle_event
from service.domain import RegistryEvent
from service.evicting_limiter import EvictingLimiter
from service.telemetry import Metrics, initialize_series
from service.web.application import peer_of
from service.web.hooks import generic, huggingface, mlflow, wandb
from service.web.hooks.payload import InvalidEvent
from service.web.hooks.signature import Unverified
from service.web.responses import closing

NUM_THREADS = 2  # threads per registry that queue analyses; a registry that answers slowly blocks only its own
BODY_SECONDS = 20.0  # time limit for the body of a request
MAX_READING = 64  # requests whose body is being read; a further one evicts the oldest
MAX_WAITING = 256  # requests per registry for a thread; further ones must retry
RETRY_AFTER, MAX_RETRY_AFTER = 5.0, 30.0  # seconds
KINDS: Mapping[str, ModuleType] = {
    "mlflow": mlflow,
    "huggingface": huggingface,
    "wandb": wandb,
    "generic": generic,
}
PATH = "/v1/hooks/{kind}/{registry_id}"
_log = structlog.get_logger()


@dataclass(frozen=True)
class HookSource:
    """A configured registry that sends webhooks."""

    kind: str
    secrets: Sequence[str] = field(repr=False)  # never empty
    registry: Registry


class Hooks:
    """Receives the webhooks of the configured registries, and queues analyses in separate threads for each registry."""

    def __init__(
        self, ports: Ports, sources: Mapping[str, HookSource], metrics: Metrics, clock: Callable[[], float] = time.time
    ) -> None:
        self._ports = ports
        self._sources = sources
        self._metrics = metrics
        if sources:
            initialize_series(metrics.refused_calls, ["hook"], ["UNVERIFIED"])
        self._clock = clock
        self._pools = {name: ThreadPoolExecutor(NUM_THREADS, thread_name_prefix=f"hook-{name}") for name in sources}
        self._num_waiting: Counter[str] = Counter()  # requests by registry
        self._reading = EvictingLimiter(MAX_READING, BODY_SECONDS)

    def routes(self) -> list[Route]:
        """Return the route of the webhooks."""
        return [Route(PATH, self._receive, methods=["POST"])]

    def stop(self) -> None:
        """Stop the threads."""
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)

    async def _receive(self, request: Request) -> Response:
        name = request.path_params["registry_id"]
        source = self._sources.get(name)
        if source is None or source.kind != request.path_params["kind"]:
            return self._respond("unknown", "not_found", 404, "Registry not found. Check its ID and kind.")
        kind = KINDS[source.kind]
        try:
            async with self._reading.slot():
                body = await _read_body(request, kind.MAX_BODY)
        except TimeoutError:
            message = f"Request body too slow. Send it within {BODY_SECONDS:g} seconds, or sooner under load."
            return closing(self._respond(name, "slow", 408, message))
        except ClientDisconnect:
            return self._respond(name, "disconnected", 400, "Connection closed before the end of the body.")
        if body is None:
            message = f"Request body too large. Send at most {kind.MAX_BODY} bytes."
            return closing(self._respond(name, "too_large", 413, message))
        headers = dict(request.headers)
        try:
            kind.verify(headers, body, source.secrets, self._clock())
        except Unverified as error:
            self._metrics.refused_calls.labels("hook", "UNVERIFIED").inc()
            _log.warning("webhook not verified", registry=name, why=str(error), peer=peer_of(request))
            message = "Request not verified. Sign it with a secret of the registry."
            return self._respond(name, "unverified", 401, message)
        try:
            events = _parse_events(kind, headers, body)
        except (ValueError, KeyError) as error:
            _log.warning("invalid webhook", registry=name, error=f"{type(error).__name__}: {error!s:.200}")
            return self._respond(name, "malformed", 400, f"Invalid event. {_describe(error)}")
        if not events:
            return self._respond(name, EventResult.IGNORED, 200, "Event ignored: its type is not relevant.")
        if self._num_waiting[name] >= MAX_WAITING:
            return self._retry_later(name, TooBusy("too many waiting webhooks"))
        self._num_waiting[name] += 1
        try:
            result = await asyncio.get_running_loop().run_in_executor(
                self._pools[name], copy_context().run, _handle_events, self._ports, source.registry, events
            )
        except (TooBusy, Unavailable, EvidenceDamaged) as error:
            return self._retry_later(name, error)
        except Exception:
            _log.exception("webhook failed", registry=name)
            return self._respond(name, "failed", 500, "Internal error. See the server log.")
        finally:
            self._num_waiting[name] -= 1
        return self._respond(name, result, 202 if result is EventResult.QUEUED else 200, _RESULT_MESSAGES[result])

    def _retry_later(self, registry: str, error: ErrataError) -> Response:
        _log.warning("webhook deferred", registry=registry, error=str(error))
        response = self._respond(registry, "later", 503, "Service unavailable. Try again later.")
        wait = min(error.retry_after or RETRY_AFTER, MAX_RETRY_AFTER)
        response.headers["Retry-After"] = str(max(1, round(wait)))
        return response

    def _respond(self, registry: str, outcome: str, status: int, message: str) -> Response:
        self._metrics.hooks.labels(registry, str(outcome)).inc()
        return JSONResponse({"outcome": str(outcome), "message": message}, status_code=status)


_RESULT_MESSAGES: Mapping[EventResult, str] = {
    EventResult.QUEUED: "Analysis queued.",
    EventResult.REPEATED: "Event processed before.",
    EventResult.IGNORED: "Event ignored: no rule matches.",
    EventResult.REFUSED: "The model cannot be analyzed, or its baseline is not available. See the server log.",
}


def _describe(error: Exception) -> str:
    """Describe the problem with an event in a sentence."""
    match error:
        case InvalidEvent():
            return str(error)
        case KeyError():
            return f"Field {error!s:.80} is missing."
        case UnicodeDecodeError():
            return f"Byte {error.object[error.start]:#04x} at position {error.start} is not UTF-8. Send JSON in UTF-8."
        case ValueError() if "integer string conversion" in str(error):
            return f"A number has more than {sys.get_int_max_str_digits():,} digits. Send a shorter one."
        case _:
            return f"Expected JSON: {error!s:.120}."


async def _read_body(request: Request, limit: int) -> bytes | None:
    """Return the body of a request; None if it is larger than the limit."""
    content_length = request.headers.get("content-length", "")
    if content_length.isascii() and content_length.isdigit() and int(content_length[:20]) > limit:
        return None
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > limit:
            return None
    return bytes(content)


def _parse_events(kind: ModuleType, headers: Mapping[str, str], body: bytes) -> Sequence[RegistryEvent]:
    """Return the events of a verified request; raise the errors of `parse`, or ValueError for invalid JSON."""
    payload: Any = parse_json(body.decode(), parse_constant=_refuse_constant)
    if not isinstance(payload, dict):
        raise InvalidEvent("The payload is not an object. Send a JSON object.")
    events: Sequence[RegistryEvent] = kind.parse(headers, payload)
    return events


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidEvent(f"{name} is not JSON. Send a number, text, or null.")


def _handle_events(ports: Ports, registry: Registry, events: Sequence[RegistryEvent]) -> EventResult:
    """Handle the events of a request, and return the first of their results in the order of EventResult.

    The first error ends the call. When the registry sends the request again, the events that were already handled have
    no effect.
    """
    results = {handle_event(ports, registry, event) for event in events}
    return next(result for result in EventResult if result in results)
