"""Messages of analyses: requests, filters, summaries, breakdowns, and evidence."""

from collections.abc import Iterable
from datetime import UTC, datetime

from errata.errors import InvalidRequest
from errata.v1 import errata_pb2 as pb
from google.protobuf.timestamp_pb2 import Timestamp

from service.analyses.request import MAX_LABELS
from service.domain import (
    ERROR_TYPES,
    Analysis,
    AnalysisFilter,
    AnalysisRequest,
    BreakdownRow,
    ErrorType,
    Group,
    GroupSummary,
    ModelInfo,
    Progress,
    RowOrder,
    State,
    Summary,
)
from service.evidence.bundle import Manifest
from service.report.report_view import analysis_summary
from service.wire.names import MAX_ID, analysis_id, analysis_name, by_name, enum_of, from_names, optional


def request_from_create(message: pb.CreateAnalysisRequest) -> AnalysisRequest:
    """Convert the request of CreateAnalysis."""
    if not message.model:
        raise InvalidRequest("The model is missing. Name a model ID, for example timm:resnet50.", field="model")
    return AnalysisRequest(
        dataset=message.dataset,
        model=message.model.strip(),
        display_name=message.display_name,
        evidence=message.evidence,
        labels=dict(message.labels),
        request_id=message.request_id,
        fresh=message.fresh,
        gate_policy=message.gate_policy,
        gate_baseline=analysis_id(message.gate_baseline) if message.gate_baseline else "",
    )


def request_from_header(message: pb.UploadHeader) -> AnalysisRequest:
    """Convert the header of an upload."""
    return AnalysisRequest(
        dataset=message.dataset,
        display_name=message.display_name,
        evidence=message.evidence,
        labels=dict(message.labels),
        request_id=message.request_id,
        row_order=enum_of(RowOrder, message.row_order, "row_order"),
        fresh=message.fresh,
        gate_policy=message.gate_policy,
        gate_baseline=analysis_id(message.gate_baseline) if message.gate_baseline else "",
    )


def to_analysis(analysis: Analysis) -> pb.Analysis:
    """Convert an analysis."""
    message = pb.Analysis(
        name=analysis_name(analysis.id),
        model=analysis.request.model,
        display_name=analysis.title,
        dataset=analysis.request.dataset,
        evidence=analysis.evidence,
        labels=dict(analysis.request.labels),
        owner=analysis.owner,
        request_id=analysis.request.request_id,
        state=pb.State.Name(analysis.state),
        create_time=_to_timestamp(analysis.create_time),
        progress=_to_progress(analysis.progress),
        warnings=analysis.warnings,
        predictions_digest=analysis.predictions_digest,
        cached=analysis.cached,
    )
    if analysis.start_time:
        message.start_time.CopyFrom(_to_timestamp(analysis.start_time))
    if analysis.end_time:
        message.end_time.CopyFrom(_to_timestamp(analysis.end_time))
    if analysis.summary:
        message.summary.CopyFrom(to_summary(analysis.summary))
        message.summary.headline = analysis_summary(analysis.title, analysis.summary)
    if analysis.failure:
        message.failure.CopyFrom(pb.Failure(reason=analysis.failure.reason, message=analysis.failure.message))
    if analysis.model_info:
        info = analysis.model_info
        message.model_info.CopyFrom(
            pb.ModelInfo(
                model=info.model,
                architecture=info.architecture,
                weights_sha256=info.weights_sha256,
                transform=info.transform,
            )
        )
    return message


def to_summary(summary: Summary) -> pb.Summary:
    """Convert a summary."""
    return pb.Summary(
        groups={group.value: _to_group(group_summary) for group, group_summary in summary.groups.items()},
        abstained=[pb.ErrorType.Name(error_type) for error_type in summary.abstained],
        num_problematic=summary.num_problematic,
        num_images=summary.num_images,
        num_predicted=summary.num_predicted,
        top1_accuracy_all_images=summary.top1_accuracy_all_images,
        imagenet_m_errors=summary.imagenet_m_errors,
        top1_accuracy_among_classes=summary.top1_accuracy_among_classes,
        num_judged=summary.num_judged,
    )


def to_breakdown(rows: Iterable[BreakdownRow]) -> pb.Breakdown:
    """Convert the rows of a breakdown."""
    return pb.Breakdown(
        rows=[
            pb.BreakdownRow(
                name=row.name,
                class_index=row.class_index,
                num_samples=row.num_samples,
                counts=by_name(row.counts),
                multi_label_accuracy=row.multi_label_accuracy,
                gain_if_fixed_top1=by_name(row.gain_if_fixed_top1),
                gain_if_fixed_multi_label=by_name(row.gain_if_fixed_multi_label),
            )
            for row in rows
        ]
    )


def analysis_filter(message: pb.AnalysisFilter) -> AnalysisFilter:
    """Convert the filter of ListAnalyses."""
    states = frozenset(enum_of(State, value, "filter.states") for value in message.states)
    if len(message.labels) > MAX_LABELS:
        raise InvalidRequest(
            f"The filter has {len(message.labels)} labels. Use at most {MAX_LABELS}.", field="filter.labels"
        )
    prefix = message.id_prefix
    if prefix and not (prefix.isascii() and prefix.isalnum() and len(prefix) <= MAX_ID):
        raise InvalidRequest(
            f"Invalid ID prefix {prefix!r:.80}. Expected letters and digits.", field="filter.id_prefix"
        )
    return AnalysisFilter(
        states, message.dataset, message.model, dict(message.labels), message.id_prefix, message.display_name
    )


def to_evidence(manifest: Manifest) -> pb.Evidence:
    """Convert the manifest of an evidence bundle."""
    return pb.Evidence(
        dataset=manifest.dataset,
        digest=manifest.digest,
        rules_version=manifest.rules_version,
        abstained=[pb.ErrorType.Name(error_type) for error_type in manifest.abstained],
        counts=dict(manifest.counts),
        sources=[
            pb.Source(name=source.name, origin=source.origin, license=source.license, sha256=source.sha256)
            for source in manifest.sources
        ],
    )


def _to_timestamp(value: datetime) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(value)
    return message


def _to_progress(progress: Progress) -> pb.Progress:
    message = pb.Progress(
        done=progress.done,
        total=progress.total,
        images_per_second=progress.images_per_second,
        queue_position=progress.queue_position,
        live_workers=progress.live_workers,
        shards_done=progress.shards_done,
        shards=progress.shards,
    )
    if progress.eta_seconds is not None:
        message.eta.FromMilliseconds(int(progress.eta_seconds * 1000))
    return message


def _to_group(group: GroupSummary) -> pb.GroupSummary:
    return pb.GroupSummary(
        num_samples=group.num_samples,
        counts=by_name(group.counts),
        top1_errors=group.top1_errors,
        top1_accuracy=group.top1_accuracy,
        multi_label_accuracy=group.multi_label_accuracy,
        multi_label_accuracy_forgiving_minor=group.multi_label_accuracy_forgiving_minor,
        multi_label_accuracy_forgiving_explainable=group.multi_label_accuracy_forgiving_explainable,
        portions_of_top1_errors=by_name(group.portions_of_top1_errors),
        portions_of_multi_label_errors=by_name(group.portions_of_multi_label_errors),
        gain_if_fixed_top1=by_name(group.gain_if_fixed_top1),
        gain_if_fixed_multi_label=by_name(group.gain_if_fixed_multi_label),
    )


def from_analysis(message: pb.Analysis) -> Analysis:
    """Convert a message to an analysis, without progress and failure.

    Raises:
        InvalidRequest: A field has an invalid value.
    """
    return Analysis(
        id=analysis_id(message.name),
        request=AnalysisRequest(
            dataset=message.dataset,
            model=message.model,
            display_name=message.display_name,
            labels=dict(message.labels),
        ),
        state=enum_of(State, message.state, "state"),
        evidence=message.evidence,
        create_time=_from_timestamp(message.create_time),
        predictions_digest=message.predictions_digest,
        model_info=ModelInfo(
            message.model_info.model,
            message.model_info.architecture,
            message.model_info.weights_sha256,
            message.model_info.transform,
        )
        if message.HasField("model_info")
        else None,
        summary=from_summary(message.summary) if message.HasField("summary") else None,
        warnings=tuple(message.warnings),
    )


def _from_timestamp(message: Timestamp) -> datetime:
    try:
        return message.ToDatetime(UTC)
    except (OverflowError, ValueError) as error:
        raise InvalidRequest(
            f"Invalid time of {message.seconds} seconds. Use a time in the years 1 to 9999.", field="create_time"
        ) from error


def from_summary(message: pb.Summary) -> Summary:
    """Convert a message to a summary; raise InvalidRequest if a group is missing."""
    missing = [group.value for group in Group if group.value not in message.groups]
    if missing:
        raise InvalidRequest(f"The summary has no group {', '.join(missing)}. Include every group.", field="groups")
    return Summary(
        groups={group: _from_group(message.groups[group.value]) for group in Group},
        abstained=tuple(_from_abstained(value) for value in message.abstained),
        num_problematic=message.num_problematic,
        num_images=message.num_images,
        num_predicted=message.num_predicted,
        top1_accuracy_all_images=optional(message, "top1_accuracy_all_images"),
        top1_accuracy_among_classes=optional(message, "top1_accuracy_among_classes"),
        imagenet_m_errors=optional(message, "imagenet_m_errors"),
        num_judged=optional(message, "num_judged"),
    )


def _from_abstained(value: int) -> ErrorType:
    error_type: ErrorType = enum_of(ErrorType, value, "abstained")
    if error_type is ErrorType.UNSPECIFIED:
        raise InvalidRequest("An abstained rule has no error type. Name the error type of the rule.", field="abstained")
    return error_type


def _from_group(message: pb.GroupSummary) -> GroupSummary:
    counts = from_names(message.counts, ERROR_TYPES)
    if min(counts.values()) < 0 or sum(counts.values()) != message.num_samples:
        raise InvalidRequest(
            f"The counts add up to {sum(counts.values())}, not to {message.num_samples} samples. Correct the summary.",
            field="counts",
        )
    return GroupSummary(
        num_samples=message.num_samples,
        counts=counts,
        top1_errors=message.top1_errors,
        top1_accuracy=_from_rate(message, "top1_accuracy"),
        multi_label_accuracy=_from_rate(message, "multi_label_accuracy"),
        multi_label_accuracy_forgiving_minor=_from_rate(message, "multi_label_accuracy_forgiving_minor"),
        multi_label_accuracy_forgiving_explainable=_from_rate(message, "multi_label_accuracy_forgiving_explainable"),
        portions_of_top1_errors=from_names(message.portions_of_top1_errors),
        portions_of_multi_label_errors=from_names(message.portions_of_multi_label_errors),
        gain_if_fixed_top1=from_names(message.gain_if_fixed_top1),
        gain_if_fixed_multi_label=from_names(message.gain_if_fixed_multi_label),
    )


def _from_rate(message: pb.GroupSummary, field: str) -> float | None:
    rate: float | None = optional(message, field)
    if rate is not None and not 0 <= rate <= 1:
        raise InvalidRequest(f"Invalid {field} {rate}. Use a fraction from 0 to 1.", field=field)
    return rate
