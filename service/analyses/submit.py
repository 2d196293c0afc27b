"""Submit the analysis of a model."""

from collections.abc import Sequence

import structlog
from errata.errors import InvalidRequest, ModelNotFound, QuotaExceeded, TooBusy, Unavailable

from service import tracing
from service.analyses import queries
from service.analyses import request as requests
from service.analyses.audit import record_creation
from service.analyses.ports import Ports
from service.analyses.reuse import reuse_predictions
from service.analyses.upload import check_capacity, find_repeated, find_reserved, request_id_conflict
from service.analyses.waiting import install_remedy
from service.caller import CALLER
from service.domain import Analysis, AnalysisRequest
from service.jobs.base_store import Snapshot
from service.jobs.store import Outcome, Submission
from service.jobs.transitions import AnalysisRecord, JobSpec
from service.predictions.model_id import HUB_SOURCES, ModelId, parse_model_id
from service.telemetry import current_request_id

RETRY_AFTER = 15.0  # seconds, in the error for a full queue
_log = structlog.get_logger()


class ModelNotOffered(ModelNotFound):
    """Workers have registered, but no worker offers the model."""


def submit(ports: Ports, request: AnalysisRequest, owner: str = "", delivery: str = "") -> Analysis:
    """Return an analysis of archived predictions, or queue the analysis of a model.

    Args:
        ports: The ports of the use cases.
        request: The request. Its model reference is pinned to the current version.
        owner: The caller.
        delivery: The key of a registry's delivery; empty if there is none.

    Raises:
        InvalidModelId: The model ID is malformed.
        ModelNotOffered: Workers have registered, but no worker offers the model.
        ModelNotFound: The hub or the registry of the model does not have it.
        DatasetNotFound: The data set does not exist.
        AlreadyExists: The request ID was used with another body.
        TooBusy: Too many analyses are open, or the archive is full.
        QuotaExceeded: Too many analyses of the caller are open.
        Unavailable: The hub of the model is unavailable.
    """
    analysis, is_new = accept(ports, request, owner, delivery)
    return queries.get(ports.stores, analysis.id) if is_new and not analysis.state.is_final else analysis


def accept(ports: Ports, request: AnalysisRequest, owner: str = "", delivery: str = "") -> tuple[Analysis, bool]:
    """Submit an analysis as `submit` does, but return a new one as it was queued, without reading the job store again.

    By then, a worker may have ended the analysis, and it may have been deleted.

    Returns:
        The analysis, and whether this request has created it.
    """
    with tracing.span("submit", attributes={"errata.dataset": request.dataset, "errata.model": request.model}):
        analysis, is_new = _accept(ports, request, owner, delivery)
        tracing.set_attributes({"errata.analysis": analysis.id})
    return analysis, is_new


def _accept(ports: Ports, request: AnalysisRequest, owner: str, delivery: str) -> tuple[Analysis, bool]:
    requests.check(request, owner)
    if request.gate_baseline:
        queries.get(ports.stores, request.gate_baseline)  # raises if the baseline does not exist
    request_digest = requests.digest(request)
    if before := find_repeated(ports.stores, request, request_digest):
        return before, False
    spec = build_job_spec(ports, request)
    check_capacity(ports)
    bundle = ports.stores.evidence.find(request.dataset, spec.evidence)
    requests.check_policy_groups(request, bundle)
    if reused := reuse_predictions(ports, request, request_digest, spec, bundle, owner, delivery):
        analysis, is_new = reused
        _log.info("archived predictions reused", analysis=analysis.id, model=spec.model)
        return analysis, is_new
    now = ports.stores.clock()
    record = AnalysisRecord(
        requests.new_id(now),
        request,
        request_digest,
        spec.evidence,
        created=now.timestamp(),
        owner=owner,
        delivery=delivery,
        trace=spec.trace,
    )
    ports.stores.jobs.store_inputs(spec, bundle.image_names, bundle.label_space)
    submission = ports.stores.jobs.submit(record, spec, limit=ports.limits.max_open, owner_limit=CALLER.get().max_open)
    if submission.outcome is Outcome.REUSED:
        raise request_id_conflict(request.request_id)
    _log.info(
        "analysis submitted",
        analysis=submission.analysis,
        outcome=submission.outcome.value,
        job=submission.job,
        model=spec.model,
    )
    start_job(ports, submission, spec)
    if submission.outcome is Outcome.REPEATED:
        before = find_reserved(ports, request, submission.analysis, delivery)
        return (before, False) if before is not None else _accept(ports, request, owner, delivery)
    queued = Snapshot(record, job=None, queue_position=0, live_workers=0, now=record.created)
    analysis = queries.to_analysis(queued)
    record_creation(ports.stores, analysis, spec.model)
    return analysis, True


def build_job_spec(ports: Ports, request: AnalysisRequest) -> JobSpec:
    """Return the computation of a request; raise an error if its model, data set, or bundle does not exist.

    Before the first worker registers, the images of workers are not checked, and the model is checked only if the
    expected models are configured. The job then waits for a worker, as it does later for what is only expected.
    """
    model = parse_model_id(request.model)
    workers = ports.models.workers()
    models = [offer.model for offer in workers.models]
    if models or workers.offers:
        _check_offered(models, model)
    bundle = ports.stores.evidence.find(request.dataset, request.evidence)
    if not workers.can_have_images(request.dataset):
        raise InvalidRequest(
            f"No worker has the images of {request.dataset}. Set ERRATA_IMAGES on a worker, or upload predictions.",
            field="dataset",
        )
    model = ports.models.pin(model)
    total = len(bundle.image_names)
    return JobSpec(
        model=str(model),
        dataset=bundle.dataset,
        evidence=bundle.digest,
        images=bundle.images_digest,
        total=total,
        shard_size=ports.limits.shard_size,
        runtime=workers.runtime,
        fresh=request.fresh,
        call_id=current_request_id(),
        classes=bundle.classes_digest,
        trace=tracing.current_context(),
    )


def start_job(ports: Ports, submission: Submission, spec: JobSpec) -> None:
    """Send the shards of a new job; raise an error if the submission was refused.

    If the shards cannot be sent, the engine sends them later, as it does for lost messages.
    """
    if submission.outcome is Outcome.FULL:
        raise TooBusy(
            f"Too many open analyses ({submission.open} of {ports.limits.max_open}). Try again later.",
            retry_after=RETRY_AFTER,
        )
    if submission.outcome is Outcome.OWNER_FULL:
        caller = CALLER.get()
        raise QuotaExceeded(
            f"Token {caller.name!r} has {submission.open} of {caller.max_open} permitted open analyses. Wait for one "
            "of them, or ask the operator to raise the limit.",
            retry_after=RETRY_AFTER,
        )
    if submission.outcome is Outcome.NEW:
        try:
            ports.models.send_shards(submission.job, spec.num_shards)
        except Unavailable as error:
            _log.warning("shards not sent", job=submission.job, error=error.message)


def _check_offered(offers: Sequence[str], model: ModelId) -> None:
    """Raise ModelNotOffered if no worker offers the model; for a pattern such as timm:*, the worker checks the name."""
    if not offers:
        raise ModelNotOffered(
            f"The workers cannot run models, so model {str(model)!r:.80} cannot be analyzed. Install "
            "errata-service[worker] or errata-service[demo].",
            field="model",
        )
    sources = HUB_SOURCES if model.source == "hf" else (model.source,)
    if not {str(model), *(f"{source}:*" for source in sources)} & set(offers):
        of_source = [offer for offer in offers if offer.startswith(f"{model.source}:")]
        raise ModelNotOffered(
            f"No worker offers the model {str(model)!r:.80}. Expected one of {', '.join(of_source or offers)}."
            + ("" if of_source else f" {install_remedy(str(model))}"),
            field="model",
        )
