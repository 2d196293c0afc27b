"""Submit: a model identifier becomes a queued analysis."""

import structlog
from errata.errors import InvalidRequest, ModelNotFound, TooBusy

from service.analyses import queries
from service.analyses import request as requests
from service.analyses.ports import Ports
from service.analyses.reuse import answered
from service.analyses.upload import check_room, reused, same_body
from service.domain import Analysis, AnalysisRequest
from service.jobs.store import Outcome, Submission
from service.jobs.transitions import AnalysisRecord, JobSpec
from service.predictions.model_id import ModelId, parse_model_id
from service.telemetry import current_request_id

RETRY_AFTER = 15.0  # seconds, for who finds the queue full
_log = structlog.get_logger()


def submit(ports: Ports, request: AnalysisRequest, owner: str = "", delivery: str = "") -> Analysis:
    """Answer from what is archived, or queue a model's analysis at what its reference means now.

    Raise InvalidModelId, ModelNotFound, DatasetNotFound, AlreadyExists, TooBusy, or Unavailable where a hub is away.
    """
    requests.check(request, owner)
    if request.gate_baseline:
        queries.get(ports, request.gate_baseline)  # one that isn't there is refused now
    request_digest = requests.digest(request)
    if request.request_id and (before := queries.by_request_id(ports, request.request_id)):
        return same_body(before, request_digest)
    spec = computation(ports, request)
    check_room(ports)
    bundle = ports.evidence.find(request.dataset, spec.evidence)
    if result := answered(ports, request, request_digest, spec, bundle, owner, delivery):
        _log.info("answered from the archive", analysis=result.id, model=spec.model)
        return result
    now = ports.clock()
    record = AnalysisRecord(
        requests.new_id(now),
        request,
        request_digest,
        spec.evidence,
        created=now.timestamp(),
        owner=owner,
        delivery=delivery,
    )
    said = ports.store.submit(record, spec, fresh=request.fresh, limit=ports.limits.max_open)
    if said.outcome is Outcome.REUSED:
        raise reused(request.request_id)
    _log.info("accepted", analysis=said.analysis, outcome=said.outcome.value, job=said.job, model=spec.model)
    return accepted(ports, said, spec)


def computation(ports: Ports, request: AnalysisRequest) -> JobSpec:
    """Return what a request asks to compute; raise for a model, a data set or a bundle that isn't there."""
    model = parse_model_id(request.model)
    _check_offered(ports, model)
    bundle = ports.evidence.find(request.dataset, request.evidence)
    if not ports.has_images(request.dataset):
        raise InvalidRequest(
            f"no worker has the images of {request.dataset}: set ERRATA_IMAGES, or upload predictions", field="dataset"
        )
    model = ports.pin_model(model)
    ports.store.remember_images(bundle.images_digest, bundle.image_names)
    total = len(bundle.image_names)
    return JobSpec(
        model=str(model),
        dataset=bundle.dataset,
        evidence=bundle.digest,
        images=bundle.images_digest,
        total=total,
        shard_size=ports.limits.shard_size,
        runtime=ports.runtime(),
        fresh=request.fresh,
        asked=current_request_id(),
    )


def accepted(ports: Ports, said: Submission, spec: JobSpec) -> Analysis:
    """Return the analysis that a submission made, its shards sent if it needs some; raise TooBusy if it is refused."""
    if said.outcome is Outcome.FULL:
        raise TooBusy(
            f"expected fewer than {ports.limits.max_open} open analyses, got {said.open}: try again later",
            retry_after=RETRY_AFTER,
        )
    if said.outcome is Outcome.NEW:
        ports.send_shards(said.job, spec.num_shards)
    return queries.get(ports, said.analysis)


def _check_offered(ports: Ports, model: ModelId) -> None:
    """Raise ModelNotFound if no worker offers the model; a source offered as a pattern is tried by the worker."""
    offers = [offer.model for offer in ports.models()]
    if not offers:
        raise ModelNotFound(
            f"expected a worker that runs models, got none: {str(model)!r:.80} needs errata-service[worker] or [demo]",
            field="model",
        )
    if str(model) not in offers and f"{model.source}:*" not in offers:
        near = [offer for offer in offers if offer.startswith(f"{model.source}:")]
        raise ModelNotFound(
            f"expected a model that a worker offers ({', '.join(near or offers)}), got {str(model)!r:.80}",
            field="model",
        )
