"""Judge predictions: look up their verdicts in the evidence, summarize them, and archive the analyses of a job."""

import hashlib
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import structlog
from errata.errors import DamagedRecord, EvidenceDamaged, ImagesMissing, NewerRecord, PermanentError, Unavailable

from service import tracing
from service.analyses import queries
from service.analyses.ports import Ports, Stores
from service.archive.port import Archive, OutcomeUnknown
from service.domain import (
    NO_PREDICTION,
    NO_TYPE,
    NUM_IDS,
    Analysis,
    Attributes,
    Bytes,
    Classes,
    Mask,
    ModelInfo,
    Observer,
    Predictions,
    Progress,
    Stage,
    State,
    Summary,
    build_strata,
)
from service.evidence.bundle import Bundle
from service.jobs import transitions
from service.jobs.base_store import Snapshot
from service.jobs.store import JobStore
from service.jobs.transitions import AnalysisRecord, Job, JobStatus, ShardResult, failure_of, judging_delay
from service.jobs.worker import RetryLater
from service.rules.table import error_types
from service.summary.summarize import SampleResults, summarize

MAX_ATTEMPTS = 500  # attempts to archive an analysis in about eight hours; predicting again would cost far more
STORE_WAIT_SECONDS = 300.0  # maximum wait for an unavailable store
ARCHIVING_SECONDS = 60.0  # time for which the message of a job is not lost, from the start of each write to the archive
POLL_SECONDS = 0.5  # interval between two pings of an unavailable store
MAX_NAMED = 10  # missing images in a warning
_log = structlog.get_logger()


@dataclass(frozen=True)
class JudgedAnalysis:
    """An analysis with its verdicts on N judged samples."""

    analysis: Analysis
    bundle: Bundle
    predictions: Predictions  # predictions of all A images
    verdicts: Bytes  # (N,) bytes of the verdict table
    attributes: Attributes | None = None  # attributes of the judged images; None: the data set has none


def compute_verdicts(bundle: Bundle, predictions: Predictions) -> Bytes:
    """Return the verdict of each judged sample as (N,) bytes.

    Raises:
        EvidenceDamaged: The verdict table is damaged.
        PermanentError: The predictions have classes that the label space does not have.
    """
    check_classes(bundle, predictions)
    return _judge(bundle, predictions.top1.take(bundle.rows))


def _judge(bundle: Bundle, predicted: Classes) -> Bytes:
    verdicts = bundle.judge(predicted)
    check_verdicts(bundle, verdicts)
    return verdicts


def check_classes(bundle: Bundle, predictions: Predictions) -> None:
    """Raise PermanentError if the predictions have a class that the label space does not have."""
    num_classes = bundle.label_space.num_classes
    for array in (predictions.top1, predictions.top1_restricted):
        if array is not None and (highest := int(array.max(initial=-1))) >= num_classes:
            raise PermanentError(
                f"The predictions have class {highest}, but label space {bundle.label_space.name!r:.80} has the "
                f"classes 0 to {num_classes - 1}. They were made for another label space. Run the model again, or "
                "upload its predictions for this data set."
            )


def check_verdicts(bundle: Bundle, verdicts: Bytes) -> None:
    """Raise EvidenceDamaged for invalid bytes: opening a verdict table does not check its content."""
    if int(error_types(verdicts).max(initial=NO_TYPE)) >= NUM_IDS:
        raise EvidenceDamaged(
            f"The verdict table of the bundle {bundle.digest[:12]} ({bundle.dataset}) is damaged. "
            "Restore the bundle from a backup, or build it again."
        )


def compute_summary(bundle: Bundle, predictions: Predictions, mask: Mask | None = None) -> Summary:
    """Return the summary of one model's predictions for all judged images, or only for those in a mask, (N,)."""
    check_classes(bundle, predictions)
    evidence, predicted = bundle.evidence, predictions.top1.take(bundle.rows)
    types = error_types(_judge(bundle, predicted))
    results = SampleResults(
        types, predicted == evidence.targets, evidence.labels.contain(predicted), np.asarray(evidence.rejected)
    )
    strata, imagenet_m = bundle.strata, bundle.imagenet_m
    if mask is not None or (types == NO_TYPE).any():  # images without a prediction do not count
        counted = ~evidence.problematic & (types != NO_TYPE)
        if mask is not None:
            counted, imagenet_m = counted & mask, None
        strata = build_strata(evidence.effective_targets, counted, bundle.groups)
    return summarize(results, strata, bundle.manifest.abstained, predictions, bundle.all_targets, imagenet_m)


def digest_predictions(predictions: Predictions) -> str:
    """Return the SHA-256 of predictions in the data set's order."""
    digest = hashlib.sha256(np.ascontiguousarray(predictions.top1).tobytes())
    for array in (predictions.probability, predictions.top1_restricted):
        if array is not None:
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def judge_job(ports: Ports, job_id: str) -> None:
    """Judge a job whose shards are all predicted, and archive the result of each analysis that waits for it.

    Raises:
        RetryLater: The archive is unavailable, or only a newer version of Errata can judge the job.
    """
    jobs, job = ports.stores.jobs, None
    try:
        claimed = jobs.change_job(transitions.claim_judging, job_id)
    except NewerRecord as error:
        delay = judging_delay(1)
        jobs.change_job(transitions.postpone_judging, job_id, delay)
        raise RetryLater(delay) from error
    if claimed is None:
        return
    try:
        job = jobs.job(job_id)
    except Unavailable as error:
        _retry_later(ports, claimed, error)
    if job is not None and job.judging_token == claimed.judging_token:  # else another process judges it
        with tracing.span("judging", tracing.Kind.CONSUMER, job.spec.trace, job.trace_attributes):
            _judge_claimed(ports, job)


def _judge_claimed(ports: Ports, job: Job) -> None:
    job_id, fencing_token, archived = job.id, job.judging_token, list[Analysis]()
    try:
        _archive_results(ports, job, archived)
        finished = ports.stores.jobs.change_job(transitions.finish_judging, job_id, fencing_token)
    except Unavailable as error:
        may_be_archived = job.may_be_archived or bool(archived) or isinstance(error, OutcomeUnknown)
        _retry_later(ports, replace(job, may_be_archived=may_be_archived), error)
    except PermanentError as error:
        _log.warning("judging failed", job=job_id, request=job.spec.call_id, error=str(error))
        _fail(ports, job_id, fencing_token, error)
    except Exception as error:
        _log.exception("judging failed", job=job_id, request=job.spec.call_id)
        _fail(ports, job_id, fencing_token, error)
    else:
        for analysis in archived if finished else ():
            _log.info(
                "analysis judged",
                analysis=analysis.id,
                job=job_id,
                request=job.spec.call_id,
                evidence=analysis.evidence[:12],
            )
            ports.observer.analysis_finished(analysis)
            with suppress(Unavailable):
                ports.stores.jobs.store_result(job.spec.dedupe_key, analysis.id)


def _retry_later(ports: Ports, job: JobStatus, error: Unavailable) -> None:
    """Raise RetryLater; after MAX_ATTEMPTS, end the job as failed."""
    attempt = job.judging_token
    _wait_for_store(ports.stores)  # without the store, the message cannot be queued again
    with suppress(Unavailable):
        ports.stores.jobs.change_job(transitions.end_archiving, job.id, attempt, job.may_be_archived)
    if attempt < MAX_ATTEMPTS:
        raise RetryLater(judging_delay(attempt)) from error
    _fail(ports, job.id, attempt, error)


def notify_job_failed(jobs: JobStore, observer: Observer, job_id: str, archive: Archive | None = None) -> None:
    """Notify the observer about each analysis of a failed job, if the records of the job can be read.

    An analysis that was archived before the job failed has succeeded, if the archive can be read.
    """
    with suppress(DamagedRecord, Unavailable):
        job = jobs.job(job_id)
        for analysis_id in sorted(job.analyses) if job else ():
            snapshot = _undamaged_snapshot(jobs, analysis_id)
            if snapshot is not None and snapshot.record.state is State.FAILED:
                analysis = queries.to_analysis(snapshot)
                if archive is not None:
                    with suppress(Unavailable):
                        analysis = archive.get(analysis_id) or analysis
                observer.analysis_finished(analysis)


def _undamaged_snapshot(jobs: JobStore, analysis_id: str) -> Snapshot | None:
    """Return the record of an analysis; None if it does not exist or is damaged. Its job ends a damaged one."""
    with suppress(DamagedRecord):
        return jobs.snapshot(analysis_id)
    return None


def _wait_for_store(stores: Stores) -> None:
    """Wait until the store answers, for a limited time."""
    deadline = time.monotonic() + STORE_WAIT_SECONDS
    while not stores.jobs.ping() and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)


def _fail(ports: Ports, job_id: str, fencing_token: int, error: Exception) -> None:
    tracing.set_error(error)
    if ports.stores.jobs.change_job(transitions.finish_judging, job_id, fencing_token, failure_of(error)):
        notify_job_failed(ports.stores.jobs, ports.observer, job_id, ports.stores.archive)


def _archive_results(ports: Ports, job: Job, archived: list[Analysis]) -> None:
    """Archive the result of each analysis that waits for a job, and append each archived analysis to a list.

    An archived result is not replaced. It exists if another process judged the job, or if a job store that was restored
    from a backup runs the job again.
    """
    results = ports.stores.jobs.shard_results(job.id)
    info = _check_same_model(job, results)
    predictions = Predictions.concatenate([result.predictions for result in results]).without_unknown_probabilities()
    bundle = ports.stores.evidence.find(job.spec.dataset, job.spec.evidence)
    check_same_classes(bundle, job.spec.classes)
    warnings = _missing_image_warnings(bundle, predictions, ports.limits.max_missing)
    with ports.observer.stage(Stage.JUDGE):
        summary = compute_summary(bundle, predictions)
    jobs = ports.stores.jobs
    for analysis_id in sorted(job.analyses):
        if jobs.change_job(transitions.mark_archiving, job.id, job.judging_token, ARCHIVING_SECONDS) is None:
            return  # the job has ended, or another process judges it
        snapshot = _undamaged_snapshot(jobs, analysis_id)
        if snapshot is None or snapshot.record.state.is_final:
            continue
        if (before := ports.stores.archive.get(analysis_id)) is not None:
            archived.append(before)
            continue
        analysis = _finished_analysis(ports, snapshot.record, job, predictions, summary, info, warnings)
        with ports.observer.stage(Stage.ARCHIVE):
            ports.stores.archive.put(analysis, predictions)
        archived.append(analysis)
        if _has_ended(jobs, job.id, analysis_id):
            ports.stores.archive.delete(analysis_id)
            archived.pop()


def _has_ended(jobs: JobStore, job_id: str, analysis_id: str) -> bool:
    """Return whether an analysis of a job was canceled, deleted, or failed while its result was archived.

    A job is deleted in the same step as the records of its successful analyses. Therefore, if the job exists, a missing
    record was deleted by the user.
    """
    snapshot = jobs.snapshot(analysis_id)
    return jobs.job(job_id) is not None if snapshot is None else snapshot.record.state.is_final


def _check_same_model(job: Job, results: Sequence[ShardResult]) -> ModelInfo:
    """Return the model of all shards; raise an error if shards are missing or their models differ."""
    models = list(dict.fromkeys(result.model_info for result in results))
    if len(models) > 1:
        names = ", ".join(f"{model.architecture} {model.weights_sha256[:12]}" for model in models)
        raise PermanentError(
            f"The weights changed while the model ran, or workers have different weights: {names}. "
            "Submit the analysis again."
        )
    num_images = sum(len(result.predictions.top1) for result in results)
    if len(results) != job.spec.num_shards or num_images != job.spec.total:
        raise Unavailable(f"The job store has the predictions of {num_images} images instead of {job.spec.total}.")
    return models[0]


def check_same_classes(bundle: Bundle, classes: str) -> None:
    """Raise PermanentError unless `classes` is the digest of the classes of a bundle."""
    if classes != bundle.classes_digest:
        raise PermanentError(
            f"The predictions are for other classes than those of bundle {bundle.digest[:12]} "
            f"(label space {bundle.label_space.name!r:.80}). Run the model again."
        )


def _missing_image_warnings(bundle: Bundle, predictions: Predictions, max_missing: float) -> tuple[str, ...]:
    """Return a warning that names images without a prediction, if there are any.

    Args:
        bundle: The evidence.
        predictions: The predictions for all images.
        max_missing: Share of the images that may be missing.

    Raises:
        ImagesMissing: The share of missing images exceeds `max_missing`.
    """
    rows = np.flatnonzero(predictions.top1 == NO_PREDICTION)
    if not len(rows):
        return ()
    names = ", ".join(bundle.arrays["names"][row].decode() for row in rows[:MAX_NAMED].tolist())
    more = f" and {len(rows) - MAX_NAMED} more" if len(rows) > MAX_NAMED else ""
    warning = f"{len(rows)} of {len(predictions.top1)} images are missing or damaged: {names}{more}."
    if len(rows) > max_missing * len(predictions.top1):
        raise ImagesMissing(f"{warning} The limit is {100 * max_missing:g} % (ERRATA_MAX_MISSING).")
    return (warning,)


def _finished_analysis(
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
        end_time=ports.stores.clock(),
        progress=replace(Progress(), done=job.done, total=job.spec.total),
        predictions_digest=digest_predictions(predictions),
        images=job.spec.images,
        classes=job.spec.classes,
        computation=job.spec.computation,
        model_info=model_info,
        summary=summary,
        warnings=warnings,
        request_digest=record.request_digest,
        trace=record.trace,
    )
