"""Render an analysis, a comparison, or a trend as HTML: a self-contained file, or a page of the web server."""

from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version

import numpy as np
from errata.errors import InvalidRequest
from numpy.typing import NDArray

from service.analyses.breakdown import compute_breakdown
from service.analyses.compare import compare_judged
from service.analyses.compare_images import compare_images
from service.analyses.error_map import EMBEDDINGS
from service.analyses.error_table import ReportKind, error_table, sort_by_severity
from service.analyses.judge import JudgedAnalysis
from service.analyses.ports import Ports, Stores
from service.analyses.slices import slices_of
from service.analyses.trend import TrendRequest, has_own_superclasses, published_models_of, trend
from service.analyses.verdicts import iterate_verdicts, load_judged
from service.domain import (
    ALL,
    ERROR_TYPES,
    MULTI_LABEL_ERROR_TYPES,
    NO_TYPE,
    ChangeQuery,
    ErrorType,
    PercentileRank,
    Stage,
    StoredResult,
    is_among,
)
from service.evidence.agreement import agreement_for
from service.evidence.bundle import Bundle
from service.reference_models.curves import curves_of
from service.report.class_names import display_names, shorten
from service.report.comparison_page import ComparisonLinks, PageSource
from service.report.comparison_view import comparison_view
from service.report.image_links import ImageLinks
from service.report.messages.trend import CUSTOM_SUPERCLASSES_NOTE, own_models_note
from service.report.render import render_comparison, render_report, render_trend
from service.report.report_view import ReportData, ReportView, SourceRow, report_view
from service.report.trend_view import trend_view
from service.rules.table import error_types
from service.summary.calibrate import calibrate
from service.summary.confusions import confusions, count_confusions, group_confused_classes
from service.summary.own_models import OwnModels
from service.summary.percentiles import percentile_ranks_among, percentile_ranks_of

STATIC_ERRORS = 50  # rows that are visible without JavaScript
MAX_CONFUSIONS = 25
MAX_EXAMPLES = 3  # example images of a confusion
MAX_CONFUSED_CLASSES = 20  # classes of the heat map
MAX_GRID = 12  # images of each change on the page of a comparison


def report(ports: Ports, analysis_id: str, thumbnails: bool = False) -> str:
    """Return the report of an analysis as a self-contained file.

    Args:
        ports: The ports of the use cases.
        analysis_id: ID of the analysis.
        thumbnails: Whether to embed thumbnails of the worst errors. Without them, the file shows no image to a reader
            who has no access to the images.

    Raises:
        AnalysisNotFound: The analysis does not exist. See `load_judged` for further errors.
        InvalidRequest: There are no images of the data set for thumbnails.
    """
    judged = load_judged(ports.stores, analysis_id)
    dataset = judged.analysis.request.dataset
    if thumbnails and not ports.thumbnails.has(dataset):
        raise InvalidRequest(
            f"The service has no images of data set {dataset!r} for thumbnails. Set ERRATA_IMAGES, or render the "
            "report without thumbnails.",
            field="thumbnails",
        )
    with ports.observer.stage(Stage.RENDER):
        return render_report(
            build_view(ports, judged, ReportKind.FILE_WITH_THUMBNAILS if thumbnails else ReportKind.FILE)
        )


def report_page(ports: Ports, analysis_id: str) -> str:
    """Return the report of an analysis as a page with links to pictures and to pages about images."""
    judged = load_judged(ports.stores, analysis_id)
    with ports.observer.stage(Stage.RENDER):
        view = build_view(ports, judged, ReportKind.SITE)
        return render_report(view, judged.analysis.id, site=True)


def comparison_report(stores: Stores, id_a: str, id_b: str) -> str:
    """Return the comparison of two analyses as a self-contained file; raise the errors of `compare_judged`."""
    return _render_comparison(load_judged(stores, id_a), load_judged(stores, id_b))


def comparison_page(ports: Ports, id_a: str, id_b: str, query: ChangeQuery) -> str:
    """Return the comparison of two analyses as a page; raise the errors of `compare_images`."""
    a, b = load_judged(ports.stores, id_a), load_judged(ports.stores, id_b)
    changes = compare_images(a, b, query, MAX_GRID)
    dataset = a.bundle.dataset
    has_pictures = ports.thumbnails.has(dataset)
    links = ComparisonLinks(a.analysis.id, b.analysis.id, dataset, has_pictures, a.bundle.label_space.ids)
    return _render_comparison(a, b, PageSource(links, changes))


def _render_comparison(a: JudgedAnalysis, b: JudgedAnalysis, source: PageSource | None = None) -> str:
    comparison = compare_judged(a, b)
    assert a.analysis.summary is not None and b.analysis.summary is not None, "this is a bug: both are judged"
    names = display_names(a.bundle.label_space)
    view = comparison_view(comparison, a.analysis.summary, b.analysis.summary, names, source)
    return render_comparison(view, site=source is not None)


def trend_report(stores: Stores, request: TrendRequest) -> str:
    """Return a trend as a self-contained file; raise the errors of `trend`."""
    return render_trend(trend_view(trend(stores, request)))


def trend_page(stores: Stores, request: TrendRequest, y: str) -> str:
    """Return a trend as a page.

    Args:
        stores: The stores.
        request: The request of the trend.
        y: The only metric with a chart; empty: all metrics.

    Raises:
        InvalidRequest: The trend does not have the metric. See `trend` for further errors.
    """
    result = trend(stores, request)
    if y and y not in result.metrics:
        raise InvalidRequest(
            f"Metric {y!r:.80} is not available. Expected one of: {', '.join(result.metrics)}.", field="y"
        )
    datasets = tuple((name, name) for name in stores.evidence.datasets())
    return render_trend(replace(trend_view(result, y, has_links=True), datasets=datasets), site=True)


def build_view(ports: Ports, judged: JudgedAnalysis, kind: ReportKind = ReportKind.FILE) -> ReportView:
    """Return the content of a report."""
    bundle = judged.bundle
    evidence = bundle.evidence
    types = error_types(judged.verdicts)
    images = bundle.rows
    predicted = judged.predictions.top1[images]
    probability = None if judged.predictions.probability is None else judged.predictions.probability[images]
    counted = ~evidence.problematic & (types != NO_TYPE)
    rows = sort_by_severity(types, evidence.problematic, probability)
    label_space = bundle.label_space
    summary = judged.analysis.summary
    assert summary is not None, "this is a bug: a judged analysis has a summary"
    targets = evidence.effective_targets
    has_class = counted & (predicted >= 0)
    errors = counted & is_among(types, MULTI_LABEL_ERROR_TYPES)
    pairs = confusions(targets[has_class], predicted[has_class], types[has_class], MAX_CONFUSIONS)
    confused = group_confused_classes(pairs, MAX_CONFUSED_CLASSES)
    links = ImageLinks(judged.analysis.id if kind is ReportKind.SITE else "", label_space.ids)
    table = error_table(ports, judged, rows, kind)
    names = table.class_names
    groups = label_space.group_members
    percentiles, reference_notes = _compare_with_reference(ports.stores, judged)
    return report_view(
        ReportData(
            analysis=judged.analysis,
            confusions=[
                (pair, _examples(bundle, errors & (targets == pair.target) & (predicted == pair.predicted)))
                for pair in pairs
            ],
            superclasses=[
                (replace(row, name=shorten(row.name)), _groups(groups, classes), {"superclass": row.name})
                for row, classes in zip(
                    compute_breakdown(judged, superclasses=True), label_space.superclasses.members, strict=True
                )
            ],
            classes=[
                (replace(row, name=names[index]), _groups(groups, np.array([index])), {"class_id": index})
                for row in compute_breakdown(judged, superclasses=False)
                if (index := row.class_index) is not None
            ],
            slices=None if judged.attributes is None else slices_of(judged, judged.attributes),
            calibration=None
            if probability is None
            else calibrate(types[counted], probability[counted], (predicted == evidence.targets)[counted]),
            confidence={} if probability is None else _confidence(types[counted], probability[counted]),
            percentiles=percentiles,
            notes=reference_notes,
            has_map=EMBEDDINGS in bundle.arrays,
            errors=list(
                iterate_verdicts(judged, rows[~evidence.problematic[rows]][:STATIC_ERRORS], with_evidence=True)
            ),
            table=table,
            confused=(
                confused,
                count_confusions(targets[has_class], predicted[has_class], types[has_class], confused),
            ),
            links=links,
            agreement=agreement_for(bundle.dataset),
            sources=[SourceRow(source.name, source.origin, source.license) for source in bundle.manifest.sources],
            version=version("errata-service"),
            label_preference=_label_preference(bundle, types, predicted, counted),
        )
    )


def _groups(groups: NDArray[np.bool_], classes: NDArray[np.integer]) -> list[int]:
    return [number for number, inside in enumerate(groups) if inside[classes].any()]


def _examples(bundle: Bundle, mask: NDArray[np.bool_]) -> list[str]:
    return [bundle.judged_names[row] for row in np.flatnonzero(mask)[:MAX_EXAMPLES].tolist()]


def _confidence(
    types: NDArray[np.uint8], probability: NDArray[np.floating]
) -> dict[ErrorType, tuple[int, float, float, float]]:
    """Return the number of samples and the quartiles of the probabilities of each type."""
    confidence = {}
    for error_type in ERROR_TYPES:
        probabilities = probability[(types == error_type.id) & np.isfinite(probability)].astype(float)
        if len(probabilities):
            first, median, third = np.quantile(probabilities, (0.25, 0.5, 0.75)).tolist()
            confidence[error_type] = (len(probabilities), first, median, third)
    return confidence


def _compare_with_reference(stores: Stores, judged: JudgedAnalysis) -> tuple[Sequence[PercentileRank], list[str]]:
    """Return the percentiles among the published models, or else among the own models, and notes about them."""
    if judged.analysis.implausible:
        return (), []
    result, curves = StoredResult.of(judged.analysis, ALL), published_models_of(judged.bundle.manifest)
    if curves is not None:
        own_superclasses = has_own_superclasses(judged.bundle.manifest)
        percentiles = percentile_ranks_of(curves, ALL, result, own_superclasses)
        return percentiles, [CUSTOM_SUPERCLASSES_NOTE] if percentiles and own_superclasses else []
    results = stores.index.results(judged.bundle.dataset, judged.bundle.digest, ALL)
    others = OwnModels.of(results).without(result)
    changed_labels = curves_of(judged.bundle.dataset) is not None
    percentiles = percentile_ranks_among(others, ALL, result, judged.bundle.class_mean_scale)
    return percentiles, [own_models_note(len(others), changed_labels)]


def _label_preference(
    bundle: Bundle, types: NDArray[np.uint8], predicted: NDArray[np.int16], counted: NDArray[np.bool_]
) -> tuple[int, int] | None:
    """Count the out-of-vocabulary errors for which CLIP prefers a label.

    Returns:
        The number of these errors, and the number of all out-of-vocabulary errors; None if the bundle does not store
        which text CLIP prefers.
    """
    rows = np.flatnonzero(counted & (types == ErrorType.FINE_GRAINED_OOV.id))
    preferred = bundle.labels_preferred(rows, predicted[rows])
    return None if preferred is None else (int(preferred.sum()), len(rows))
