"""Reuse archived predictions of the same computation, without a worker."""

from dataclasses import replace

from errata.errors import Unavailable

from service.analyses import queries
from service.analyses import request as requests
from service.analyses.judge import compute_summary
from service.analyses.ports import Ports, Stores
from service.analyses.upload import archive_analysis, reserve
from service.domain import Analysis, AnalysisFilter, AnalysisRequest
from service.evidence.bundle import Bundle
from service.jobs.transitions import JobSpec
from service.predictions.model_id import parse_model_id

MUTABLE_SOURCES = ("file", "onnx")  # their weights can change under the same name


def reuse_predictions(
    ports: Ports,
    request: AnalysisRequest,
    request_digest: str,
    spec: JobSpec,
    bundle: Bundle,
    owner: str,
    delivery: str = "",
) -> tuple[Analysis, bool] | None:
    """Archive a new analysis that reuses archived predictions of the same model and images.

    If the predictions were judged with another bundle, they are judged again, which takes milliseconds.

    Returns:
        The analysis, and whether this request has created it; None if there are no such predictions.
    """
    if request.fresh or parse_model_id(spec.model).source in MUTABLE_SOURCES:
        return None
    before = _find_cached(ports.stores, spec) or _find_newest(ports.stores, spec)
    ports.observer.cache_lookup("results", before is not None)
    if before is None:
        return None
    try:
        predictions = ports.stores.archive.predictions(before.id)
    except Unavailable:
        return None  # the model runs again
    if predictions is None or len(predictions.top1) != spec.total:
        return None
    now = ports.stores.clock()
    analysis = replace(
        before,
        id=requests.new_id(now),
        request=request,
        evidence=bundle.digest,
        create_time=now,
        owner=owner,
        start_time=now,
        end_time=now,
        summary=before.summary if before.evidence == bundle.digest else compute_summary(bundle, predictions),
        request_digest=request_digest,
        cached=True,
        trace=spec.trace,
    )
    if repeated := reserve(ports, request, request_digest, analysis.id, owner, delivery):
        return repeated, False
    archive_analysis(ports, analysis, predictions, delivery)
    return analysis, True


def _find_cached(stores: Stores, spec: JobSpec) -> Analysis | None:
    """Return the archived analysis that the job store has cached for a computation."""
    try:
        analysis_id = stores.jobs.cached_result(spec.dedupe_key)
        analysis = stores.archive.get(analysis_id) if analysis_id else None
    except Unavailable:
        return None
    return analysis if analysis is not None and analysis.computation == spec.computation else None


def _find_newest(stores: Stores, spec: JobSpec) -> Analysis | None:
    try:
        return queries.find_archived(stores, AnalysisFilter(computation=spec.computation))
    except Unavailable:
        return None  # the model runs again
