"""Messages of analyses: requests, filters, summaries, and breakdowns."""

import re
from collections.abc import Iterable
from dataclasses import asdict, replace
from datetime import UTC, datetime

from errata import v1 as pb
from errata.errors import InvalidRequest
from errata.groups import sort_groups
from errata.names import DATASETS, dataset_id, dataset_name, evidence_id, evidence_name, model_id, model_name
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from service.analyses.request import check_label_count
from service.domain import (
    ALL,
    ERROR_TYPES,
    Analysis,
    AnalysisFilter,
    AnalysisRequest,
    BreakdownRow,
    ErrorType,
    GroupSummary,
    ModelInfo,
    Progress,
    RowOrder,
    State,
    Subset,
    Summary,
)
from service.report.report_view import analysis_summary
from service.wire.answers import from_answer_mapping, to_answer_mapping
from service.wire.names import (
    analysis_id,
    analysis_name,
    by_key,
    enum_of,
    error_type_of,
    evidence_ids,
    evidence_of,
    from_keys,
    is_id,
    optional,
)

_DIGEST_PREFIX = re.compile("[0-9a-f]{1,64}")


def request_from_create(message: pb.CreateAnalysisRequest) -> AnalysisRequest:
    """Convert the request of CreateAnalysis."""
    if not message.analysis.model:
        raise InvalidRequest("The model is missing. Name a model ID, for example timm:resnet50.", field="model")
    return _request_of(message.analysis, message.request_id, message.fresh)


def request_from_header(message: pb.UploadHeader) -> AnalysisRequest:
    """Convert the header of an upload."""
    if message.analysis.model:
        raise InvalidRequest("An upload has no model. Set `display_name` or a label instead.", field="model")
    row_order = enum_of(RowOrder, message.row_order, "row_order")
    request = _request_of(message.analysis, message.request_id, message.fresh)
    return replace(
        request,
        row_order=row_order,
        accept_implausible=message.accept_implausible,
        min_coverage=message.min_coverage,
        subset=message.subset,
        answers_mapping=message.answers_mapping,
    )


def _request_of(message: pb.Analysis, request_id: str, fresh: bool) -> AnalysisRequest:
    """Convert an analysis to create. Its output fields have no effect (AIP-203)."""
    check_label_count(len(message.labels), "analysis", "labels")  # copying 360,000 labels takes 0.2 s
    dataset = dataset_id(message.dataset)
    return AnalysisRequest(
        dataset=dataset,
        model=model_id(message.model).strip(),
        display_name=message.display_name,
        evidence=evidence_of(dataset, message.evidence),
        labels=dict(message.labels),
        request_id=request_id,
        fresh=fresh,
        gate_policy=message.gate_policy,
        gate_baseline=analysis_id(message.gate_baseline, "gate_baseline") if message.gate_baseline else "",
    )


def to_analysis(analysis: Analysis) -> pb.Analysis:
    """Convert an analysis."""
    request = analysis.request
    message = pb.Analysis(
        name=analysis_name(analysis.id),
        model=model_name(request.model) if request.model else "",
        display_name=analysis.title,
        dataset=dataset_name(request.dataset),
        evidence=evidence_name(request.dataset, analysis.evidence) if analysis.evidence else "",
        labels=dict(request.labels),
        owner=analysis.owner,
        request_id=request.request_id,
        state=pb.Analysis.State.Name(analysis.state),
        create_time=to_timestamp(analysis.create_time),
        progress=_to_progress(analysis.progress),
        warnings=analysis.warnings,
        predictions_digest=analysis.predictions_digest,
        cached=analysis.cached,
        gate_baseline=analysis_name(request.gate_baseline) if request.gate_baseline else "",
        implausible=analysis.implausible,
        assumptions=analysis.assumptions,
    )
    if analysis.start_time:
        message.start_time.CopyFrom(to_timestamp(analysis.start_time))
    if analysis.end_time:
        message.end_time.CopyFrom(to_timestamp(analysis.end_time))
    if analysis.summary:
        message.summary.CopyFrom(to_summary(analysis.summary))
        message.summary.headline = analysis_summary(analysis.title, analysis.summary)
    if analysis.answers:
        message.answers.CopyFrom(to_answer_mapping(analysis.answers))
    if analysis.failure:
        message.failure.CopyFrom(pb.Failure(reason=analysis.failure.reason, message=analysis.failure.message))
    if analysis.subset:
        message.subset.CopyFrom(pb.Subset(**asdict(analysis.subset)))
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
        groups={group: _to_group(group_summary) for group, group_summary in summary.groups.items()},
        abstained=[error_type.key for error_type in summary.abstained],
        num_problematic=summary.num_problematic,
        num_images=summary.num_images,
        num_predicted=summary.num_predicted,
        top1_accuracy_all_images=summary.top1_accuracy_all_images,
        imagenet_m_errors=summary.imagenet_m_errors,
        top1_accuracy_among_classes=summary.top1_accuracy_among_classes,
        num_judged=summary.num_judged,
        num_rejected_targets=summary.num_rejected_targets,
    )


def to_breakdown(rows: Iterable[BreakdownRow], abstained: Iterable[ErrorType]) -> pb.Breakdown:
    """Convert the rows of a breakdown, with the types whose rules had no evidence."""
    return pb.Breakdown(
        rows=[
            pb.BreakdownRow(
                display_name=row.name,
                class_index=row.class_index,
                num_samples=row.num_samples,
                counts=by_key(row.counts),
                multi_label_accuracy=row.multi_label_accuracy,
                gain_if_fixed_top1=by_key(row.gain_if_fixed_top1),
                gain_if_fixed_multi_label=by_key(row.gain_if_fixed_multi_label),
            )
            for row in rows
        ],
        abstained=[error_type.key for error_type in abstained],
    )


def analysis_filter(message: pb.AnalysisFilter) -> AnalysisFilter:
    """Convert the filter of ListAnalyses."""
    if len(message.states) > len(State):
        raise InvalidRequest(
            f"The filter has {len(message.states)} states. Use each state at most once.", field="filter.states"
        )
    states = frozenset(enum_of(State, value, "filter.states") for value in message.states)
    check_label_count(len(message.labels), "filter", "filter.labels")
    prefix = message.id_prefix
    if prefix and not is_id(prefix):
        raise InvalidRequest(
            f"Invalid ID prefix {prefix!r:.80}. Expected letters and digits.", field="filter.id_prefix"
        )
    dataset, digest = _bundle_condition(message)
    return AnalysisFilter(
        states,
        dataset,
        model_id(message.model),
        dict(message.labels),
        prefix,
        message.display_name,
        evidence_prefix=digest,
        request_id=message.request_id,
        owner=message.owner,
        created_after=optional_time(message, "start_create_time", "filter.start_create_time"),
        created_before=optional_time(message, "end_create_time", "filter.end_create_time"),
    )


def _bundle_condition(message: pb.AnalysisFilter) -> tuple[str, str]:
    """Return the data set and the digest prefix of a filter; empty: any."""
    dataset, bundle, field = dataset_id(message.dataset), message.evidence, "filter.evidence"
    digest = evidence_of(dataset, bundle, field)
    if bundle and not _DIGEST_PREFIX.fullmatch(digest):
        raise InvalidRequest(f"Invalid evidence {bundle!r:.120}. Use a digest or its first digits.", field=field)
    return evidence_ids(bundle, field)[0] if bundle.startswith(DATASETS) else dataset, digest


def to_timestamp(value: datetime) -> Timestamp:
    """Convert a time."""
    message = Timestamp()
    message.FromDatetime(value)
    return message


def optional_time(message: Message, name: str, field: str) -> datetime | None:
    """Return the time in a field; None if it is not set.

    Args:
        message: The message.
        name: The name of its field.
        field: The path of the field in the request, for the error.

    Raises:
        InvalidRequest: The time is invalid.
    """
    timestamp = optional(message, name)
    try:
        return None if timestamp is None else timestamp.ToDatetime(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidRequest(f"Invalid time in {field}. Expected a year from 1 to 9999.", field=field) from error


def _to_progress(progress: Progress) -> pb.Progress:
    message = pb.Progress(
        done=progress.done,
        total=progress.total,
        images_per_second=progress.images_per_second,
        queue_position=progress.queue_position,
        live_workers=progress.live_workers,
        shards_done=progress.shards_done,
        shards=progress.shards,
        waiting_reason=progress.waiting_reason,
    )
    if progress.eta_seconds is not None:
        message.eta.FromMilliseconds(int(progress.eta_seconds * 1000))
    return message


def _to_group(group: GroupSummary) -> pb.GroupSummary:
    return pb.GroupSummary(
        num_samples=group.num_samples,
        counts=by_key(group.counts),
        top1_errors=group.top1_errors,
        top1_accuracy=group.top1_accuracy,
        multi_label_accuracy=group.multi_label_accuracy,
        multi_label_accuracy_forgiving_minor=group.multi_label_accuracy_forgiving_minor,
        multi_label_accuracy_forgiving_explainable=group.multi_label_accuracy_forgiving_explainable,
        portions_of_top1_errors=by_key(group.portions_of_top1_errors),
        portions_of_multi_label_errors=by_key(group.portions_of_multi_label_errors),
        gain_if_fixed_top1=by_key(group.gain_if_fixed_top1),
        gain_if_fixed_multi_label=by_key(group.gain_if_fixed_multi_label),
        accuracy_against_labels=group.accuracy_against_labels,
        image_multi_label_accuracy=group.image_multi_label_accuracy,
    )


def from_analysis(message: pb.Analysis) -> Analysis:
    """Convert a message to an analysis, without progress and failure.

    Raises:
        InvalidRequest: A field has an invalid value.
    """
    return Analysis(
        id=analysis_id(message.name),
        request=AnalysisRequest(
            dataset=dataset_id(message.dataset),
            model=model_id(message.model),
            display_name=message.display_name,
            labels=dict(message.labels),
        ),
        state=enum_of(State, message.state, "state"),
        evidence=evidence_id(message.evidence),
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
        implausible=message.implausible,
        answers=from_answer_mapping(message.answers) if message.HasField("answers") else None,
        subset=_from_subset(message.subset) if message.HasField("subset") else None,
        assumptions=tuple(message.assumptions),
    )


def _from_subset(message: pb.Subset) -> Subset:
    return Subset(message.digest, message.num_images, message.num_judged)


def _from_timestamp(message: Timestamp) -> datetime:
    try:
        return message.ToDatetime(UTC)
    except (OverflowError, ValueError) as error:
        raise InvalidRequest(
            f"Invalid time of {message.seconds} seconds. Use a time in the years 1 to 9999.", field="create_time"
        ) from error


def from_summary(message: pb.Summary) -> Summary:
    """Convert a message to a summary; raise InvalidRequest if the group of all samples is missing."""
    if ALL not in message.groups:
        raise InvalidRequest(f"The summary has no group {ALL!r}. Include it.", field="groups")
    return Summary(
        groups={group: _from_group(message.groups[group]) for group in sort_groups(message.groups)},
        abstained=tuple(error_type_of(key, "abstained") for key in message.abstained),
        num_problematic=message.num_problematic,
        num_images=message.num_images,
        num_predicted=message.num_predicted,
        top1_accuracy_all_images=optional(message, "top1_accuracy_all_images"),
        top1_accuracy_among_classes=optional(message, "top1_accuracy_among_classes"),
        imagenet_m_errors=optional(message, "imagenet_m_errors"),
        num_judged=optional(message, "num_judged"),
        num_rejected_targets=optional(message, "num_rejected_targets"),
    )


def _from_group(message: pb.GroupSummary) -> GroupSummary:
    counts = from_keys(message.counts, ERROR_TYPES)
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
        portions_of_top1_errors=from_keys(message.portions_of_top1_errors),
        portions_of_multi_label_errors=from_keys(message.portions_of_multi_label_errors),
        gain_if_fixed_top1=from_keys(message.gain_if_fixed_top1),
        gain_if_fixed_multi_label=from_keys(message.gain_if_fixed_multi_label),
        accuracy_against_labels=_from_rate(message, "accuracy_against_labels"),
    )


def _from_rate(message: pb.GroupSummary, field: str) -> float | None:
    rate: float | None = optional(message, field)
    if rate is not None and not 0 <= rate <= 1:
        raise InvalidRequest(f"Invalid {field} {rate}. Use a fraction from 0 to 1.", field=field)
    return rate
