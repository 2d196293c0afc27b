"""Cached: a request whose predictions are archived already is answered at once, without a worker."""

from errata.errors import Unavailable

from service.analyses import request as requests
from service.analyses.judge import compute_summary
from service.analyses.ports import Ports
from service.analyses.upload import archive_analysis, find_repeated
from service.domain import Analysis, AnalysisRequest, State
from service.evidence.bundle import Bundle
from service.jobs.transitions import JobSpec
from service.predictions.model_id import parse_model_id

MUTABLE = ("file", "onnx")  # sources whose weights may change under the same name: a worker has to look


def reuse_predictions(
    ports: Ports,
    request: AnalysisRequest,
    request_digest: str,
    spec: JobSpec,
    bundle: Bundle,
    owner: str,
    delivery: str = "",
) -> Analysis | None:
    """Return a finished analysis made of archived predictions of the same computation; None if there are none.

    Predictions are those of one model on the same images; another bundle judges them anew, in milliseconds.
    """
    if request.fresh or parse_model_id(spec.model).source in MUTABLE:
        return None
    before = _known(ports, spec) or _newest(ports, spec)
    ports.on_cache_lookup("results", before is not None)
    if before is None:
        return None
    try:
        predictions = ports.archive.predictions(before.id)
    except Unavailable:
        return None  # damaged: it is computed anew
    if predictions is None or len(predictions.top1) != spec.total:
        return None
    now = ports.clock()
    analysis = Analysis(
        id=requests.new_id(now),
        request=request,
        state=State.SUCCEEDED,
        evidence=bundle.digest,
        create_time=now,
        owner=owner,
        start_time=now,
        end_time=now,
        progress=before.progress,
        predictions_digest=before.predictions_digest,
        images=before.images,
        computation=before.computation,
        model_info=before.model_info,
        summary=before.summary if before.evidence == bundle.digest else compute_summary(bundle, predictions),
        warnings=before.warnings,
        request_digest=request_digest,
        cached=True,
    )
    if again := find_repeated(ports, request, request_digest, analysis.id, owner, delivery):
        return again
    archive_analysis(ports, analysis, predictions)
    return analysis


def _known(ports: Ports, spec: JobSpec) -> Analysis | None:
    """Return the archived analysis that the store knows to have this very result, without listing the archive."""
    try:
        known = ports.store.cached_result(spec.dedupe_key)
        result = ports.archive.get(known) if known else None
    except Unavailable:
        return None
    return result if result is not None and result.computation == spec.computation else None


def _newest(ports: Ports, spec: JobSpec) -> Analysis | None:
    try:
        result = [item for item in ports.archive.list() if item.computation == spec.computation]
    except Unavailable:
        return None  # then it is computed
    return max(result, key=lambda item: item.id, default=None)
