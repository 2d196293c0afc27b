"""Upload a predictions file, and judge it while the caller waits."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import structlog
from errata.errors import (
    AlreadyExists,
    AnalysisNotFound,
    EvidenceDamaged,
    NotFound,
    TooBusy,
    Unavailable,
)

from service import tracing
from service.analyses import queries
from service.analyses import request as requests
from service.analyses.answers import check_mapping_applies, create_matcher, summarize_answers
from service.analyses.audit import creation_of, log_event
from service.analyses.coverage import describe_subset, read_subset, restrict_to_subset
from service.analyses.input_checks import check_upload
from service.analyses.judge import compute_summary, digest_predictions
from service.analyses.owner_guard import is_hidden
from service.analyses.ports import Ports, Stores
from service.archive.port import OutcomeUnknown
from service.domain import REGISTRY_OWNER, Analysis, AnalysisRequest, Predictions, Progress, Stage, State
from service.evidence.bundle import Bundle
from service.jobs.store import Outcome
from service.predictions.answers.mapping_file import digest_mapping
from service.predictions.uploads import Layout, Upload, parse_upload
from service.report.messages.input_checks import ACCEPTED_NOTE, correct_throughout
from service.storage import Readable

JUDGING_SECONDS = 300.0  # time limit for a request with a reserved id to archive its analysis
RETRY_AFTER = 60.0  # seconds, in the error for a full archive
_log = structlog.get_logger()


def upload(
    ports: Ports,
    request: AnalysisRequest,
    content: Readable,
    owner: str = "",
    is_cancelled: Callable[[], bool] = lambda: False,
) -> Analysis:
    """Judge an uploaded predictions file.

    Args:
        ports: The ports of the use cases.
        request: The request.
        content: The file.
        owner: The caller.
        is_cancelled: Returns whether the caller has canceled the upload.

    Raises:
        InvalidUpload: The file is invalid; `violations` has the lines of invalid rows.
        ImplausibleUpload: The row order or the class numbering looks wrong.
        DatasetNotFound: The data set does not exist.
        EvidenceNotFound: The bundle does not exist.
        AlreadyExists: The request ID was used with another body.
        TooBusy: The archive is full.
    """
    requests.check(request)
    if request.gate_baseline:
        queries.get(ports.stores, request.gate_baseline)  # raises if the baseline does not exist
    start_time = ports.stores.clock()
    bundle = ports.stores.evidence.find(request.dataset, request.evidence)
    requests.check_policy_groups(request, bundle)
    subset = read_subset(bundle, request.subset)
    hashed = _HashedStream(content)
    source = hashed if request.request_id else content  # only requests with an id are compared
    with ports.observer.stage(Stage.PARSE):
        parse_binary = partial(ports.parsers, is_cancelled=is_cancelled, caller=owner)
        limit = ports.limits.max_upload_bytes
        layout = replace(_layout(ports.stores, bundle, request.answers_mapping), is_cancelled=is_cancelled)
        parsed = parse_upload(source, layout, request.row_order, limit, parse_binary)
        check_mapping_applies(request.answers_mapping, parsed.predictions)
    parsed = replace(parsed, predictions=restrict_to_subset(parsed.predictions, subset))
    problem, warnings = check_upload(bundle.label_inputs, bundle.label_space, parsed, request)
    request_digest = requests.digest(request, hashed.digest()) if request.request_id else ""
    # The id has the time of its reservation, not of the start: an upload can take longer than JUDGING_SECONDS.
    analysis_id = requests.new_id(ports.stores.clock())
    if before := find_repeated_or_reserve(ports, request, request_digest, analysis_id, owner):
        return before
    tracing.set_attributes({"errata.analysis": analysis_id, "errata.dataset": bundle.dataset})
    unjudged = Analysis(
        id=analysis_id,
        request=replace(request, answers_mapping="", subset=""),
        state=State.SUCCEEDED,
        evidence=bundle.digest,
        create_time=start_time,
        owner=owner,
        start_time=start_time,
        request_digest=request_digest,
        warnings=(*warnings, f"{problem} {ACCEPTED_NOTE}") if problem else warnings,
        implausible=bool(problem),
        subset=describe_subset(bundle, subset),
        assumptions=parsed.assumptions,
        trace=tracing.current_context(),
    )
    with released_after_error(ports, unjudged):
        check_capacity(ports)
        analysis = _judge(ports, unjudged, bundle, parsed, digest_mapping(request.answers_mapping))
    archive_analysis(ports, analysis, parsed.predictions)
    _log.info("analysis judged", analysis=analysis.id, dataset=bundle.dataset, evidence=bundle.digest[:12])
    return analysis


def _layout(stores: Stores, bundle: Bundle, mapping: str) -> Layout:
    """Return the properties of the data set that a parser needs."""
    classes = None if bundle.classes.all() else bundle.classes
    find_datasets = partial(_find_datasets, stores, bundle.dataset)
    return Layout(
        bundle.dataset,
        bundle.names,
        bundle.positions,
        bundle.label_space,
        classes,
        find_datasets,
        partial(create_matcher, bundle, mapping),
    )


def _judge(ports: Ports, analysis: Analysis, bundle: Bundle, parsed: Upload, mapping_digest: str) -> Analysis:
    """Return an analysis with the results of its predictions."""
    with ports.observer.stage(Stage.JUDGE):
        summary = compute_summary(bundle, parsed.predictions)
        answers = summarize_answers(bundle, parsed.predictions, mapping_digest)
    return replace(
        analysis,
        end_time=ports.stores.clock(),
        progress=Progress(done=summary.num_covered, total=summary.num_covered),
        predictions_digest=digest_predictions(parsed.predictions),
        images=bundle.images_digest,
        classes=bundle.classes_digest,
        summary=summary,
        answers=answers,
        warnings=(*parsed.warnings, *correct_throughout(summary), *analysis.warnings),
    )


def _find_datasets(stores: Stores, dataset: str, file_names: Sequence[bytes]) -> list[tuple[str, int]]:
    """Return the other data sets that contain an image with one of the names, with or without its folders.

    A name without its folders does not count if the data set itself has it, in other folders.

    Returns:
        The data sets, each with the number of `file_names` that it contains; the largest number first.
    """
    own = {name.rpartition(b"/")[2] for name in _image_names(stores, dataset)}
    keys = [{name, *({name.rpartition(b"/")[2]} - own)} for name in file_names]
    wanted = set().union(*keys)
    counts = []
    for other in sorted({manifest.dataset for manifest in stores.evidence.manifests()} - {dataset}):
        known = wanted.intersection(_image_names(stores, other))
        if count := sum(not known.isdisjoint(key) for key in keys):
            counts.append((other, count))
    return sorted(counts, key=lambda item: -item[1])


def _image_names(stores: Stores, dataset: str) -> Sequence[bytes]:
    try:
        names: Sequence[bytes] = stores.evidence.find(dataset, "").arrays["names"].tolist()
    except (NotFound, EvidenceDamaged, Unavailable):
        return ()
    return names


def check_capacity(ports: Ports) -> None:
    """Raise TooBusy if the archive has reached its size limit."""
    limit = ports.limits.max_stored_bytes
    if limit and (stored := ports.stores.archive.size()) >= limit:
        raise TooBusy(
            f"The archive is full ({stored} of {limit} bytes). Delete analyses, or change ERRATA_MAX_STORED_BYTES or "
            "ERRATA_RETENTION_DAYS.",
            retry_after=RETRY_AFTER,
        )


def archive_analysis(
    ports: Ports, analysis: Analysis, predictions: Predictions, delivery: str = "", *, replaces: bool = True
) -> bool:
    """Archive an analysis that needed no job; cancel its reservation if it was not stored.

    Returns:
        Whether it was stored. Unless `replaces`, an analysis with the same id stays.
    """
    creation = creation_of(ports.stores, analysis)
    with released_after_error(ports, analysis, delivery), ports.observer.stage(Stage.ARCHIVE):
        record = ports.stores.archive.put(analysis, predictions, creation, replaces=replaces)
    if record.analysis is not analysis:
        return False
    log_event(creation)
    ports.observer.analysis_finished(analysis)
    return True


@contextmanager
def released_after_error(ports: Ports, analysis: Analysis, delivery: str = "") -> Iterator[None]:
    """Cancel the reservation of an analysis if the block fails, so that the caller can send the request again.

    If the analysis may have been stored, keep the reservation: a repeated request finds the analysis, or waits until
    the reservation expires.
    """
    try:
        yield
    except OutcomeUnknown as error:
        remedy = (
            "Send the request again with the same request ID"
            if analysis.request.request_id
            else "List the analyses before you send the request again"
        )
        raise OutcomeUnknown(f"{error.message} {remedy}.", retry_after=error.retry_after) from error
    except Exception:
        ports.stores.jobs.release_ids(analysis.request.request_id, analysis.id, delivery)
        raise


def find_repeated_or_reserve(
    ports: Ports, request: AnalysisRequest, request_digest: str, analysis_id: str, owner: str
) -> Analysis | None:
    """Return the analysis of an earlier request with the same id, or reserve the id; see `find_repeated`, `reserve`."""
    before = find_repeated(ports.stores, request, request_digest)
    return before or reserve(ports, request, request_digest, analysis_id, owner)


def find_repeated(stores: Stores, request: AnalysisRequest, request_digest: str) -> Analysis | None:
    """Return the archived analysis of an earlier request with the same id; None if there is none.

    Raises:
        AlreadyExists: The request ID was used with another body.
    """
    before = queries.find_by_request_id(stores, request.request_id) if request.request_id else None
    if before is not None and before.request_digest != request_digest:
        raise request_id_conflict(request.request_id)
    return before


def reserve(
    ports: Ports, request: AnalysisRequest, request_digest: str, analysis_id: str, owner: str, delivery: str = ""
) -> Analysis | None:
    """Reserve the id of a request that `find_repeated` has not found.

    Args:
        ports: The ports of the use cases.
        request: The request.
        request_digest: The digest of its body.
        analysis_id: The id of the analysis if the request is new.
        owner: The caller.
        delivery: The key of a registry's delivery; empty if there is none.

    Returns:
        The analysis of an earlier request with the same id; None if the request is new or has no id.

    Raises:
        AlreadyExists: The request ID was used with another body.
        AnalysisNotFound: The analysis of a delivery was deleted.
        Unavailable: The earlier request is not finished.
    """
    if not request.request_id:
        return None
    needs_write_back = owner.startswith(REGISTRY_OWNER)
    reserved = ports.stores.jobs.reserve(
        request.request_id, request_digest, analysis_id, needs_write_back=needs_write_back, delivery=delivery
    )
    if reserved.outcome is Outcome.REUSED:
        raise request_id_conflict(request.request_id)
    if reserved.outcome is Outcome.NEW:
        return None
    before = find_reserved(ports, request, reserved.analysis, delivery)
    return before or reserve(ports, request, request_digest, analysis_id, owner, delivery)


def find_reserved(ports: Ports, request: AnalysisRequest, analysis_id: str, delivery: str = "") -> Analysis | None:
    """Return the analysis that has reserved the id of a request.

    If the process that reserved the id ended before it archived the analysis, cancel the reservation and return None.

    Raises:
        AlreadyExists: Another owner used the request ID.
        AnalysisNotFound: The analysis of a delivery was deleted.
        Unavailable: The earlier request is not finished.
    """
    try:
        return queries.get(ports.stores, analysis_id)
    except AnalysisNotFound as error:
        if delivery and not ports.stores.jobs.has_outbox_item(analysis_id):  # a deletion also deletes the item
            raise
        if is_hidden(ports.stores.jobs, ports.stores.archive, analysis_id):
            raise request_id_conflict(request.request_id) from error
        if ports.stores.clock().timestamp() - requests.creation_time(analysis_id) < JUDGING_SECONDS:
            raise Unavailable("The same request is in progress. Try again later.", retry_after=1) from error
        ports.stores.jobs.release_ids(request.request_id, analysis_id, delivery)
        return None


def request_id_conflict(request_id: str) -> AlreadyExists:
    """Return the error for a request ID that was used with another body, or by an owner whose analyses are hidden."""
    return AlreadyExists(
        f"Request ID {request_id!r:.80} was used for a different request or by another caller. Use a new one.",
        field="request_id",
    )


class _HashedStream:
    """A stream that is hashed while it is read."""

    def __init__(self, content: Readable) -> None:
        self._content = content
        self._digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        piece = self._content.read(size)
        self._digest.update(piece)
        return piece

    def digest(self) -> str:
        return self._digest.hexdigest()
