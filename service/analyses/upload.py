"""Upload: a predictions file becomes a finished analysis while the caller waits."""

import hashlib
from collections.abc import Callable
from functools import partial

import structlog
from errata.errors import AlreadyExists, AnalysisNotFound, TooBusy, Unavailable

from service.analyses import queries
from service.analyses import request as requests
from service.analyses.judge import digest_of, summary_of
from service.analyses.ports import Ports
from service.domain import REGISTRY_OWNER, Analysis, AnalysisRequest, Predictions, Progress, RowOrder, State
from service.evidence.bundle import Bundle
from service.jobs.store import Outcome
from service.predictions.uploads import Layout, Upload, parse_upload
from service.report.messages.input_checks import PERMUTED_CLASSES, reordered_rows
from service.storage import Readable
from service.summary.input_checks import rows_look_permuted, rows_look_reordered
from service.telemetry import Stage

JUDGING_SECONDS = 300.0  # that what is reserved may take to be archived
FULL_SECONDS = 60.0  # after which an archive that is full may have room
_log = structlog.get_logger()


def upload(
    ports: Ports,
    request: AnalysisRequest,
    content: Readable,
    owner: str = "",
    is_cancelled: Callable[[], bool] = lambda: False,
) -> Analysis:
    """Judge an uploaded file; raise InvalidUpload with lines, DatasetNotFound, EvidenceNotFound, AlreadyExists."""
    requests.check(request)
    if request.gate_baseline:
        queries.get(ports, request.gate_baseline)  # one that isn't there is refused now
    started = ports.clock()
    bundle = ports.evidence_repository.find(request.dataset, request.evidence)
    classes = None if bundle.classes.all() else bundle.classes
    layout = Layout(bundle.dataset, bundle.names, bundle.rows, bundle.positions, classes)
    hashed = _Hashed(content)
    source = hashed if request.request_id else content  # only who may come again is compared
    with ports.stage_timer(Stage.PARSE):
        parse_binary = partial(ports.parsers, is_cancelled=is_cancelled, caller=owner)
        result = parse_upload(source, layout, request.row_order, ports.limits.max_upload_bytes, parse_binary)
    request_digest = requests.digest(request, hashed.digest()) if request.request_id else ""
    analysis_id = requests.new_id(started)
    if before := repeated(ports, request, request_digest, analysis_id, owner):
        return before
    try:
        check_room(ports)
    except TooBusy:
        ports.store.release(request.request_id)
        raise
    with ports.stage_timer(Stage.JUDGE):
        summary = summary_of(bundle, result.predictions)
    analysis = Analysis(
        id=analysis_id,
        request=request,
        state=State.SUCCEEDED,
        evidence=bundle.digest,
        create_time=started,
        owner=owner,
        start_time=started,
        end_time=ports.clock(),
        progress=Progress(done=len(bundle.rows), total=len(bundle.rows)),
        predictions_digest=digest_of(result.predictions),
        images=bundle.images_digest,
        summary=summary,
        warnings=(*result.warnings, *_input_warnings(bundle, result, request.row_order)),
        request_digest=request_digest,
    )
    archived(ports, analysis, result.predictions)
    _log.info("judged", analysis=analysis.id, dataset=bundle.dataset, evidence=bundle.digest[:12])
    return analysis


def check_room(ports: Ports) -> None:
    """Raise TooBusy if the archive holds as many bytes as the operator allows."""
    limit = ports.limits.max_stored_bytes
    if limit and (stored := ports.archive.size()) >= limit:
        raise TooBusy(
            f"expected an archive of fewer than {limit} bytes, got {stored}: delete analyses, or set "
            "ERRATA_MAX_STORED_BYTES or ERRATA_RETENTION_DAYS",
            retry_after=FULL_SECONDS,
        )


def archived(ports: Ports, analysis: Analysis, predictions: Predictions) -> None:
    """Archive an analysis that is finished at once; its request id is free again where that fails."""
    try:
        with ports.stage_timer(Stage.ARCHIVE):
            ports.archive.put(analysis, predictions)
    except Exception:
        ports.store.release(analysis.request.request_id)
        raise
    ports.on_finished(analysis)


def _input_warnings(bundle: Bundle, upload: Upload, row_order: RowOrder) -> tuple[str, ...]:
    """Return warnings about valid predictions with implausible classes or row order."""
    warnings = []
    if rows_look_permuted(bundle.evidence.targets, upload.predictions.top1[bundle.rows]):
        warnings.append(PERMUTED_CLASSES)
    if upload.reordered is not None and rows_look_reordered(bundle.all_targets, upload.predictions, upload.reordered):
        warnings.append(reordered_rows(row_order))
    return tuple(warnings)


def repeated(
    ports: Ports, request: AnalysisRequest, request_digest: str, analysis_id: str, owner: str, delivery: str = ""
) -> Analysis | None:
    """Return the analysis that the same request made before; raise AlreadyExists if its body was another."""
    if not request.request_id:
        return None
    if before := queries.by_request_id(ports, request.request_id):
        return same_body(before, request_digest)
    owed = owner.startswith(REGISTRY_OWNER)
    reserved = ports.store.reserve(request.request_id, request_digest, analysis_id, owed=owed, delivery=delivery)
    if reserved.outcome is Outcome.REUSED:
        raise reused(request.request_id)
    if reserved.outcome is Outcome.NEW:
        return None
    try:
        return queries.get(ports, reserved.analysis)
    except AnalysisNotFound as error:
        if ports.clock().timestamp() - requests.seconds_of(reserved.analysis) < JUDGING_SECONDS:
            raise Unavailable("the same request is being judged: ask again", retry_after=1) from error
        ports.store.release(request.request_id)  # whoever reserved it has died before it was archived
        return repeated(ports, request, request_digest, analysis_id, owner)  # as what no delivery asked for


def same_body(before: Analysis, request_digest: str) -> Analysis:
    """Return the analysis if it came of the same body; raise AlreadyExists if not."""
    if before.request_digest != request_digest:
        raise reused(before.request.request_id)
    return before


def reused(request_id: str) -> AlreadyExists:
    """Return the error for a request id that comes again with another body."""
    return AlreadyExists(
        f"request_id {request_id!r:.80} was used before with another body: take a new one", field="request_id"
    )


class _Hashed:
    """A stream that is hashed as it is read."""

    def __init__(self, content: Readable) -> None:
        self._content = content
        self._digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        piece = self._content.read(size)
        self._digest.update(piece)
        return piece

    def digest(self) -> str:
        return self._digest.hexdigest()
