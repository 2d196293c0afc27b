"""GET /v1/gates/{registry_id}/{model}/{version}: whether a registered version passes; always JSON, for tools that poll.

200 with a decision pass, fail, undecided, pending or error; 404 for a version that no event told of.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial

import structlog
from errata.errors import ErrataError, ModelNotFound, TooBusy
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from service.analyses.ports import Ports
from service.analyses.registries import find_newest
from service.analyses.write_back import evaluate_registry_gate
from service.domain import GateDecision, State
from service.redact import log_fields, public_message
from service.report.gate_view import gate_view
from service.report.messages import NO_BASELINE, NO_POLICY
from service.web.listener import challenge
from service.web.status import status_of

PATH = "/v1/gates/{registry_id}/{model:path}/{version}"
THREADS = 2
MOST_WAITING = 64
_log = structlog.get_logger()


class Gates:
    """Answers for gates, in threads of its own."""

    def __init__(self, ports: Ports, public_url: str = "") -> None:
        self._ports = ports
        self._public_url = public_url.rstrip("/")
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="gate")
        self._waiting = 0

    def routes(self) -> list[Route]:
        """Return the gates' route."""
        return [Route(PATH, self._gate, methods=["GET"])]

    def stop(self) -> None:
        """Take no more calls."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _gate(self, request: Request) -> Response:
        if self._waiting >= MOST_WAITING:
            return _refused(TooBusy("too many gates are asked for: ask again", retry_after=1))
        self._waiting += 1
        names = [str(request.path_params[name]) for name in ("registry_id", "model", "version")]
        try:
            answer = partial(copy_context().run, self._answer, *names)
            return await asyncio.get_running_loop().run_in_executor(self._pool, answer)
        finally:
            self._waiting -= 1

    def _answer(self, registry: str, model: str, version: str) -> Response:
        try:
            analysis = find_newest(self._ports, registry, model, version)
            if analysis is None:
                raise ModelNotFound(
                    f"no analysis of {model!r:.120} {version!r:.40} in registry {registry!r:.80}: no event told of it, "
                    "no rule is for it, or the log says why it was refused"
                )
            link = f"{self._public_url}/analyses/{analysis.id}"
            why = [analysis.failure.message] if analysis.failure else []
            gate, without_baseline = evaluate_registry_gate(self._ports, analysis)
            if gate is not None:
                return _decided(gate.decision, [*(reason.message for reason in gate_view(gate).reasons), *why], link)
            if analysis.state is State.SUCCEEDED:
                return _decided(GateDecision.UNDECIDED, [NO_BASELINE if without_baseline else NO_POLICY], link)
            if not analysis.state.final:
                return _decided(GateDecision.PENDING, ["the analysis isn't finished"], link)
            return _decided(GateDecision.ERROR, ["the analysis ended without a result", *why], link)
        except ErrataError as error:
            if details := log_fields(error):
                _log.warning("gate refused", registry=registry, model=model, reason=error.reason, **details)
            return _refused(error)
        except Exception:
            _log.exception("a gate can't be answered")
            return _decided(GateDecision.ERROR, ["this is a bug of Errata's; the log has it"], "", status=500)


def refused(error: ErrataError) -> Response:
    """Return the answer to a call that isn't let in."""
    response = _refused(error)
    response.headers.update(challenge(error))
    return response


def _refused(error: ErrataError) -> Response:
    response = _decided(GateDecision.ERROR, [public_message(error)], "", status_of(error))
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(max(1, round(error.retry_after)))
    return response


def _decided(decision: GateDecision, reasons: Sequence[str], report: str, status: int = 200) -> Response:
    passes = {GateDecision.PASS: True, GateDecision.FAIL: False}.get(decision)
    gate = {"decision": decision.name.lower(), "pass": passes, "reasons": list(reasons), "report": report}
    return JSONResponse({"gate": gate}, status_code=status, headers={"Cache-Control": "no-store"})
