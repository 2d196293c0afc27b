"""Write the results of analyses back to the registries that requested them, with retries."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import structlog
from errata.errors import AnalysisNotFound, ErrataError, ModelNotFound

from service import tracing
from service.analyses import queries
from service.analyses.gate import evaluate_gate
from service.analyses.owner_guard import acting_for
from service.analyses.ports import Ports, Stores
from service.analyses.report import report
from service.analyses.request import creation_time
from service.analyses.upload import JUDGING_SECONDS
from service.domain import REGISTRY_OWNER, Analysis, GateDecision, GateResult, State
from service.jobs.transitions import OutboxItem

POLL_SECONDS = 2.0  # interval between two checks of an unfinished analysis
FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS = 5.0, 300.0  # the delay doubles at each failed attempt
MAX_ATTEMPTS = 600  # about two days
LEASE_SECONDS = 60.0  # an item that is neither written nor postponed is due again after this time
_log = structlog.get_logger()


class WriteBackResult(StrEnum):
    """The outcome of an attempt to write back."""

    WRITTEN = "written"
    WAITS = "waits"  # the analysis or its baseline is not finished, or another process writes to the registry
    FAILED = "failed"  # will be retried
    DROPPED = "dropped"  # not needed, or too many attempts


@dataclass(frozen=True)
class WriteBack:
    """The result of one model version for a registry."""

    model: str
    version: str
    analysis: Analysis
    gate: GateResult | None  # None: the rule has no policy
    without_baseline: bool  # the rule has a policy, but there is no baseline
    report: str  # HTML; empty if the analysis failed

    @property
    def decision(self) -> GateDecision | None:
        """The decision of the gate; None if there is no gate."""
        if self.gate is not None:
            return self.gate.decision
        return GateDecision.UNDECIDED if self.without_baseline else None


class Writer(Protocol):
    """A registry that results can be written to."""

    def write(self, result: WriteBack) -> None:
        """Write a result. Idempotent. Raise ModelNotFound if the version was deleted."""
        ...


def registry_of(analysis: Analysis) -> str:
    """Return the id of the registry that requested an analysis."""
    return analysis.owner.removeprefix(REGISTRY_OWNER)


def build_result(ports: Ports, analysis: Analysis) -> WriteBack | None:
    """Return the result of an ended analysis for its registry; None while its baseline is not finished."""
    with acting_for(ports.stores.archive, analysis.owner):
        gate, without_baseline = evaluate_registry_gate(ports.stores, analysis, actor=analysis.owner)
        if gate is not None and gate.decision is GateDecision.PENDING:
            return None
        html = report(ports, analysis.id) if analysis.state is State.SUCCEEDED else ""
    labels = analysis.request.labels
    return WriteBack(labels.get("model", ""), labels.get("version", ""), analysis, gate, without_baseline, html)


def evaluate_registry_gate(stores: Stores, analysis: Analysis, actor: str = "") -> tuple[GateResult | None, bool]:
    """Return the gate result of a registry's analysis, and whether its policy lacks a baseline.

    The actor in the audit log is the caller if `actor` is empty.
    """
    if not analysis.request.gate_policy:
        return None, "gate" in analysis.request.labels
    try:
        return evaluate_gate(stores, analysis.id, actor=actor), False
    except AnalysisNotFound:  # the baseline was deleted
        return None, True


def write_back(ports: Ports, writers: Mapping[str, Writer], item: OutboxItem) -> WriteBackResult:
    """Write back the result of a leased outbox item, and delete or postpone the item.

    Args:
        ports: The ports of the use cases.
        writers: The registries by id.
        item: The item.

    Returns:
        The outcome.

    Raises:
        Unavailable: The job store is unavailable.
    """
    log = _log.bind(analysis=item.analysis)
    try:
        analysis = queries.get(ports.stores, item.analysis)
    except AnalysisNotFound:  # not archived yet, or the archive is not mounted: a deletion removes the item
        if ports.stores.clock().timestamp() - creation_time(item.analysis) < JUDGING_SECONDS:
            return _wait(ports.stores, item)
        if item.attempts >= MAX_ATTEMPTS:
            log.warning("write-back dropped: analysis not found")
            return _drop(ports.stores, item)
        _retry_later(ports.stores, item)
        return WriteBackResult.WAITS
    if not analysis.state.is_final:
        return _wait(ports.stores, item)
    writer = writers.get(registry_of(analysis))
    if analysis.state is State.CANCELLED or writer is None:
        return _drop(ports.stores, item)
    try:
        result = build_result(ports, analysis)
        if result is None:
            return _wait(ports.stores, item)
        _write(writer, result)
    except (ModelNotFound, AnalysisNotFound) as error:
        log.info("write-back dropped: model version deleted", error=str(error))
        return _drop_missing_version(ports.stores, item, analysis)
    except Exception as error:
        if item.attempts >= MAX_ATTEMPTS:
            log.exception("write-back dropped: too many attempts")
            return _drop(ports.stores, item)
        log.warning("write-back failed", error=str(error), exc_info=not isinstance(error, ErrataError))
        return _retry_later(ports.stores, item)
    ports.stores.jobs.delete_outbox_item(item)
    log.info("result written back", registry=analysis.owner, model=result.model, version=result.version)
    return WriteBackResult.WRITTEN


def _write(writer: Writer, result: WriteBack) -> None:
    analysis = result.analysis
    attributes: dict[str, tracing.Value] = {
        "errata.analysis": analysis.id,
        "errata.dataset": analysis.request.dataset,
        "errata.model": analysis.request.model,
        "errata.registry": registry_of(analysis),
    }
    with tracing.span("write-back", parent=analysis.trace, attributes=attributes):
        writer.write(result)


def _drop_missing_version(stores: Stores, item: OutboxItem, analysis: Analysis) -> WriteBackResult:
    """Delete the outbox item of a missing version.

    If the version never existed, as in a test of a webhook, delete its analysis too.
    """
    result = _drop(stores, item)  # before its analysis: afterwards, the item would look like that of a retry
    if analysis.failure is not None and analysis.failure.reason == ModelNotFound.reason:
        stores.jobs.delete(analysis.id)
    return result


def _wait(stores: Stores, item: OutboxItem) -> WriteBackResult:
    stores.jobs.postpone_outbox_item(item, POLL_SECONDS, failed=False)
    return WriteBackResult.WAITS


def _retry_later(stores: Stores, item: OutboxItem) -> WriteBackResult:
    delay = min(FIRST_RETRY_SECONDS * 2.0 ** min(item.attempts, 10), LAST_RETRY_SECONDS)
    stores.jobs.postpone_outbox_item(item, delay, failed=True)
    return WriteBackResult.FAILED


def _drop(stores: Stores, item: OutboxItem) -> WriteBackResult:
    stores.jobs.delete_outbox_item(item)
    return WriteBackResult.DROPPED
