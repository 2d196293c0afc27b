"""Judge the archived predictions of all analyses of a data set again, with another bundle."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import structlog
from errata.errors import ErrataError, EvidenceDamaged

from service.analyses import owner_guard, queries
from service.analyses import request as requests
from service.analyses.ports import Ports, Stores
from service.analyses.reanalyze import judge_again
from service.analyses.upload import archive_analysis, check_capacity
from service.archive.port import iterate_index
from service.domain import NEWEST_FIRST, Analysis, AnalysisFilter, State
from service.evidence.bundle import Bundle
from service.redact import public_message

PAGE = 1000  # analyses per query of the index
DELETED = "The analysis was deleted."  # a reason
NEW_DELETED = "Its new analysis was deleted during this run."  # a reason
_log = structlog.get_logger()


@dataclass(frozen=True)
class ReanalysisProgress:
    """The outcome for one analysis."""

    done: int  # analyses so far, this one included
    total: int
    before: str  # ID of the analysis whose predictions are judged
    after: str = ""  # ID of the analysis on the bundle; empty: skipped
    is_new: bool = False  # whether this call created it
    reason: str = ""  # why the analysis was skipped; empty: it was not


@dataclass(frozen=True)
class _Predicted:
    """The analyses with the same `predictions_key` and, if owners are isolated, the same new owner."""

    newest: str  # ID; the newest on another bundle, if there is one
    created: datetime  # of the oldest
    new_id: str = ""  # ID of the analysis on the bundle


@dataclass(frozen=True)
class _Run:
    """The arguments of one call of `reanalyze_all`."""

    bundle: Bundle
    caller: str  # name of the caller's token
    start: float  # of the call, in seconds of the monotonic clock


def reanalyze_all(ports: Ports, dataset: str, digest: str, caller: str) -> Iterator[ReanalysisProgress]:
    """Judge all archived analyses of a data set with a bundle, each at most once, and yield the progress.

    Analyses of the same predictions with the same name and labels count as one, unless owners are isolated and differ.
    These values and the bundle determine the ID of the new analysis. A call therefore creates only the missing
    analyses, even if an earlier call was killed or another call runs at the same time. It creates no analysis that
    was deleted since the call started, as far as the process has been notified.

    Args:
        ports: The ports of the use cases.
        dataset: Name of the data set.
        digest: Digest of the bundle, or its start; empty: the default bundle.
        caller: Name of the caller's token; empty without a token. New analyses have this owner; if owners are isolated,
            they have the owner of the analysis whose predictions are judged.

    Raises:
        DatasetNotFound: The data set has no evidence.
        EvidenceNotFound: The bundle does not exist.
        TooBusy: The archive is full.
        Unavailable: The archive cannot be read or written, or its index is being built.
    """
    start = time.monotonic()
    bundle = ports.stores.evidence.find(dataset, digest)
    run = _Run(bundle, caller, start)
    if not ports.stores.index.is_complete:
        raise queries.incomplete_error()
    check_capacity(ports)
    predicted = _find_predicted(ports.stores, dataset, bundle.digest, caller)
    for number, (key, analyses) in enumerate(predicted.items(), start=1):
        progress = ReanalysisProgress(number, len(predicted), analyses.newest, analyses.new_id)
        analysis_id = requests.derive_id(analyses.created, f"{key} {bundle.digest}")
        yield progress if analyses.new_id else _reanalyze(ports, run, progress, analysis_id)
    _log.info("data set reanalyzed", dataset=dataset, evidence=bundle.digest[:12], analyses=len(predicted))


def _find_predicted(stores: Stores, dataset: str, evidence: str, caller: str) -> Mapping[str, _Predicted]:
    """Return the successful analyses of a data set by `predictions_key` and new owner, oldest first."""
    matching = AnalysisFilter(dataset=dataset, states=frozenset({State.SUCCEEDED}))
    predicted: dict[str, _Predicted] = {}
    for analysis in iterate_index(stores.index, matching, NEWEST_FIRST.reversed, PAGE):
        key = predictions_key(analysis) + owner_guard.isolated_owner(stores.archive, analysis, caller)
        known = predicted.get(key) or _Predicted(analysis.id, analysis.create_time)
        is_new = analysis.evidence == evidence
        predicted[key] = replace(known, new_id=analysis.id) if is_new else replace(known, newest=analysis.id)
    return predicted


def predictions_key(analysis: Analysis) -> str:
    """Return a text that is the same for analyses of the same predictions with the same name and labels."""
    request = replace(analysis.request, evidence="", fresh=False, accept_implausible=False)
    return requests.digest(request, analysis.predictions_digest)


def _reanalyze(ports: Ports, run: _Run, progress: ReanalysisProgress, analysis_id: str) -> ReanalysisProgress:
    """Judge and archive one analysis, and return the progress with the outcome."""
    try:
        if ports.stores.archive.get(analysis_id) is not None:  # another call has created it meanwhile
            return replace(progress, after=analysis_id)
        before = ports.stores.archive.get(progress.before)
        if before is None:
            return replace(progress, reason=DELETED)
        request = replace(before.request, evidence=run.bundle.digest, request_id="")
        analysis, predictions = judge_again(ports, before, request, run.bundle, analysis_id)
        if ports.stores.archive.get(before.id) is None:
            return replace(progress, reason=DELETED)
        if ports.stores.archive.was_deleted_after(analysis_id, run.start):
            return replace(progress, reason=NEW_DELETED)
    except EvidenceDamaged:
        raise
    except ErrataError as error:
        return replace(progress, reason=public_message(error))
    owner = owner_guard.isolated_owner(ports.stores.archive, before, run.caller) or run.caller
    is_new = archive_analysis(ports, replace(analysis, owner=owner), predictions, replaces=False)
    return replace(progress, after=analysis.id, is_new=is_new)
