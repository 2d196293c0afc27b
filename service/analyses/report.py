"""Report: a finished analysis, a comparison or a trend as one HTML file, on its own or as a page of a site."""

import base64
from collections.abc import Mapping, Sequence
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray

from service.analyses.breakdown import breakdown
from service.analyses.compare import comparison_of
from service.analyses.explain import evidence_for
from service.analyses.judge import Judged
from service.analyses.ports import Ports
from service.analyses.trend import TrendRequest, has_own_superclasses, trend
from service.analyses.verdicts import judged, records
from service.domain import (
    CLASS_GROUPS,
    ERROR_TYPES,
    MULTI_LABEL_ERROR_TYPES,
    BreakdownRow,
    ErrorType,
    Group,
    PercentileRank,
    VocabularyEvidence,
)
from service.evidence.bundle import Bundle
from service.evidence.labels import validation_name
from service.evidence.overlap import why_overlapping
from service.reference_models.curves import curves_of
from service.report.comparison_view import comparison_view
from service.report.error_table import ClassPair, ErrorTable
from service.report.messages.trend import CUSTOM_SUPERCLASSES_NOTE
from service.report.render import render_comparison, render_report, render_trend
from service.report.report_view import ReportData, ReportView, SourceRow, report_view
from service.report.trend_view import trend_view
from service.rules.table import error_types, tags
from service.summary.calibrate import calibrate
from service.summary.confusions import confusions
from service.summary.trend import standings_of, values_of_group
from service.taxonomy.classes import class_names
from service.taxonomy.groups import class_groups
from service.telemetry import Stage

MOST_ERRORS = 20_000  # in the table
STILL_ERRORS = 50  # that are told without a script
SHOWN_CONFUSIONS = 25
EXAMPLES = 3  # of a confusion
TEXTS = 300  # errors whose texts a report on its own carries
PICTURES = 24  # that a report on its own carries
PICTURE_SIZE = 96  # pixels, of those


def report(ports: Ports, analysis_id: str) -> str:
    """Return the report of an analysis as a file on its own; raise AnalysisNotFound or NotReady."""
    result = judged(ports, analysis_id)
    with ports.stage_timer(Stage.RENDER):
        return render_report(view_of(ports, result))


def report_page(ports: Ports, analysis_id: str) -> str:
    """Return the report of an analysis as a page: pictures and pages about single images are a link away."""
    result = judged(ports, analysis_id)
    name = result.analysis.id
    with ports.stage_timer(Stage.RENDER):
        return render_report(view_of(ports, result, f"/analyses/{name}/"), name, site=True)


def comparison_report(ports: Ports, id_a: str, id_b: str, site: bool = False) -> str:
    """Return the comparison of two analyses as a file on its own, or as a page; raise as `compare` does."""
    a, b = judged(ports, id_a), judged(ports, id_b)
    compared = comparison_of(a, b)
    assert a.analysis.summary is not None and b.analysis.summary is not None, "this is a bug: both are judged"
    return render_comparison(comparison_view(compared, a.analysis.summary, b.analysis.summary), site)


def trend_report(ports: Ports, question: TrendRequest, marked: str = "", site: bool = False) -> str:
    """Return a trend as a file on its own, or as a page; raise as `trend` does."""
    return render_trend(trend_view(trend(ports, question), marked), site)


def view_of(ports: Ports, found: Judged, base: str = "") -> ReportView:
    """Return what a report shows; base: URL of the analysis' own pages, empty for a report on its own."""
    bundle = found.bundle
    evidence = bundle.evidence
    types = error_types(found.verdicts)
    images = bundle.rows
    predicted = found.predictions.top1[images]
    probability = None if found.predictions.probability is None else found.predictions.probability[images]
    counted = ~evidence.problematic & (types != ErrorType.UNSPECIFIED)
    rows = worst_first(types, evidence.problematic, probability)
    members = np.asarray(bundle.arrays["superclass_members"])
    summary = found.analysis.summary
    assert summary is not None, "this is a bug: what is judged has a summary"
    pairs = confusions(evidence.targets[counted], predicted[counted], types[counted], SHOWN_CONFUSIONS)
    groups = class_groups()
    standings = _standings(found)
    return report_view(
        ReportData(
            analysis=found.analysis,
            confusions=[
                (pair, _examples(bundle, counted & (evidence.targets == pair.target) & (predicted == pair.predicted)))
                for pair in pairs
            ],
            superclasses=[
                (row, _groups(groups, np.flatnonzero(inside)))
                for row, inside in zip(breakdown(found, superclasses=True), members, strict=True)
            ],
            classes=[(row, _groups(groups, _class(row))) for row in breakdown(found, superclasses=False)],
            calibration=None if probability is None else calibrate(types[counted], probability[counted]),
            confidence={} if probability is None else _confidence(types[counted], probability[counted]),
            percentiles=standings,
            notes=[CUSTOM_SUPERCLASSES_NOTE] if standings and has_own_superclasses(bundle.manifest) else [],
            errors=list(records(found, rows[~evidence.problematic[rows]][:STILL_ERRORS], with_evidence=True)),
            table=_table(ports, found, rows, members, base),
            sources=[SourceRow(source.name, source.origin, source.license) for source in bundle.manifest.sources],
            version=version("errata-service"),
        )
    )


def worst_first(
    types: NDArray[np.uint8], problematic: NDArray[np.bool_], probability: NDArray[np.floating] | None
) -> NDArray[np.intp]:
    """Return the rows of top-1 errors: counted ones first, then the most severe, then the most confident; (n,)."""
    rows = np.flatnonzero(types > ErrorType.CORRECT)
    sure = np.zeros(len(rows)) if probability is None else np.nan_to_num(probability[rows].astype(float))
    return rows[np.lexsort((rows, -sure, -types[rows].astype(int), problematic[rows]))]


def _class(row: BreakdownRow) -> NDArray[np.intp]:
    assert row.class_index is not None, "this is a bug: a class has an index"
    return np.array([row.class_index])


def _groups(groups: NDArray[np.bool_], classes: NDArray[np.intp]) -> list[Group]:
    return [group for group, inside in zip(CLASS_GROUPS, groups, strict=True) if inside[classes].any()]


def _examples(bundle: Bundle, chosen: NDArray[np.bool_]) -> list[str]:
    return [bundle.judged_names[row] for row in np.flatnonzero(chosen)[:EXAMPLES].tolist()]


def _confidence(
    types: NDArray[np.uint8], probability: NDArray[np.floating]
) -> dict[ErrorType, tuple[int, float, float, float]]:
    """Return how sure the model was of each type's samples: how many, and the quartiles."""
    result = {}
    for error_type_ in ERROR_TYPES:
        sure = probability[(types == error_type_) & np.isfinite(probability)].astype(float)
        if len(sure):
            first, middle, third = np.quantile(sure, (0.25, 0.5, 0.75)).tolist()
            result[error_type_] = (len(sure), first, middle, third)
    return result


def _standings(found: Judged) -> Sequence[PercentileRank]:
    summary, curves = found.analysis.summary, curves_of(found.bundle.dataset)
    assert summary is not None, "this is a bug: what is judged has a summary"
    everything = summary.groups[Group.ALL]
    if curves is None or everything.top1_accuracy is None:
        return ()
    return standings_of(curves, Group.ALL, everything.top1_accuracy, values_of_group(everything), summary.abstained)


def _table(ports: Ports, found: Judged, rows: NDArray[np.intp], members: NDArray[np.bool_], base: str) -> ErrorTable:
    bundle, total = found.bundle, len(rows)
    rows = rows[:MOST_ERRORS]
    evidence = bundle.evidence
    images = bundle.rows[rows]
    types = error_types(found.verdicts)[rows]
    targets, predicted = evidence.targets[rows], found.predictions.top1[images]
    problematic = evidence.problematic[rows]
    labels = evidence.labels.take(rows)
    names = [bundle.judged_names[row] for row in rows.tolist()]
    probability = found.predictions.probability
    overlap = types == ErrorType.CLASS_OVERLAP
    overlapping = {*zip(targets[overlap].tolist(), predicted[overlap].tolist(), strict=True)}
    return ErrorTable(
        names=names,
        targets=targets,
        predicted=predicted,
        types=types,
        problematic=problematic,
        tags={row: tags(int(found.verdicts[rows[row]]), True) for row in np.flatnonzero(problematic).tolist()},
        probability=None if probability is None else probability[images],
        labels=labels,
        groups=np.asarray(bundle.arrays["groups"])[:, rows],
        total=total,
        abstained=bundle.manifest.abstained,
        class_names=class_names(),
        superclasses={
            name: np.flatnonzero(inside).tolist()
            for name, inside in zip(bundle.manifest.superclasses, members, strict=True)
        },
        pairs=_pairs(bundle, labels.classes, np.repeat(predicted, labels.counts)),
        overlaps={pair: why_overlapping(*pair) for pair in overlapping},
        texts=_texts(bundle, rows, types, predicted),
        pictures=_pictures(ports, bundle.dataset, names, types) if not base else {},
        picture_base=f"{base}images/" if base and ports.pictures.has(bundle.dataset) else "",
        page_base=f"{base}errors/" if base else "",
    )


def _pairs(bundle: Bundle, labels: NDArray[np.int16], predicted: NDArray[np.int16]) -> dict[tuple[int, int], ClassPair]:
    """Return how often labels and predictions, (L,) both, are seen together."""
    pairs, matrix = bundle.pairs, bundle.evidence.cooccurrence
    if pairs is None or matrix is None:
        return {}
    seen = np.flatnonzero(matrix[labels, predicted])
    both = np.unique(np.stack([labels[seen], predicted[seen]], axis=1), axis=0).tolist()
    place = {(int(low), int(high)): row for row, (low, high) in enumerate(pairs.classes.tolist())}
    result = {}
    for label, prediction in both:
        row = place[min(label, prediction), max(label, prediction)]
        examples = tuple(validation_name(number) for number in pairs.examples[row].tolist() if number)
        result[label, prediction] = ClassPair(int(pairs.counts[row]), examples)
    return result


def _texts(
    bundle: Bundle, rows: NDArray[np.intp], types: NDArray[np.uint8], predicted: NDArray[np.int16]
) -> Mapping[int, VocabularyEvidence]:
    """Return what CLIP said of the first errors out of vocabulary."""
    if bundle.proposals is None:
        return {}
    result = {}
    for place in np.flatnonzero(types == ErrorType.FINE_GRAINED_OOV)[:TEXTS].tolist():
        said = evidence_for(bundle, int(rows[place]), int(predicted[place])).vocabulary
        if said is not None:
            result[place] = said
    return result


def _pictures(ports: Ports, dataset: str, names: Sequence[str], types: NDArray[np.uint8]) -> dict[str, str]:
    """Return small pictures of the worst errors as data URLs, where the images are at hand."""
    if not ports.pictures.has(dataset):
        return {}
    wrong = np.flatnonzero(np.isin(types, MULTI_LABEL_ERROR_TYPES))[:PICTURES]
    result = {}
    for place in wrong.tolist():
        picture = ports.pictures.thumbnail(dataset, names[place], PICTURE_SIZE)
        if picture is not None:
            result[names[place]] = "data:image/jpeg;base64," + base64.b64encode(picture).decode()
    return result
