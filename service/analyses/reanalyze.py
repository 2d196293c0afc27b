"""Reanalyze: the stored predictions of one analysis, judged with another bundle, become an analysis of their own."""

import hashlib
from dataclasses import replace

import structlog
from errata.errors import InvalidRequest, Unavailable

from service.analyses import queries
from service.analyses import request as requests
from service.analyses.judge import summary_of
from service.analyses.ports import Ports
from service.analyses.upload import archived, repeated
from service.domain import Analysis

_log = structlog.get_logger()


def reanalyze(ports: Ports, analysis_id: str, evidence: str, request_id: str = "", owner: str = "") -> Analysis:
    """Judge an analysis' predictions anew; raise AnalysisNotFound, NotReady, EvidenceNotFound or InvalidRequest."""
    before = queries.succeeded(ports, analysis_id)
    request = replace(before.request, evidence=evidence, request_id=request_id)
    requests.check(request)
    request_digest = requests.digest(request, content=hashlib.sha256(before.id.encode()).hexdigest())
    bundle = ports.evidence.find(before.request.dataset, evidence)
    predictions = ports.archive.predictions(before.id)
    if predictions is None:
        raise Unavailable(f"the predictions of {before.id} are gone from the archive")
    if before.images != bundle.images_digest or len(predictions.top1) != len(bundle.all_targets):
        raise InvalidRequest(
            f"expected a bundle of the {len(predictions.top1)} images that were predicted, "
            f"got one of {len(bundle.all_targets)} images, not the same ones",
            field="evidence",
        )
    now = ports.clock()
    analysis = replace(
        before,
        id=requests.new_id(now),
        request=request,
        evidence=bundle.digest,
        owner=owner,
        create_time=now,
        start_time=now,
        end_time=ports.clock(),
        summary=summary_of(bundle, predictions),
        request_digest=request_digest,
    )
    if again := repeated(ports, request, request_digest, analysis.id, owner=""):
        return again
    archived(ports, analysis, predictions)
    _log.info("judged anew", analysis=analysis.id, before=before.id, evidence=bundle.digest[:12])
    return analysis
