"""Reanalyze: judge the archived predictions of an analysis with another bundle, as a new analysis."""

import hashlib
from dataclasses import replace

import structlog
from errata.errors import InvalidRequest, Unavailable

from service import tracing
from service.analyses import queries
from service.analyses import request as requests
from service.analyses.answers import summarize_answers
from service.analyses.coverage import describe_subset
from service.analyses.judge import compute_summary
from service.analyses.ports import Ports
from service.analyses.upload import archive_analysis, check_capacity, find_repeated_or_reserve, released_after_error
from service.domain import Analysis, AnalysisRequest, Predictions
from service.evidence.bundle import Bundle

_log = structlog.get_logger()


def reanalyze(ports: Ports, analysis_id: str, evidence: str, request_id: str = "", owner: str = "") -> Analysis:
    """Judge the predictions of an analysis again.

    Args:
        ports: The ports of the use cases.
        analysis_id: The analysis.
        evidence: The digest of the bundle; empty: the default bundle of the data set.
        request_id: Makes the request idempotent; empty: always create an analysis.
        owner: The caller.

    Raises:
        AnalysisNotFound: The analysis does not exist.
        NotReady: The analysis has no result.
        EvidenceNotFound: The bundle does not exist.
        InvalidRequest: The bundle covers other images, or has other classes.
        AlreadyExists: The request ID was used with another body.
        TooBusy: The archive is full.
    """
    before = queries.get_succeeded(ports.stores, analysis_id)
    request = replace(before.request, evidence=evidence, request_id=request_id)
    requests.check(request)
    bundle = ports.stores.evidence.find(before.request.dataset, evidence)
    analysis_id = requests.new_id(ports.stores.clock())
    analysis, predictions = judge_again(ports, before, request, bundle, analysis_id)
    analysis = replace(analysis, owner=owner)
    if repeated := find_repeated_or_reserve(ports, request, analysis.request_digest, analysis.id, owner=""):
        return repeated
    with released_after_error(ports, analysis):
        check_capacity(ports)
    archive_analysis(ports, analysis, predictions)
    _log.info("analysis reanalyzed", analysis=analysis.id, before=before.id, evidence=bundle.digest[:12])
    return analysis


def judge_again(
    ports: Ports, before: Analysis, request: AnalysisRequest, bundle: Bundle, analysis_id: str
) -> tuple[Analysis, Predictions]:
    """Judge archived predictions again, and return the new analysis, not yet archived, and the predictions.

    Raises:
        InvalidRequest: The bundle covers other images, or has other classes.
        Unavailable: The predictions are missing or damaged.
    """
    now = ports.stores.clock()
    predictions = ports.stores.archive.predictions(before.id)
    if predictions is None:
        raise Unavailable(f"The archive has no predictions of analysis {before.id}. Upload them again.")
    in_bundle, in_analysis = len(bundle.all_targets), len(predictions.top1)
    if before.images != bundle.images_digest or in_bundle != in_analysis:
        numbers = f" ({in_bundle} and {in_analysis} images)" if in_bundle != in_analysis else ""
        raise InvalidRequest(
            f"Bundle {bundle.digest[:12]} has other images than analysis {before.id}{numbers}. Use a bundle of the "
            "same images.",
            field="evidence",
        )
    if before.classes != bundle.classes_digest:
        raise InvalidRequest(
            f"Bundle {bundle.digest[:12]} has other classes than analysis {before.id}. Upload the predictions, or run "
            "the model, again.",
            field="evidence",
        )
    summary = compute_summary(bundle, predictions)
    mapping = before.answers.mapping_digest if before.answers else ""
    analysis = replace(
        before,
        id=analysis_id,
        request=request,
        evidence=bundle.digest,
        create_time=now,
        start_time=now,
        end_time=ports.stores.clock(),
        summary=summary,
        answers=summarize_answers(bundle, predictions, mapping),
        subset=describe_subset(bundle, predictions.subset),
        request_digest=requests.digest(request, hashlib.sha256(before.id.encode()).hexdigest()),
        trace=tracing.current_context(),
    )
    return analysis, predictions
