"""The audit log: creations, deletions, cancellations, retries, reviews, gate decisions, and changes of evidence.

Events about evidence are in `audit/` of the archive, because an event also publishes evidence
(service.evidence.publications). All other events are in `audit-analyses/`. Their IDs begin with the time, so that a
page reads no files of newer events or of events before its start time. `list_events` merges both.
"""

import hashlib
import heapq
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import structlog
from errata.errors import Unavailable

from service.analyses.ports import Stores
from service.caller import CALLER
from service.domain import (
    REGISTRY_OWNER,
    UNAUTHENTICATED,
    Analysis,
    AuditAction,
    AuditEvent,
    GateDecision,
    GateResult,
    Review,
)
from service.domain.listing import microseconds

MAX_SCANNED = 10_000  # events that one page reads at most
SUFFIX_DIGITS = 20  # hexadecimal digits of an ID after the time
LAST_ID = "g"  # comes after all IDs
Position = tuple[datetime, str]  # time and ID of an event
_log = structlog.get_logger()


@dataclass(frozen=True)
class AuditFilter:
    """A filter of events: an event matches if it meets all conditions that are set."""

    dataset: str = ""
    action: AuditAction | None = None
    actor: str = ""
    analysis: str = ""
    start: datetime | None = None
    end: datetime | None = None

    def matches(self, event: AuditEvent) -> bool:
        """Return whether an event meets the conditions."""
        expected = (
            (self.dataset, event.dataset),
            (self.actor, event.actor),
            (self.analysis, event.analysis),
            (self.action or "", event.action),
        )
        return (
            all(value in ("", actual) for value, actual in expected)
            and (self.start is None or event.time >= self.start)
            and (self.end is None or event.time < self.end)
        )


def record_change(
    stores: Stores,
    action: AuditAction,
    analysis: Analysis,
    details: Mapping[str, str] | None = None,
    *,
    actor: str = "",
    required: bool = False,
) -> None:
    """Add an event about an analysis.

    Args:
        stores: The stores.
        action: What the actor did.
        analysis: The analysis.
        details: Further values.
        actor: The actor; empty: the caller.
        required: Whether to raise Unavailable if the archive cannot be written. By default, the event is then only in
            the log of the service, so that the service continues while the archive is unavailable.
    """
    _append(stores, _analysis_event(stores, action, analysis, details or {}, actor), required=required)


def record_creation(stores: Stores, analysis: Analysis, model: str = "") -> None:
    """Add an event about a new analysis, as `record_change` does."""
    _append(stores, creation_of(stores, analysis, model))


def creation_of(stores: Stores, analysis: Analysis, model: str = "") -> AuditEvent:
    """Return the event about a new analysis. The actor is its registry, or else the caller."""
    actor = analysis.owner if analysis.owner.startswith(REGISTRY_OWNER) else ""
    return _analysis_event(stores, AuditAction.CREATE, analysis, {"model": model}, actor)


def record_review(stores: Stores, review: Review) -> None:
    """Add an event about a review that the caller wrote. A second call for the review stores the same event again."""
    details = {"image": review.image, "review": review.id}
    event = AuditEvent("", review.time, _actor(), AuditAction.REVIEW, review.dataset, review.evidence, details)
    _append(stores, _with_id(event, review.id[-SUFFIX_DIGITS:]))


def record_gate(stores: Stores, analysis: Analysis, policy: str, result: GateResult, actor: str = "") -> None:
    """Add an event about the decision of a gate, unless it is pending or this process already recorded it.

    The actor is the caller if `actor` is empty.
    """
    actor, digest = actor or _actor(), hashlib.sha256(policy.encode()).hexdigest()
    if result.decision is GateDecision.PENDING:
        return
    key = (actor, analysis.id, result.baseline, digest)
    if stores.gate_decisions.add(key, result.decision) is not result.decision:
        details = {"decision": result.decision.name.lower(), "policy": result.policy, "policy_sha256": digest}
        record_change(stores, AuditAction.GATE, analysis, {**details, "baseline": result.baseline}, actor=actor)


def list_events(
    stores: Stores, conditions: AuditFilter, before: Position | None, limit: int
) -> tuple[Sequence[AuditEvent], Position | None]:
    """Return a page of events, newest first, and the position where the next page begins (None: no more pages).

    A page reads at most MAX_SCANNED events, so it can have fewer events than `limit` even if it is not the last page.

    Raises:
        Unavailable: The archive cannot be read.
    """
    page: list[AuditEvent] = []
    for number, event in enumerate(_newest_first(stores, conditions, before), 1):
        if conditions.matches(event):
            if len(page) == limit:
                return page, _position(page[-1])
            page.append(event)
        if number >= MAX_SCANNED:
            return page, _position(event)
    return page, None


def _newest_first(stores: Stores, conditions: AuditFilter, before: Position | None) -> Iterator[AuditEvent]:
    """Yield the events after the position and in the time range of the conditions."""
    end = min((time for time in (before and before[0], conditions.end) if time), default=None)
    first = "" if conditions.start is None else _id_prefix(conditions.start)
    last = LAST_ID if end is None else f"{_id_prefix(end)}{LAST_ID}"
    logs: list[Iterator[AuditEvent]] = [reversed(stores.evidence.published.publications.events())]
    if stores.events is not None:
        logs.append(stores.events.newest_first(first, last))
    for event in heapq.merge(*logs, key=_position, reverse=True):
        if conditions.start is not None and event.time < conditions.start:
            return
        if (before is None or _position(event) < before) and (conditions.end is None or event.time < conditions.end):
            yield event


def _position(event: AuditEvent) -> Position:
    return event.time, event.id


def _analysis_event(
    stores: Stores, action: AuditAction, analysis: Analysis, details: Mapping[str, str], actor: str
) -> AuditEvent:
    """Return an event about an analysis; an empty `actor` is the caller."""
    all_details = {"owner": analysis.owner, "title": analysis.title, **details}
    event = AuditEvent(
        "",
        stores.clock(),
        actor or _actor(),
        action,
        analysis.request.dataset,
        analysis.evidence,
        {name: value for name, value in all_details.items() if value},
        analysis.id,
    )
    return _with_id(event)


def _with_id(event: AuditEvent, suffix: str = "") -> AuditEvent:
    """Return a new event with an ID, and with the time that the ID begins with, which has only milliseconds.

    The ID ends with the suffix; without a suffix, it ends with random digits.
    """
    time = event.time.replace(microsecond=event.time.microsecond // 1000 * 1000)
    return replace(event, id=_id_prefix(time) + (suffix or secrets.token_hex(SUFFIX_DIGITS // 2)), time=time)


def _append(stores: Stores, event: AuditEvent, *, required: bool = False) -> None:
    try:
        if stores.events is not None:
            stores.events.append(event)
        log_event(event)
    except Unavailable as error:
        _log.error("audit event not stored", error=str(error), details=dict(event.details), **_log_fields(event))
        if required:
            raise


def log_event(event: AuditEvent) -> None:
    """Log a stored event."""
    _log.info("audit", **_log_fields(event))


def _log_fields(event: AuditEvent) -> dict[str, str]:
    fields = {"actor": event.actor, "action": event.action.value}
    return fields | {"dataset": event.dataset, "analysis": event.analysis}


def _actor() -> str:
    return CALLER.get().name or UNAUTHENTICATED


def _id_prefix(time: datetime) -> str:
    """Return the first 12 digits of an ID: the milliseconds since 1970."""
    return f"{max(0, microseconds(time) // 1000):012x}"
