"""Messages of trends."""

import numpy as np
from errata import v1 as pb
from errata.names import dataset_id, dataset_name, evidence_name

from service.analyses.trend import TrendRequest, check_name_count
from service.domain import (
    ALL,
    AXES,
    METRICS,
    Axis,
    LabelFit,
    PercentileRank,
    Trend,
    TrendPoint,
    name_portion_base,
)
from service.report.messages.trend import percentile_message, trend_notes
from service.wire.names import analysis_id, analysis_name

_QUANTILES = (4, 24, 49, 74, 94)  # indices of 5, 25, 50, 75, and 95 % among 1 to 99 %


def trend_request(message: pb.ComputeTrendRequest) -> TrendRequest:
    """Convert the request of ComputeTrend."""
    check_name_count(len(message.analyses))
    return TrendRequest(
        names=[analysis_id(name, "analyses") for name in message.analyses],
        dataset=dataset_id(message.dataset),
        group=message.group or ALL,
        by=message.by,
        owner=message.owner,
        reference=message.reference,
    )


def to_trend(trend: Trend) -> pb.Trend:
    """Convert a trend."""
    return pb.Trend(
        dataset=dataset_name(trend.dataset),
        evidence=evidence_name(trend.dataset, trend.evidence) if trend.evidence else "",
        group=trend.group,
        by=trend.by,
        owner=trend.owner,
        models=[_model(point) for point in trend.points],
        fits=[_fit(fit) for fit in trend.fits],
        bands=_bands(trend),
        num_published=trend.curves.num_models if trend.curves else 0,
        notes=trend_notes(trend),
        num_left_out=trend.num_left_out,
        metrics=[
            pb.TrendMetric(
                metric=metric, axis=AXES[metric].value, portion_of=name_portion_base(metric, trend.has_rejected_targets)
            )
            for metric in trend.metrics
        ],
        abstained=[error_type.key for error_type in trend.abstained],
    )


def _model(point: TrendPoint) -> pb.TrendModel:
    return pb.TrendModel(
        analysis=analysis_name(point.id) if point.id else "",
        display_name=point.title,
        label=point.label,
        requested=point.is_selected,
        top1_accuracy=point.accuracies[Axis.TOP1],
        values=dict(point.values),
        percentile_ranks=[_percentile_rank(rank) for rank in point.percentile_ranks],
        multi_label_accuracy=point.accuracies[Axis.MULTI_LABEL],
        num_analyses=point.num_analyses if point.id else 0,
        coverage=point.coverage,
    )


def _percentile_rank(rank: PercentileRank) -> pb.PercentileRank:
    return pb.PercentileRank(
        metric=rank.metric,
        value=rank.value,
        percentile=rank.percentile,
        message=percentile_message(rank),
        low=rank.low,
        high=rank.high,
    )


def _fit(label_fit: LabelFit) -> pb.TrendFit:
    return pb.TrendFit(
        metric=label_fit.metric,
        label=label_fit.label,
        num_models=label_fit.num_models,
        slope=label_fit.fit.slope if label_fit.fit else None,
        intercept=label_fit.fit.intercept if label_fit.fit else None,
        r_squared=label_fit.fit.r_squared if label_fit.fit else None,
        shift=label_fit.shift,
    )


def _bands(trend: Trend) -> list[pb.TrendBand]:
    if trend.curves is None:
        return []
    bands = []
    for metric in METRICS:
        quantiles = trend.curves.quantiles.get((trend.group, metric))
        if quantiles is None:
            continue
        fit, axis = trend.curves.fits.get((trend.group, metric)), AXES[metric]
        bands.append(
            pb.TrendBand(
                metric=metric,
                quantiles=[
                    pb.TrendQuantiles(
                        top1_accuracy=knot if axis is Axis.TOP1 else 0,
                        accuracy=knot,
                        **dict(zip(("q05", "q25", "q50", "q75", "q95"), row, strict=True)),
                    )
                    for knot, row in zip(
                        trend.curves.axes[axis].knots.tolist(), quantiles[:, _QUANTILES].tolist(), strict=True
                    )
                    if not np.isnan(row[0])
                ],
                r_squared=fit.r_squared if fit else None,
            )
        )
    return bands
