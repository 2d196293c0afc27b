"""Trends on the wire."""

import numpy as np
from errata.v1 import errata_pb2 as pb

from service.domain import LabelFit, Metric, PercentileRank, Trend, TrendPoint
from service.report.messages.trend import percentile_text, trend_notes
from service.wire.names import analysis_name, group_value

_QUANTILES = (4, 24, 49, 74, 94)  # of the 1 to 99 %: 5, 25, 50, 75, 95 %


def to_trend(found: Trend) -> pb.Trend:
    """Return the message of a trend."""
    return pb.Trend(
        dataset=found.dataset,
        evidence=found.evidence,
        group=group_value(found.group),
        by=found.by,
        models=[_model(point) for point in found.points],
        fits=[_fit(fit) for fit in found.fits],
        bands=_bands(found),
        num_published=found.curves.num_models if found.curves else 0,
        notes=trend_notes(found),
        num_left_out=found.num_left_out,
    )


def _model(point: TrendPoint) -> pb.TrendModel:
    return pb.TrendModel(
        name=analysis_name(point.id) if point.id else "",
        display_name=point.title,
        label=point.label,
        asked=point.is_selected,
        top1_accuracy=point.top1_accuracy,
        values={metric.name: value for metric, value in point.values.items()},
        percentile_ranks=[_standing(standing) for standing in point.percentile_ranks],
    )


def _standing(standing: PercentileRank) -> pb.PercentileRank:
    return pb.PercentileRank(
        metric=_metric(standing.metric),
        value=standing.value,
        percentile=standing.percentile,
        message=percentile_text(standing),
    )


def _fit(each: LabelFit) -> pb.TrendFit:
    return pb.TrendFit(
        metric=_metric(each.metric),
        label=each.label,
        num_models=each.num_models,
        slope=each.fit.slope if each.fit else None,
        intercept=each.fit.intercept if each.fit else None,
        r_squared=each.fit.r_squared if each.fit else None,
        shift=each.shift,
    )


def _bands(found: Trend) -> list[pb.TrendBand]:
    if found.curves is None:
        return []
    bands = []
    for metric in Metric:
        quantiles = found.curves.quantiles[found.group, metric]
        fit = found.curves.fits.get((found.group, metric))
        bands.append(
            pb.TrendBand(
                metric=_metric(metric),
                quantiles=[
                    pb.TrendQuantiles(
                        top1_accuracy=knot, **dict(zip(("q05", "q25", "q50", "q75", "q95"), row, strict=True))
                    )
                    for knot, row in zip(found.curves.knots.tolist(), quantiles[:, _QUANTILES].tolist(), strict=True)
                    if not np.isnan(row[0])
                ],
                r_squared=fit.r_squared if fit else None,
            )
        )
    return bands


def _metric(metric: Metric) -> str:
    return f"TREND_METRIC_{metric.name}"
