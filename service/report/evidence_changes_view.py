"""The forms that change evidence, the progress of judging, and the audit events, as records for the templates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from service.domain import AuditEvent
from service.report.evidence_view import SHORT_DIGEST
from service.report.messages.evidence import ACTION_NAMES, describe_run

MAX_EVENTS = 50
MAX_DETAILS = 8  # of an event
MAX_DETAIL = 80  # characters of a detail of an event


@dataclass(frozen=True)
class EventRow:
    """An audit event."""

    time: str
    actor: str
    action: str
    digest: str  # short; empty: none
    details: str


@dataclass(frozen=True)
class RunView:
    """The progress of a run that judges all analyses again."""

    digest: str  # short
    summary: str
    num_done: int
    num_total: int
    skipped: tuple[str, ...]
    problem: str
    is_running: bool


@dataclass(frozen=True)
class FormsView:
    """The forms that the caller can use, the last refused form, the runs, and the audit events."""

    can_change: bool  # whether the caller has the scope `admin`
    versions_url: str
    bases: tuple[str, ...]  # digests
    base: str = ""
    min_reviews: str = "1"
    problem: str = ""  # of the last form; empty: there is none
    details: tuple[str, ...] = ()
    runs: Mapping[str, RunView] = field(default_factory=dict)  # by digest
    events: tuple[EventRow, ...] = ()
    num_events: int = 0

    @property
    def is_running(self) -> bool:
        """Return whether any run is still in progress."""
        return any(run.is_running for run in self.runs.values())


def run_view(
    digest: str, counts: tuple[int, int, int, int], skipped: Sequence[tuple[str, str]], problem: str, is_running: bool
) -> RunView:
    """Return the progress of a run.

    Args:
        digest: Digest of the bundle.
        counts: The numbers of analyses: judged so far, in total, new, and skipped.
        skipped: ID and reason of skipped analyses.
        problem: Why the run ended early; empty if it did not end early.
        is_running: Whether the run is still in progress.
    """
    return RunView(
        digest=digest[:SHORT_DIGEST],
        summary=describe_run(*counts),
        num_done=counts[0],
        num_total=counts[1],
        skipped=tuple(f"analyses/{analysis}: {reason}" for analysis, reason in skipped),
        problem=problem,
        is_running=is_running,
    )


def event_row(event: AuditEvent) -> EventRow:
    """Return the row of an audit event."""
    details = (f"{name}: {_shorten(value)}" for name, value in sorted(event.details.items())[:MAX_DETAILS])
    return EventRow(
        time=f"{event.time:%Y-%m-%d %H:%M:%S}",
        actor=event.actor,
        action=ACTION_NAMES[event.action],
        digest=event.digest[:SHORT_DIGEST],
        details=", ".join(details),
    )


def _shorten(text: str) -> str:
    is_digest = len(text) == 64 and all(character in "0123456789abcdef" for character in text)
    return text[:SHORT_DIGEST] if is_digest else text[:MAX_DETAIL]
