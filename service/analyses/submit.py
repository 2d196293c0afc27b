"""Submit: a model identifier becomes a queued analysis."""

import hashlib
import json

from service.analyses import look
from service.analyses import request as requests
from service.analyses.ports import Ports
from service.analyses.upload import reused, same_body
from service.domain import Analysis, AnalysisRequest
from service.errors import InvalidRequest, ModelNotFound, TooBusy
from service.evidence.bundle import Bundle
from service.jobs.record import Entry, JobSpec
from service.jobs.store import Outcome
from service.predictions.model_id import ModelId, parse_model_id

RETRY_AFTER = 15.0  # seconds, for who finds the queue full


def submit(ports: Ports, request: AnalysisRequest, owner: str = "") -> Analysis:
    """Queue a model's analysis at what its reference means now.

    Raise InvalidModelId, ModelNotFound, DatasetNotFound, AlreadyExists, TooBusy, or Unavailable where a hub is away.
    """
    requests.check(request)
    model = parse_model_id(request.model)
    _check_offered(ports, model)
    bundle = ports.shelf.find(request.dataset, request.evidence)
    if not ports.has_images(request.dataset):
        raise InvalidRequest(
            f"no worker has the images of {request.dataset}: set ERRATA_IMAGES, or upload predictions", field="dataset"
        )
    request_digest = requests.digest(request)
    if request.request_id and (before := look.by_request_id(ports, request.request_id)):
        return same_body(before, request_digest)
    spec = _spec(ports, ports.settle_model(model), bundle)
    now = ports.clock()
    entry = Entry(requests.new_id(now), request, request_digest, bundle.digest, created=now.timestamp(), owner=owner)
    said = ports.store.submit(entry, spec, _dedupe(spec), fresh=request.fresh, limit=ports.limits.max_open)
    match said.outcome:
        case Outcome.FULL:
            raise TooBusy(
                f"expected fewer than {ports.limits.max_open} open analyses, got {said.open}: try again later",
                retry_after=RETRY_AFTER,
            )
        case Outcome.REUSED:
            raise reused(request.request_id)
        case Outcome.NEW:
            ports.send_shards(said.job, spec.num_shards)
        case Outcome.JOINED | Outcome.REPEATED:
            pass
    return look.get(ports, said.analysis)


def _spec(ports: Ports, model: ModelId, bundle: Bundle) -> JobSpec:
    names = [name.decode() for name in bundle.arrays["names"].tolist()]
    ports.store.remember_images(bundle.images_digest, names)
    return JobSpec(str(model), bundle.dataset, bundle.digest, bundle.images_digest, len(names), ports.limits.shard_size)


def _dedupe(spec: JobSpec) -> str:
    computed = [spec.model, spec.dataset, spec.evidence, spec.images]
    return hashlib.sha256(json.dumps(computed).encode()).hexdigest()


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
