"""Request messages, built from the arguments of the clients' methods."""

import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, ParamSpec, TypeAlias, TypedDict, TypeVar, Unpack

from errata import v1 as pb
from errata.choices import choice, choices
from errata.error_types import parse_key
from errata.errors import InvalidRequest
from errata.names import dataset_name, image_name
from errata.results import Analysis
from errata.texts import surrogate_problem

DEFAULT_DATASET = "imagenet-real"  # of the command and of the upload page
CHUNK_BYTES = 1 << 19  # bytes of the file in one upload message
MAX_SUBSET = 3_000_000  # bytes of the names in a subset; a message can have at most 4 MiB
PAGE_SIZE = 1000  # resources in one page of a list; the maximum of the service

AnalysisRef: TypeAlias = str | pb.Analysis | Analysis
"""An analysis, or its name (`analyses/ID`), or its ID."""
ClassRef: TypeAlias = int | str
"""A class: its index, its ID (such as a WordNet ID), or a name that only one class has."""

Fields = ParamSpec("Fields")
Message = TypeVar("Message")


class AnalysisOptions(TypedDict, total=False):
    """Keyword options of a new analysis."""

    evidence: str
    """Name or digest prefix of the evidence bundle. Default: the data set's default bundle."""
    display_name: str
    """Name on pages and in lists. Default: the model ID, or the name of the uploaded file."""
    labels: Mapping[str, str]
    """Custom labels, such as the registry and the version."""
    request_id: str
    """ID that makes the call safe to repeat: the same ID and request return the same analysis."""
    fresh: bool
    """Ignore cached and in-progress results."""
    gate_policy: str
    """Policy (YAML) that `gate` evaluates by default."""
    gate_baseline: AnalysisRef
    """Baseline analysis, from which the policy measures changes."""


class UploadChecks(TypedDict, total=False):
    """Keyword options of an upload: its images, and the checks of its content."""

    accept_implausible: bool
    """Accept predictions whose row order or class numbering looks wrong. The analysis is then marked as
    `implausible`, and no trend uses it."""
    min_coverage: float
    """Minimum share of the evaluated images that have a prediction, from 0 to 1. Default: 0."""
    subset: Iterable[str]
    """Names of the images that the file should cover, if these are not all images of the data set. Predictions of other
    images are ignored."""
    answers_mapping: str
    """The content of a CSV file `answer,class` for free-text answers."""


class AnalysisConditions(TypedDict, total=False):
    """Keyword conditions on analyses. All of them must be met."""

    states: str | int | Iterable[str | int]
    """States, such as `failed`; the analysis has one of them."""
    dataset: str
    """The data set."""
    model: str
    """The model ID."""
    labels: Mapping[str, str]
    """Labels; the analysis has all of them."""
    id_prefix: str
    """Prefix of the ID."""
    display_name: str
    """Display name, as an exact match."""
    owner: str
    """Name of the token that created the analysis, or `registry:` and the ID of a registry."""
    evidence: str
    """Name, digest, or digest prefix of the evidence bundle."""
    request_id: str
    """Request ID of the call that created the analysis."""
    created_after: datetime | None
    """Analyses that were created at this time or later; a time without a zone is local."""
    created_before: datetime | None
    """Analyses that were created before this time; a time without a zone is local."""


class AuditConditions(TypedDict, total=False):
    """Keyword conditions on audit events. All of them must be met."""

    actor: str
    """Name of a token, `registry:` and the ID of a registry, `retention`, or `unauthenticated`."""
    analysis: AnalysisRef
    """The analysis, which may be deleted."""
    start: datetime | None
    """Events at this time or later; a time without a zone is local."""
    end: datetime | None
    """Events before this time; a time without a zone is local."""


class VerdictConditions(TypedDict, total=False):
    """Keyword conditions on verdicts. All of them must be met."""

    error_types: str | Iterable[str]
    """Error types, such as `model_failure`; the verdict has one of them."""
    target: ClassRef
    """Effective target: the original label, or the first label of the image if its labels reject the original label."""
    predicted: ClassRef
    """Predicted class."""
    superclass: str
    """Superclass that contains the effective target or the prediction."""
    group: str
    """A group of the label space, such as `organism`, or `all`."""
    problematic: bool
    """True: only problematic samples; False: only other samples."""
    slice: str
    """A slice of the images, such as `time=night`. `night` is enough if only one attribute has this value."""


class ImageConditions(TypedDict, total=False):
    """Keyword conditions on images of an analysis. All of them must be met."""

    error_type: str
    """Error type, such as `model_failure`, or `correct`."""
    target: ClassRef
    """Effective target: the original label, or the first label of the image if its labels reject the original label."""
    predicted: ClassRef
    """Predicted class."""
    superclass: str
    """Superclass of the effective target."""
    group: str
    """A group of the label space, such as `organism`, or `all`."""
    min_probability: float
    """Minimum probability of the prediction, from 0 to 1."""
    problematic: bool
    """True: only problematic images; False: only other images, as on the pages of images. Default: all images."""
    baseline: AnalysisRef
    """Another analysis with the same evidence."""
    change: str
    """Change from the baseline: `fixed`, `broken`, or two error types, such as `model_failure:fine_grained`."""


class ReviewStatements(TypedDict, total=False):
    """Keyword statements of a review. A review that undoes an earlier review makes no other statements."""

    confirmed: Iterable[ClassRef]
    """Labels of the image that are correct."""
    added: Iterable[ClassRef]
    """Classes that are correct and not yet labels."""
    rejected: Iterable[ClassRef]
    """Classes that are not in the image."""
    problematic: bool | None
    """Whether the image should be set aside; None: no statement."""
    reason: str
    """Why the image is problematic, at most 200 characters."""
    comment: str
    """A comment, at most 2,000 characters."""
    undoes: str
    """Name or ID of the earlier review that this review withdraws. Both need the same reviewer and image."""
    evidence: str
    """Name or digest prefix of the evidence bundle that the reviewer saw. Default: the data set's default bundle."""
    request_id: str
    """ID that makes the call safe to repeat: the same ID and statements return the same review."""


class TrendOptions(TypedDict, total=False):
    """Keyword options of a trend."""

    analyses: Iterable[AnalysisRef]
    """The analyses, at most 1000. Default: all stored analyses of the data set."""
    dataset: str
    """The data set. Default: that of the analyses, or without analyses, the one with the most succeeded analyses."""
    group: str
    """The group whose errors the trend shows: a group of the label space, such as `organism`, or `all`."""
    by: str
    """How to group the models: by a label of the analyses, or by `architecture`, `architecture-family`, `pre-training`,
    or `size`."""
    reference: bytes
    """Published models (CSV)."""
    owner: str
    """Owner of the other analyses, which `analyses` does not name: name of a token, or `registry:` and the ID of a
    registry. Default: any owner."""


def build(message: Callable[Fields, Message], /, *args: Fields.args, **fields: Fields.kwargs) -> Message:
    """Return a message with these fields.

    Raises:
        InvalidRequest: If a value cannot be sent, such as a file name that is not UTF-8, or a number over 32 bits.
    """
    try:
        return message(*args, **fields)
    except UnicodeEncodeError as error:
        raise InvalidRequest(surrogate_problem(error.object)) from error
    except ValueError as error:
        raise InvalidRequest(f"A value cannot be sent: {error}. Use a value in the range of the field.") from error


def name_of(analysis: AnalysisRef) -> str:
    """Return the name of an analysis.

    Raises:
        InvalidRequest: If the argument is neither text nor an analysis.
    """
    if isinstance(analysis, str):
        return analysis
    if not isinstance(analysis, pb.Analysis | Analysis):
        raise InvalidRequest(
            f"{analysis!r:.80} is not an analysis. Pass its name (`analyses/ID`), its ID, or an Analysis.",
            field="analysis",
        )
    return analysis.name


def class_text(value: ClassRef | None) -> str:
    """Return the text that identifies a class in a request; empty for None."""
    return "" if value is None else str(value)


def create_request(model: str, dataset: str, options: AnalysisOptions) -> pb.CreateAnalysisRequest:
    """Return a request for an analysis of a model. It contains a request ID, which makes it safe to repeat."""
    fields, call = _split_options(options)
    call["request_id"] = call.get("request_id") or uuid.uuid4().hex
    return build(pb.CreateAnalysisRequest, analysis=build(pb.Analysis, model=model, dataset=dataset, **fields), **call)


def upload_header(
    predictions: str | Path | BinaryIO,
    dataset: str,
    row_order: str | int,
    options: AnalysisOptions,
    **checks: Unpack[UploadChecks],
) -> pb.UploadHeader:
    """Return the header of an upload. The default display name is the name of the file.

    Raises:
        InvalidRequest: If the subset is not a list or has too many names for a message, or if a text cannot be sent.
    """
    if isinstance(checks.get("subset"), str):
        raise InvalidRequest("'subset' is one text. Pass a list of image names.", field="subset")
    fields, call = _split_options(options)
    if not fields.get("display_name") and isinstance(predictions, str | Path):
        fields["display_name"] = Path(predictions).name
    analysis = build(pb.Analysis, dataset=dataset, **fields)
    order = choice(pb.RowOrder, row_order, "row_order")
    header = build(
        pb.UploadHeader,
        analysis=analysis,
        row_order=order,
        accept_implausible=checks.get("accept_implausible", False),
        min_coverage=checks.get("min_coverage", 0.0),
        subset="\n".join(checks.get("subset", ())),
        answers_mapping=checks.get("answers_mapping", ""),
        **call,
    )
    if (size := len(header.subset.encode())) > MAX_SUBSET:
        raise InvalidRequest(
            f"The names of the subset have {size:,} bytes. Use at most {MAX_SUBSET:,} bytes.", field="subset"
        )
    return header


def analysis_filter(filter: pb.AnalysisFilter | None, conditions: AnalysisConditions) -> pb.AnalysisFilter | None:
    """Return `filter`, or a filter with the keyword conditions, for a list of analyses."""
    if not _exclusive(filter, conditions, AnalysisConditions):
        return filter
    fields: dict[str, Any] = {**conditions}
    if "states" in fields:
        fields["states"] = choices(pb.Analysis.State, fields["states"], "state")
    start, end = (_utc(fields.pop(name, None), name) for name in ("created_after", "created_before"))
    return build(pb.AnalysisFilter, start_create_time=start, end_create_time=end, **fields)


def audit_request(dataset: str, action: str | int, conditions: AuditConditions) -> pb.ListAuditEventsRequest:
    """Return a request for audit events."""
    _check_keywords(conditions, AuditConditions)
    return build(
        pb.ListAuditEventsRequest,
        dataset=dataset_name(dataset) if dataset else "",
        action=choice(pb.AuditEvent.Action, action, "action"),
        actor=conditions.get("actor", ""),
        analysis=name_of(analysis) if (analysis := conditions.get("analysis")) else "",
        start_time=_utc(conditions.get("start"), "start"),
        end_time=_utc(conditions.get("end"), "end"),
        page_size=PAGE_SIZE,
    )


def verdict_filter(filter: pb.VerdictFilter | None, conditions: VerdictConditions) -> pb.VerdictFilter | None:
    """Return `filter`, or a filter with the keyword conditions, for a list of verdicts."""
    if not _exclusive(filter, conditions, VerdictConditions):
        return filter
    fields: dict[str, Any] = {**conditions}
    for name in ("target", "predicted"):
        fields[f"{name}_class"] = class_text(fields.pop(name, None))
    if "error_types" in fields:
        types = fields["error_types"]
        fields["error_types"] = [parse_key(text) for text in ([types] if isinstance(types, str) else types)]
    return build(pb.VerdictFilter, **fields)


def image_filter(filter: pb.ImageFilter | None, conditions: ImageConditions) -> pb.ImageFilter | None:
    """Return `filter`, or a filter with the keyword conditions, for a list of images."""
    if not _exclusive(filter, conditions, ImageConditions):
        return filter
    fields: dict[str, Any] = {**conditions}
    for keyword, field in (("target", "target_class"), ("predicted", "predicted_class")):
        fields[field] = class_text(fields.pop(keyword, None))
    if fields.get("baseline"):
        fields["baseline"] = name_of(fields["baseline"])
    return build(pb.ImageFilter, **fields)


def review_request(dataset: str, file_name: str, reviewer: str, statements: ReviewStatements) -> pb.CreateReviewRequest:
    """Return a request for a review. It contains a request ID, which makes it safe to repeat."""
    _check_keywords(statements, ReviewStatements)
    fields: dict[str, Any] = {**statements}
    request_id = fields.pop("request_id", "") or uuid.uuid4().hex
    for keyword in ("confirmed", "added", "rejected"):
        classes = fields.pop(keyword, ())
        if isinstance(classes, int | str):
            raise InvalidRequest(f"'{keyword}' is one class. Pass a list of classes.", field=keyword)
        fields[f"{keyword}_classes"] = [class_text(item) for item in classes]
    return build(
        pb.CreateReviewRequest,
        parent=image_name(dataset, file_name),
        review=build(pb.Review, reviewer=reviewer, **fields),
        request_id=request_id,
    )


def verdict_view(with_evidence: bool) -> pb.VerdictView:
    """Return the view of verdicts with or without their evidence."""
    return pb.VERDICT_VIEW_FULL if with_evidence else pb.VERDICT_VIEW_BASIC


def trend_request(request: pb.ComputeTrendRequest | None, options: TrendOptions) -> pb.ComputeTrendRequest:
    """Return `request`, or a request with the keyword options, for a trend.

    Raises:
        InvalidRequest: If `request` is not a message, or if there are both a message and keyword options.
    """
    if request is not None and not isinstance(request, pb.ComputeTrendRequest):
        raise InvalidRequest(
            f"The request of a trend is a {type(request).__name__}. Pass analyses with analyses=[...], or a "
            "ComputeTrendRequest.",
            field="request",
        )
    if not _exclusive(request, options, TrendOptions):
        return request or pb.ComputeTrendRequest()
    fields: dict[str, Any] = {**options}
    if "analyses" in fields:
        analyses = fields["analyses"]
        if isinstance(analyses, str | pb.Analysis | Analysis):
            raise InvalidRequest("'analyses' is one analysis. Pass a list of analyses.", field="analyses")
        fields["analyses"] = [name_of(analysis) for analysis in analyses]
    return build(pb.ComputeTrendRequest, **fields)


def _utc(time: datetime | None, field: str) -> datetime | None:
    """Return a time in UTC. A time without a zone is local, but a message would take it for UTC.

    Raises:
        InvalidRequest: The value is no time, or cannot be converted.
    """
    try:  # the method of a pandas.Timestamp refuses a time without a zone
        return None if time is None else datetime.astimezone(time, UTC)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidRequest(
            f"{time!r:.80} cannot be used as {field}. Expected a datetime, such as datetime(2026, 1, 31, tzinfo=UTC).",
            field=field,
        ) from error


def _split_options(options: AnalysisOptions) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split the options into the fields of the analysis and the fields of the request that creates it."""
    _check_keywords(options, AnalysisOptions)
    fields: dict[str, Any] = {**options}
    if fields.get("gate_baseline"):
        fields["gate_baseline"] = name_of(fields["gate_baseline"])
    return fields, {name: fields.pop(name) for name in ("request_id", "fresh") if name in fields}


def _exclusive(message: object, keywords: Mapping[str, object], permitted: type) -> bool:
    """Return whether there are keywords; raise InvalidRequest if there are both a message and keywords."""
    _check_keywords(keywords, permitted)
    if keywords and message is not None:
        raise InvalidRequest(
            f"Both a {type(message).__name__} and keywords ({', '.join(keywords)}) were passed. Pass one of them.",
            field="filter",
        )
    return bool(keywords)


def _check_keywords(keywords: Mapping[str, object], permitted: type) -> None:
    """Raise TypeError for an unknown keyword, as Python does for a function without `**`."""
    unknown = [name for name in keywords if name not in permitted.__annotations__]
    if unknown:
        raise TypeError(f"unexpected keyword argument {unknown[0]!r}. Expected: {', '.join(permitted.__annotations__)}")
