"""Write back: what came of an analysis is told to the registry that asked; again until it is, or nobody can."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import structlog
from errata.errors import AnalysisNotFound, ErrataError, ModelNotFound

from service.analyses import queries
from service.analyses.gate import evaluate_gate
from service.analyses.ports import Ports
from service.analyses.report import report
from service.domain import REGISTRY_OWNER, Analysis, GateDecision, GateResult, State
from service.jobs.transitions import OutboxItem

LOOK_SECONDS = 2.0  # between two looks at an analysis that isn't finished
FIRST, LAST = 5.0, 300.0  # seconds to the next try
TRIES = 600  # some two days
UNBORN_TRIES = 20  # of what is to be archived at once
LEASE = 60.0  # seconds after which what nobody settled comes again
_log = structlog.get_logger()


class WriteBackResult(StrEnum):
    """What came of an attempt to write back."""

    WRITTEN = "written"
    WAITS = "waits"  # the analysis, or its baseline, isn't finished
    FAILED = "failed"  # it is tried again
    DROPPED = "dropped"  # nobody waits for it, or it was tried too often


@dataclass(frozen=True)
class Result:
    """What a registry is told of one version."""

    model: str
    version: str
    analysis: Analysis
    gate: GateResult | None  # None: no policy was asked for
    without_baseline: bool  # there is a policy, but nothing to compare with
    report: str  # HTML; empty where the analysis failed

    @property
    def decision(self) -> GateDecision | None:
        """Return the gate's decision; None where there is no gate."""
        if self.gate is not None:
            return self.gate.decision
        return GateDecision.UNDECIDED if self.without_baseline else None


class Writer(Protocol):
    """A registry, as far as it can be told a result."""

    def write(self, result: Result) -> None:
        """Tell a result; the same one twice changes nothing. Raise ModelNotFound if the version is gone."""
        ...


def write_back_due(ports: Ports, writers: Mapping[str, Writer]) -> dict[WriteBackResult, int]:
    """Tell every registry what it is owed now; return how many came to what. Raise Unavailable without the store."""
    counts: dict[WriteBackResult, int] = {}
    while result := ports.store.owed(LEASE, most=1):  # one at a time: each has the whole lease
        told = _write_back(ports, writers, result[0])
        counts[told] = counts.get(told, 0) + 1
    return counts


def result_of(ports: Ports, analysis: Analysis) -> Result | None:
    """Return what there is to tell of an analysis that has ended; None while its baseline hasn't."""
    gate, without_baseline = gate_of(ports, analysis)
    if gate is not None and gate.decision is GateDecision.PENDING:
        return None
    labels = analysis.request.labels
    html = report(ports, analysis.id) if analysis.state is State.SUCCEEDED else ""
    return Result(labels.get("model", ""), labels.get("version", ""), analysis, gate, without_baseline, html)


def gate_of(ports: Ports, analysis: Analysis) -> tuple[GateResult | None, bool]:
    """Return what the gate says of an analysis that a registry asked for, and whether it lacks what to compare with."""
    if not analysis.request.gate_policy:
        return None, "gate" in analysis.request.labels
    try:
        return evaluate_gate(ports, analysis.id), False
    except AnalysisNotFound:  # the baseline was deleted
        return None, True


def _write_back(ports: Ports, writers: Mapping[str, Writer], owed: OutboxItem) -> WriteBackResult:
    log = _log.bind(analysis=owed.analysis)
    try:
        analysis = queries.get(ports, owed.analysis)
    except AnalysisNotFound:  # deleted; or it is about to be archived
        return _later(ports, owed, LOOK_SECONDS) if owed.tries < UNBORN_TRIES else _dropped(ports, owed)
    if not analysis.state.is_final:
        ports.store.postpone(owed.analysis, LOOK_SECONDS, failed=False)
        return WriteBackResult.WAITS
    writer = writers.get(analysis.owner.removeprefix(REGISTRY_OWNER))
    if analysis.state is State.CANCELLED or writer is None:
        return _dropped(ports, owed)
    if _never_was(analysis) and analysis.request.model.startswith("mlflow:"):  # a worker has asked the registry itself
        return _dropped_as_missing(ports, owed, analysis)
    try:
        result = result_of(ports, analysis)
        if result is None:
            ports.store.postpone(owed.analysis, LOOK_SECONDS, failed=False)
            return WriteBackResult.WAITS
        writer.write(result)
    except (ModelNotFound, AnalysisNotFound) as error:
        log.info("a result is dropped: the version is gone", error=str(error))
        return _dropped_as_missing(ports, owed, analysis)
    except Exception as error:
        if owed.tries >= TRIES:
            log.exception("a result can't be written back, and is given up")
            return _dropped(ports, owed)
        log.warning("a result can't be written back now", error=str(error), exc_info=not isinstance(error, ErrataError))
        return _later(ports, owed, min(FIRST * 2.0 ** min(owed.tries, 10), LAST))
    ports.store.settle(owed.analysis)
    log.info("written back", registry=analysis.owner, model=result.model, version=result.version)
    return WriteBackResult.WRITTEN


def _never_was(analysis: Analysis) -> bool:
    return analysis.failure is not None and analysis.failure.reason == ModelNotFound.reason


def _dropped_as_missing(ports: Ports, owed: OutboxItem, analysis: Analysis) -> WriteBackResult:
    """Drop what is owed to a version that isn't there; one that never was, as where a hook is tried, leaves nothing."""
    if _never_was(analysis):
        ports.store.forget(analysis.id)
    return _dropped(ports, owed)


def _later(ports: Ports, owed: OutboxItem, delay: float) -> WriteBackResult:
    ports.store.postpone(owed.analysis, delay, failed=True)
    return WriteBackResult.FAILED


def _dropped(ports: Ports, owed: OutboxItem) -> WriteBackResult:
    ports.store.settle(owed.analysis)
    return WriteBackResult.DROPPED
