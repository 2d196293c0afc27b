"""GET /v1/gates/{registry_id}/{model}/{version}: the gate of a registered model version, as JSON for polling tools.

200: the decision is pass, fail, undecided, pending, or error. 404: no analysis of the version exists.
503 with Retry-After: analyses can be missing, or a part of the service is unavailable.
"""

from collections.abc import Collection, Sequence
from urllib.parse import unquote

import structlog
from errata.errors import ErrataError, ModelNotFound, TooBusy
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from service.analyses.ports import Ports
from service.analyses.registries import find_newest
from service.analyses.write_back import evaluate_registry_gate
from service.bounded_executor import BoundedExecutor
from service.concurrency import ConcurrencyLimit
from service.domain import GateDecision, State
from service.redact import log_fields, public_message
from service.report.messages.gate import (
    ANALYSIS_PENDING,
    ANALYSIS_WITHOUT_RESULT,
    MISSING_BASELINE,
    MISSING_POLICY,
    gate_reason,
)
from service.web.application import challenge, retry_header
from service.web.status import status_of

PATH = "/v1/gates/{registry_id}/{model:path}/{version}"
NUM_THREADS = 3
MAX_REQUESTS, RETRY_SECONDS = 128, 1.0  # running and waiting
_log = structlog.get_logger()


class Gates:
    """Responds to requests for gates in a thread pool."""

    def __init__(self, ports: Ports, registries: Collection[str], public_url: str = "") -> None:
        self._ports = ports
        self._registries = registries  # IDs of the configured registries
        self._public_url = public_url.rstrip("/")
        requests = ConcurrencyLimit(MAX_REQUESTS, "requests for gates", RETRY_SECONDS)
        self._executor = BoundedExecutor(NUM_THREADS, "gate", requests)

    def routes(self) -> list[Route]:
        """Return the route of the gates."""
        return [Route(PATH, self._respond, methods=["GET"])]

    def stop(self) -> None:
        """Stop the thread pool."""
        self._executor.stop()

    async def _respond(self, request: Request) -> Response:
        registry, (model, version) = str(request.path_params["registry_id"]), _model_and_version(request)
        try:
            return await self._executor.call(self._evaluate, registry, model, version)
        except TooBusy as error:
            return _error_response(error)

    def _evaluate(self, registry: str, model: str, version: str) -> Response:
        try:
            analysis = find_newest(self._ports.stores, registry, model, version)
            if analysis is None and registry not in self._registries:
                raise ModelNotFound(f"Registry {registry!r:.80} is not configured. Check its ID in ERRATA_REGISTRIES.")
            if analysis is None:
                raise ModelNotFound(
                    f"No analysis of model {model!r:.120}, version {version!r:.40}, in registry {registry!r:.80}. "
                    "Check that an event arrived and that a rule matches. The server log contains refused events."
                )
            url = f"{self._public_url}/analyses/{analysis.id}"
            gate, is_baseline_missing = evaluate_registry_gate(self._ports.stores, analysis)
            if gate is not None:
                return _gate_response(gate.decision, [*map(gate_reason, gate.reasons)], url)
            if analysis.state is State.SUCCEEDED:
                reason = MISSING_BASELINE if is_baseline_missing else MISSING_POLICY
                return _gate_response(GateDecision.UNDECIDED, [reason], url)
            if not analysis.state.is_final:
                return _gate_response(GateDecision.PENDING, [ANALYSIS_PENDING], url)
            failure = [analysis.failure.message] if analysis.failure else []
            return _gate_response(GateDecision.ERROR, [ANALYSIS_WITHOUT_RESULT, *failure], url)
        except ErrataError as error:
            if details := log_fields(error):
                _log.warning("gate refused", registry=registry, model=model, reason=error.reason, **details)
            return _error_response(error)
        except Exception:
            _log.exception("gate failed")
            return _gate_response(GateDecision.ERROR, ["Internal error. See the server log."], "", status=500)


def refusal(error: ErrataError) -> Response:
    """Return the response to a request that is not authorized."""
    response = _error_response(error)
    response.headers.update(challenge(error))
    return response


def _model_and_version(request: Request) -> tuple[str, str]:
    """Return the model and the version. Only the path before decoding shows whether a `/` belongs to the version."""
    model, version = (str(request.path_params[name]) for name in ("model", "version"))
    last = unquote(request.scope["raw_path"].rpartition(b"/")[2])
    path = f"{model}/{version}"
    return (path.removesuffix(f"/{last}"), last) if path.endswith(f"/{last}") else (model, version)


def _error_response(error: ErrataError) -> Response:
    response = _gate_response(GateDecision.ERROR, [public_message(error)], "", status_of(error))
    response.headers.update(retry_header(error))
    return response


def _gate_response(decision: GateDecision, reasons: Sequence[str], report: str, status: int = 200) -> Response:
    passes = {GateDecision.PASS: True, GateDecision.FAIL: False}.get(decision)
    gate = {"decision": decision.name.lower(), "pass": passes, "reasons": list(reasons), "report": report}
    return JSONResponse({"gate": gate}, status_code=status, headers={"Cache-Control": "no-store"})
