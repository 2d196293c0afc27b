"""Judge: predictions meet the evidence and become verdicts and a summary; one gather, then counting."""

import hashlib
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import structlog
from errata.errors import EvidenceDamaged, ImagesMissing, NewerRecord, PermanentError, Unavailable

from service.analyses import queries
from service.analyses.ports import Ports
from service.domain import (
    Analysis,
    Bytes,
    ErrorType,
    ModelInfo,
    Predictions,
    Progress,
    State,
    Summary,
    build_strata,
)
from service.evidence.bundle import Bundle
from service.jobs.transitions import AnalysisRecord, Job, ShardResult, failure_of, joined
from service.jobs.worker import RetryLater
from service.rules.table import error_types, judge
from service.summary.summarize import summarize
from service.telemetry import Stage

ATTEMPTS = 500  # to archive what is judged: some eight hours, since predicting anew costs far more
LONGEST_RETRY = 60.0  # seconds
STORE_SECONDS, LOOK_SECONDS = 300.0, 0.5  # that a judge waits for a store that is away, and between two looks
NAMED = 10  # missing images that a warning names
RETRY_SECONDS = 5.0  # before the second attempt, longer each time
_log = structlog.get_logger()


@dataclass(frozen=True)
class Judged:
    """An analysis with its verdicts (N judged samples)."""

    analysis: Analysis
    bundle: Bundle
    predictions: Predictions  # of all A images
    verdicts: Bytes  # (N,) as the verdict table has them


def verdicts_of(bundle: Bundle, predictions: Predictions) -> Bytes:
    """Return the verdict byte of each judged sample, (N,); raise EvidenceDamaged where the table holds none."""
    result = judge(bundle.verdicts, predictions.top1[bundle.rows])
    check_verdicts(bundle, result)
    return result


def check_verdicts(bundle: Bundle, found: Bytes) -> None:
    """Raise EvidenceDamaged for bytes that are no verdicts: a table's content isn't checked when it is opened."""
    if found.size and error_types(found).max() > max(ErrorType):
        raise EvidenceDamaged(f"the verdict table of {bundle.dataset} {bundle.digest[:12]} is damaged")


def summary_of(bundle: Bundle, predictions: Predictions) -> Summary:
    """Return the summary of one model's predictions."""
    types = error_types(verdicts_of(bundle, predictions))
    strata = bundle.strata
    if (types == ErrorType.UNSPECIFIED).any():  # some judged image has no prediction: it counts nowhere
        counted = ~bundle.evidence.problematic & (types != ErrorType.UNSPECIFIED)
        strata = build_strata(bundle.evidence.targets, counted, bundle.arrays["groups"])
    return summarize(types, strata, bundle.manifest.abstained, predictions, bundle.all_targets, bundle.imagenet_m)


def digest_of(predictions: Predictions) -> str:
    """Return the SHA-256 of predictions in the data set's order."""
    digest = hashlib.sha256(np.ascontiguousarray(predictions.top1).tobytes())
    for array in (predictions.probability, predictions.top1_restricted):
        if array is not None:
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def judge_job(ports: Ports, job_id: str) -> None:
    """Judge a job whose shards are all predicted, and archive a result for each analysis that waits for it.

    Raise ComeBack to be called again where the archive is away, or the job is for a newer version to judge.
    """
    try:
        fencing_token = ports.store.claim_judging(job_id)
    except NewerRecord as error:
        raise RetryLater(RETRY_SECONDS) from error
    job = ports.store.job(job_id)
    if fencing_token is None or job is None:
        return
    try:
        archived = _archive(ports, job)
        finished = ports.store.finish(job_id, fencing_token)
    except Unavailable as error:
        _wait_for(ports)  # without the store, nobody could be asked to come back
        if fencing_token < ATTEMPTS:
            raise RetryLater(min(RETRY_SECONDS * fencing_token, LONGEST_RETRY)) from error
        _fail(ports, job_id, fencing_token, error)
    except PermanentError as error:
        _log.warning("judging failed", job=job_id, request=job.spec.asked, error=str(error))
        _fail(ports, job_id, fencing_token, error)
    except Exception as error:
        _log.exception("judging failed", job=job_id, request=job.spec.asked)
        _fail(ports, job_id, fencing_token, error)
    else:
        for analysis in archived if finished else ():
            _log.info(
                "judged", analysis=analysis.id, job=job_id, request=job.spec.asked, evidence=analysis.evidence[:12]
            )
            ports.on_finished(analysis)
            with suppress(Unavailable):
                ports.store.store_result(job.spec.dedupe, analysis.id)


def job_failed(ports: Ports, job_id: str) -> None:
    """Tell of every analysis that has failed with its job."""
    job = ports.store.job(job_id)
    for analysis_id in sorted(job.analyses) if job else ():
        snapshot = ports.store.snapshot(analysis_id)
        if snapshot is not None and snapshot.record.state is State.FAILED:
            ports.on_finished(queries.seen(snapshot))


def _wait_for(ports: Ports) -> None:
    """Wait until the store is there, for a while: the thread that judges can do nothing without it."""
    deadline = time.monotonic() + STORE_SECONDS
    while not ports.store.ping() and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)


def _fail(ports: Ports, job_id: str, fencing_token: int, error: Exception) -> None:
    if ports.store.finish(job_id, fencing_token, failure_of(error)):
        job_failed(ports, job_id)


def _archive(ports: Ports, job: Job) -> list[Analysis]:
    """Archive a result for each analysis that waits for a job; return them.

    A result that is archived already stays as it is: an earlier judge wrote it, or a store that was rolled back runs
    its job again.
    """
    parts = ports.store.parts(job.id)
    info = _one_model(job, parts)
    predictions = joined([part.predictions for part in parts])
    bundle = ports.evidence.find(job.spec.dataset, job.spec.evidence)
    missing = _missing(bundle, predictions, ports.limits.max_missing)
    with ports.stage_timer(Stage.JUDGE):
        summary = summary_of(bundle, predictions)
    archived = []
    for analysis_id in sorted(job.analyses):
        snapshot = ports.store.snapshot(analysis_id)
        if snapshot is None or snapshot.record.state.is_final:
            continue
        if (before := ports.archive.get(analysis_id)) is not None:
            archived.append(before)
            continue
        analysis = _finished(ports, snapshot.record, job, predictions, summary, info, missing)
        with ports.stage_timer(Stage.ARCHIVE):
            ports.archive.put(analysis, predictions)
        after = ports.store.snapshot(analysis_id)
        if after is not None and after.record.state.is_final:  # cancelled meanwhile: that is what its user was told
            ports.archive.delete(analysis_id)
        else:
            archived.append(analysis)
    return archived


def _one_model(job: Job, parts: Sequence[ShardResult]) -> ModelInfo:
    """Return the model of all parts; raise PermanentError unless all are there and of one model."""
    models = list(dict.fromkeys(part.model_info for part in parts))
    if len(models) > 1:
        told = ", ".join(f"{model.architecture} {model.weights_sha256[:12]}" for model in models)
        raise PermanentError(f"the weights changed while the model ran, or workers have different ones: {told}")
    images = sum(len(part.predictions.top1) for part in parts)
    if len(parts) != job.spec.num_shards or images != job.spec.total:
        raise Unavailable(f"expected the predictions of {job.spec.total} images, got {images}: parts are missing")
    return models[0]


def _missing(bundle: Bundle, predictions: Predictions, share: float) -> tuple[str, ...]:
    """Return a warning that names images without a prediction; raise ImagesMissing for more than a share of them."""
    rows = np.flatnonzero(predictions.top1 < 0)
    if not len(rows):
        return ()
    names = ", ".join(bundle.arrays["names"][row].decode() for row in rows[:NAMED].tolist())
    more = f" and {len(rows) - NAMED} more" if len(rows) > NAMED else ""
    told = f"{len(rows)} of {len(predictions.top1)} images are missing or damaged: {names}{more}"
    if len(rows) > share * len(predictions.top1):
        raise ImagesMissing(f"{told}; at most {100 * share:g} % may be (ERRATA_MAX_MISSING)")
    return (told,)


def _finished(
    ports: Ports,
    record: AnalysisRecord,
    job: Job,
    predictions: Predictions,
    summary: Summary,
    model_info: ModelInfo,
    warnings: tuple[str, ...],
) -> Analysis:
    start = None if job.started is None else datetime.fromtimestamp(job.started, UTC)
    return Analysis(
        id=record.id,
        request=record.request,
        state=State.SUCCEEDED,
        evidence=record.evidence,
        create_time=datetime.fromtimestamp(record.created, UTC),
        owner=record.owner,
        start_time=start,
        end_time=ports.clock(),
        progress=replace(Progress(), done=job.done, total=job.spec.total),
        predictions_digest=digest_of(predictions),
        images=job.spec.images,
        computation=job.spec.computation,
        model_info=model_info,
        summary=summary,
        warnings=warnings,
        request_digest=record.request_digest,
    )
