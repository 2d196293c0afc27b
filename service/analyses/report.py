"""Render an analysis, a comparison, or a trend as HTML: a self-contained file, or a page of the web server."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version

import numpy as np
from errata.errors import InvalidRequest
from errata.messages import attribute_note
from numpy.typing import NDArray

from service.analyses.breakdown import compute_breakdown
from service.analyses.compare import compare_judged
from service.analyses.compare_images import compare_images
from service.analyses.explain import collect_evidence
from service.analyses.judge import JudgedAnalysis
from service.analyses.ports import Ports, Stores
from service.analyses.slices import slices_of
from service.analyses.trend import TrendRequest, has_own_superclasses, trend
from service.analyses.verdicts import iterate_verdicts, load_judged
from service.domain import (
    ALL,
    ERROR_TYPES,
    MULTI_LABEL_ERROR_TYPES,
    NO_TYPE,
    POSITIONS,
    TOP1_ERROR_TYPES,
    Attributes,
    ChangeQuery,
    ErrorType,
    ExpertJudgment,
    PercentileRank,
    Stage,
    StoredResult,
    VocabularyEvidence,
    is_among,
)
from service.evidence.agreement import agreement_for
from service.evidence.bundle import Bundle
from service.reference_models.curves import curves_of
from service.report.agreement_view import agreement_view
from service.report.class_names import display_names, shorten
from service.report.comparison_page import ComparisonLinks, PageSource
from service.report.comparison_view import comparison_view
from service.report.error_table import ClassPair, ErrorTable
from service.report.messages.trend import CUSTOM_SUPERCLASSES_NOTE, own_models_note
from service.report.render import render_comparison, render_report, render_trend
from service.report.report_view import ReportData, ReportView, SourceRow, report_view
from service.report.trend_view import trend_view
from service.rules.table import error_types, tags
from service.summary.calibrate import calibrate
from service.summary.confusions import confusions
from service.summary.own_models import OwnModels
from service.summary.percentiles import percentile_ranks_among, percentile_ranks_of

MAX_TABLE_ERRORS = 20_000  # rows of the error table
STATIC_ERRORS = 50  # rows that are visible without JavaScript
MAX_CONFUSIONS = 25
MAX_EXAMPLES = 3  # example images of a confusion
MAX_TEXTS = 300  # errors with vocabulary evidence
MAX_PICTURES = 24  # thumbnails in a self-contained file
PICTURE_SIZE = 96  # pixels
MAX_CARDS = 12  # images of each change on the page of a comparison


def report(ports: Ports, analysis_id: str) -> str:
    """Return the report of an analysis as a self-contained file; raise the errors of `load_judged`."""
    judged = load_judged(ports.stores, analysis_id)
    with ports.observer.stage(Stage.RENDER):
        return render_report(build_view(ports, judged))


def report_page(ports: Ports, analysis_id: str) -> str:
    """Return the report of an analysis as a page with links to pictures and to pages about images."""
    judged = load_judged(ports.stores, analysis_id)
    name = judged.analysis.id
    with ports.observer.stage(Stage.RENDER):
        return render_report(build_view(ports, judged, f"/analyses/{name}/"), name, site=True)


def comparison_report(stores: Stores, id_a: str, id_b: str) -> str:
    """Return the comparison of two analyses as a self-contained file; raise the errors of `compare_judged`."""
    return _render_comparison(load_judged(stores, id_a), load_judged(stores, id_b))


def comparison_page(ports: Ports, id_a: str, id_b: str, query: ChangeQuery) -> str:
    """Return the comparison of two analyses as a page; raise the errors of `compare_images`."""
    a, b = load_judged(ports.stores, id_a), load_judged(ports.stores, id_b)
    changes = compare_images(a, b, query, MAX_CARDS)
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
    return render_trend(trend_view(result, y, has_links=True), site=True)


def build_view(ports: Ports, judged: JudgedAnalysis, base: str = "") -> ReportView:
    """Return the content of a report.

    Args:
        ports: The ports of the use cases.
        judged: The analysis.
        base: URL of the analysis's pages; empty for a self-contained file.
    """
    bundle = judged.bundle
    evidence = bundle.evidence
    types = error_types(judged.verdicts)
    images = bundle.rows
    predicted = judged.predictions.top1[images]
    probability = None if judged.predictions.probability is None else judged.predictions.probability[images]
    counted = ~evidence.problematic & (types != NO_TYPE)
    rows = sort_by_severity(types, evidence.problematic, probability)
    label_space = bundle.label_space
    names = display_names(label_space)
    summary = judged.analysis.summary
    assert summary is not None, "this is a bug: a judged analysis has a summary"
    targets = evidence.effective_targets
    pairs = confusions(targets[counted], predicted[counted], types[counted], MAX_CONFUSIONS)
    groups = label_space.group_members
    percentiles, reference_notes = _compare_with_reference(ports.stores, judged)
    return report_view(
        ReportData(
            analysis=judged.analysis,
            confusions=[
                (pair, _examples(bundle, counted & (targets == pair.target) & (predicted == pair.predicted)))
                for pair in pairs
            ],
            superclasses=[
                (replace(row, name=shorten(row.name)), _groups(groups, classes))
                for row, classes in zip(
                    compute_breakdown(judged, superclasses=True), label_space.superclasses.members, strict=True
                )
            ],
            classes=[
                (replace(row, name=names[index]), _groups(groups, np.array([index])))
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
            errors=list(
                iterate_verdicts(judged, rows[~evidence.problematic[rows]][:STATIC_ERRORS], with_evidence=True)
            ),
            table=_error_table(ports, judged, rows, names, base),
            agreement=agreement_for(bundle.dataset),
            sources=[SourceRow(source.name, source.origin, source.license) for source in bundle.manifest.sources],
            version=version("errata-service"),
            label_preference=_label_preference(bundle, types, predicted, counted),
        )
    )


def sort_by_severity(
    types: NDArray[np.uint8], problematic: NDArray[np.bool_], probability: NDArray[np.floating] | None
) -> NDArray[np.intp]:
    """Return the rows of top-1 errors, (n,): not problematic first, then by falling severity and confidence."""
    rows = np.flatnonzero(is_among(types, TOP1_ERROR_TYPES))
    confidence = np.zeros(len(rows)) if probability is None else np.nan_to_num(probability[rows].astype(float))
    return rows[np.lexsort((rows, -confidence, -POSITIONS[types[rows]], problematic[rows]))]


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
    result, curves = StoredResult.of(judged.analysis, ALL), curves_of(judged.bundle.dataset)
    if curves is not None:
        own_superclasses = has_own_superclasses(judged.bundle.manifest)
        percentiles = percentile_ranks_of(curves, ALL, result, own_superclasses)
        return percentiles, [CUSTOM_SUPERCLASSES_NOTE] if percentiles and own_superclasses else []
    results = stores.index.results(judged.bundle.dataset, judged.bundle.digest, ALL)
    others = OwnModels.of(results).without(result)
    return percentile_ranks_among(others, ALL, result), [own_models_note(len(others))]


def _error_table(
    ports: Ports, judged: JudgedAnalysis, rows: NDArray[np.intp], class_names: Sequence[str], base: str
) -> ErrorTable:
    bundle, total = judged.bundle, len(rows)
    superclasses = bundle.label_space.superclasses
    rows = rows[:MAX_TABLE_ERRORS]
    evidence = bundle.evidence
    images = bundle.rows[rows]
    types = error_types(judged.verdicts)[rows]
    targets, predicted = evidence.effective_targets[rows], judged.predictions.top1[images]
    problematic = evidence.problematic[rows]
    labels = evidence.labels.take(rows)
    names = [bundle.judged_names[row] for row in rows.tolist()]
    probability = judged.predictions.probability
    is_overlap = types == ErrorType.CLASS_OVERLAP.id
    overlapping_pairs = {*zip(targets[is_overlap].tolist(), predicted[is_overlap].tolist(), strict=True)}
    return ErrorTable(
        names=names,
        targets=targets,
        rejected={row: int(evidence.targets[rows[row]]) for row in np.flatnonzero(evidence.rejected[rows]).tolist()},
        predicted=predicted,
        types=types,
        problematic=problematic,
        tags={row: tags(int(judged.verdicts[rows[row]]), True) for row in np.flatnonzero(problematic).tolist()},
        probability=None if probability is None else probability[images],
        labels=labels,
        groups={group: members[rows] for group, members in bundle.groups.items()},
        total=total,
        abstained=bundle.manifest.abstained,
        class_names=class_names,
        superclasses={
            name: members.tolist() for name, members in zip(superclasses.ids, superclasses.members, strict=True)
        },
        pairs=_co_occurring_pairs(bundle, labels.classes, np.repeat(predicted, labels.counts)),
        overlaps={pair: bundle.label_space.overlap_reason(*pair) for pair in overlapping_pairs},
        texts=_vocabulary_evidence(bundle, rows, types, predicted),
        attributes=_attribute_notes(judged.attributes, rows),
        pictures=_pictures(ports, bundle.dataset, names, types) if not base else {},
        experts=_expert_judgments(bundle, rows, predicted),
        agreement=agreement_view(agreement).of_type if (agreement := agreement_for(bundle.dataset)) else {},
        picture_base=f"{base}images/" if base and ports.thumbnails.has(bundle.dataset) else "",
        page_base=f"{base}errors/" if base else "",
    )


def _attribute_notes(attributes: Attributes | None, rows: NDArray[np.intp]) -> dict[int, list[str]]:
    """Return the attributes of each error that has any, by index."""
    if attributes is None:
        return {}
    return {
        index: [attribute_note(item.attribute, item.values) for item in items]
        for index, items in enumerate(attributes.of_rows(rows.tolist()))
        if items
    }


def _co_occurring_pairs(
    bundle: Bundle, labels: NDArray[np.int16], predicted: NDArray[np.int16]
) -> dict[tuple[int, int], ClassPair]:
    """Return the number of images with both label and prediction, (L,) each, and examples."""
    pairs, relation = bundle.pairs, bundle.evidence.cooccurrence
    if pairs is None or relation is None:
        return {}
    co_occurring = np.flatnonzero(relation.holds(labels, predicted))
    distinct = np.unique(np.stack([labels[co_occurring], predicted[co_occurring]], axis=1), axis=0).tolist()
    row_of = {(int(low), int(high)): row for row, (low, high) in enumerate(pairs.classes.tolist())}
    result = {}
    for label, prediction in distinct:
        row = row_of[min(label, prediction), max(label, prediction)]
        numbers = pairs.examples[row]
        result[label, prediction] = ClassPair(int(pairs.counts[row]), tuple(bundle.example_names(numbers[numbers > 0])))
    return result


def _vocabulary_evidence(
    bundle: Bundle, rows: NDArray[np.intp], types: NDArray[np.uint8], predicted: NDArray[np.int16]
) -> Mapping[int, VocabularyEvidence]:
    """Return the vocabulary evidence of the first out-of-vocabulary errors, by index."""
    if bundle.proposals is None:
        return {}
    result = {}
    for index in np.flatnonzero(types == ErrorType.FINE_GRAINED_OOV.id)[:MAX_TEXTS].tolist():
        vocabulary = collect_evidence(bundle, int(rows[index]), int(predicted[index])).vocabulary
        if vocabulary is not None:
            result[index] = vocabulary
    return result


def _label_preference(
    bundle: Bundle, types: NDArray[np.uint8], predicted: NDArray[np.int16], counted: NDArray[np.bool_]
) -> tuple[int, int] | None:
    """Return the out-of-vocabulary errors for which CLIP prefers a label, and all of them; None if it is unknown."""
    rows = np.flatnonzero(counted & (types == ErrorType.FINE_GRAINED_OOV.id))
    preferred = bundle.labels_preferred(rows, predicted[rows])
    return None if preferred is None else (int(preferred.sum()), len(rows))


def _expert_judgments(
    bundle: Bundle, rows: NDArray[np.intp], predicted: NDArray[np.int16]
) -> Mapping[int, ExpertJudgment]:
    """Return what experts judged, by index."""
    judgments = bundle.expert_judgments
    pairs = enumerate(zip(rows.tolist(), predicted.tolist(), strict=True)) if judgments else ()
    return {index: judgments[pair] for index, pair in pairs if pair in judgments}


def _pictures(ports: Ports, dataset: str, names: Sequence[str], types: NDArray[np.uint8]) -> dict[str, str]:
    """Return thumbnails of the first errors as data URLs, by name; empty if the images are not available."""
    if not ports.thumbnails.has(dataset):
        return {}
    errors = np.flatnonzero(is_among(types, MULTI_LABEL_ERROR_TYPES))[:MAX_PICTURES]
    result = {}
    for index in errors.tolist():
        picture = ports.thumbnails.thumbnail(dataset, names[index], PICTURE_SIZE)
        if picture is not None:
            result[names[index]] = "data:image/jpeg;base64," + base64.b64encode(picture).decode()
    return result
