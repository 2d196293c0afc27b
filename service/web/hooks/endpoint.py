"""POST /v1/hooks/{kind}/{registry_id}: a registry's call is verified, read, and what it asks for is queued.

408 too slow; 413 too large; 401 not verified; 400 no JSON, or another form; 200 nothing to do, or done before;
202 queued; 503 with Retry-After where it should come again.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import structlog
from errata.errors import ErrataError, TooBusy, Unavailable
from errata.json_input import parse_json
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from service.analyses.ports import Ports
from service.analyses.registries import EventResult, Registry, handle_event
from service.domain import RegistryEvent
from service.evicting_limiter import EvictingLimiter
from service.telemetry import Metrics
from service.web.hooks import generic, huggingface, mlflow, wandb
from service.web.hooks.signature import Unverified
from service.web.listener import peer_of

THREADS = 4  # that queue what comes
BODY_SECONDS = 20.0  # that a call's body may take
MOST_READING = 64  # calls whose body is being read; one more ends the oldest
MOST_WAITING = 256  # calls; more are asked to come again
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
class Caller:
    """A registry whose calls are taken: its kind, its secrets, and what is done about its events."""

    kind: str
    secrets: Sequence[str] = field(repr=False)  # never empty
    registry: Registry


class Hooks:
    """Takes the calls of the configured registries, in threads of their own."""

    def __init__(
        self, ports: Ports, callers: Mapping[str, Caller], metrics: Metrics, clock: Callable[[], float] = time.time
    ) -> None:
        self._ports = ports
        self._callers = callers
        self._metrics = metrics
        self._clock = clock
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="hook")
        self._waiting = 0
        self._reading = EvictingLimiter(MOST_READING, BODY_SECONDS)

    def routes(self) -> list[Route]:
        """Return the hooks' route."""
        return [Route(PATH, self._take, methods=["POST"])]

    def stop(self) -> None:
        """Take no more calls."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _take(self, request: Request) -> Response:
        name = request.path_params["registry_id"]
        caller = self._callers.get(name)
        if caller is None or caller.kind != request.path_params["kind"]:
            return self._told("unknown", "not_found", 404, "expected a registry that is configured here")
        kind = KINDS[caller.kind]
        try:
            async with self._reading.slot():
                body = await _body(request, kind.LIMIT)
        except TimeoutError:
            message = f"Request body too slow. Send it within {BODY_SECONDS:g} seconds, or sooner under load."
            return _closing(self._told(name, "slow", 408, message))
        except ClientDisconnect:
            return self._told(name, "disconnected", 400, "the call ended early")
        if body is None:
            return _closing(self._told(name, "too_large", 413, f"expected at most {kind.LIMIT} bytes"))
        headers = dict(request.headers)
        try:
            kind.verify(headers, body, caller.secrets, self._clock())
        except Unverified as error:
            self._metrics.refused_calls.labels("hook", "UNVERIFIED").inc()
            _log.warning("a call isn't verified", registry=name, why=str(error), peer=peer_of(request))
            return self._told(name, "unverified", 401, "expected a call that one of the registry's secrets signs")
        try:
            event = _event(kind, headers, body)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            _log.warning("a call can't be read", registry=name, error=f"{type(error).__name__}: {error!s:.200}")
            return self._told(name, "malformed", 400, f"expected an event as JSON: {_why(error)}")
        if event is None:
            return self._told(name, EventResult.IGNORED, 200, "nothing to do for such an event")
        if self._waiting >= MOST_WAITING:
            return self._later(name, TooBusy("too many calls are waiting"))
        self._waiting += 1
        try:
            taken = await asyncio.get_running_loop().run_in_executor(
                self._pool, copy_context().run, handle_event, self._ports, caller.registry, event
            )
        except (TooBusy, Unavailable) as error:
            return self._later(name, error)
        except Exception:
            _log.exception("a call can't be taken", registry=name)
            return self._told(name, "failed", 500, "this is a bug of Errata's; the log has it")
        finally:
            self._waiting -= 1
        return self._told(name, taken, 202 if taken is EventResult.QUEUED else 200, _WORDS[taken])

    def _later(self, registry: str, error: ErrataError) -> Response:
        _log.warning("a call is asked to come again", registry=registry, error=str(error))
        response = self._told(registry, "later", 503, "not now: try again")
        wait = min(error.retry_after or RETRY_AFTER, MAX_RETRY_AFTER)
        response.headers["Retry-After"] = str(max(1, round(wait)))
        return response

    def _told(self, registry: str, outcome: str, status: int, message: str) -> Response:
        self._metrics.hooks.labels(registry, str(outcome)).inc()
        return JSONResponse({"outcome": str(outcome), "message": message}, status_code=status)


_WORDS: Mapping[EventResult, str] = {
    EventResult.QUEUED: "an analysis is queued",
    EventResult.REPEATED: "this was asked before",
    EventResult.IGNORED: "nothing to do: no rule is for it",
    EventResult.REFUSED: "it can't be analyzed; the log says why",
}


def _why(error: Exception) -> str:
    """Return what is wrong with an event, in words about the event."""
    match error:
        case KeyError():
            return f"the field {error!s:.80} is missing"
        case TypeError() | AttributeError():
            return "a field has another type than it should"
        case ValueError() if "integer string conversion" in str(error):
            return "a number is too long"
        case _:
            return f"{error!s:.120}"


def _closing(response: Response) -> Response:
    """Return the response to a call whose body isn't read to its end: the connection is of no more use."""
    response.headers["Connection"] = "close"
    return response


async def _body(request: Request, limit: int) -> bytes | None:
    """Return the raw bytes of a call; None for more than the limit, of which no more is read."""
    given = request.headers.get("content-length", "")
    if given.isascii() and given.isdigit() and int(given[:20]) > limit:
        return None
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > limit:
            return None
    return bytes(content)


def _event(kind: ModuleType, headers: Mapping[str, str], body: bytes) -> RegistryEvent | None:
    """Return what a verified call says; raise ValueError, KeyError or TypeError for another form."""
    payload: Any = parse_json(body.decode())
    if not isinstance(payload, dict):
        raise TypeError("expected an object")
    result: RegistryEvent | None = kind.parse(headers, payload)
    return result
