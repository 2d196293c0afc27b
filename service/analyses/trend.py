"""Compare analyses with archived and published models of similar accuracy."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from errata.errors import (
    EvidenceDamaged,
    EvidenceNotFound,
    InvalidRequest,
    InvalidUpload,
    NotComparable,
    Unavailable,
)
from errata.groups import check_group

from service.analyses import queries
from service.analyses.compare import labels_difference
from service.analyses.ports import Stores
from service.analyses.request import MAX_TEXT
from service.domain import (
    ALL,
    AXES,
    IMAGENET_1K,
    METRICS,
    NEWEST_FIRST,
    POOLED,
    Analysis,
    AnalysisFilter,
    Axis,
    Curves,
    ErrorType,
    Metric,
    PercentileRank,
    State,
    StoredResult,
    Trend,
    TrendPoint,
)
from service.evidence.artefacts import ARTEFACT_SUPERCLASSES
from service.evidence.bundle import Bundle
from service.evidence.inputs import LABELS_FILE
from service.evidence.manifest import Manifest
from service.reference_models.curves import curves_of
from service.reference_models.layout import PublishedModel, read_models, size_label
from service.summary.own_models import OwnModels
from service.summary.percentiles import has_reference, percentile_ranks_among, percentile_ranks_of, shown_metrics
from service.summary.trend import accuracies_of, fits_of, metric_intervals, metric_values

MAX_NAMES = 1000  # selected analyses
MAX_OTHERS = 2000  # models that are not selected; each takes 1 KB of the page
MAX_RANKED = 20  # analyses with percentiles, whose intervals take about 20 ms each
MAX_LABELS = 50  # labels with a fit, and label keys; models with rarer labels have no fit of a label
OWNER, MODEL = "owner", "model"  # models can be grouped by these even if they have no such label


@dataclass(frozen=True)
class TrendRequest:
    """The request of a trend."""

    names: Sequence[str] = ()  # ids of the selected analyses; empty: all archived ones of the data set
    dataset: str = ""  # empty: that of the selected analyses, or without any, `queries.default_dataset`
    group: str = ALL
    by: str = ""  # label by which models are grouped
    reference: bytes = b""  # published models, in the CSV layout of the paper's authors
    x: Axis | None = None  # accuracy that all metrics are plotted over; None: as in the paper
    owner: str = ""  # of the archived analyses that are not selected; empty: any


@dataclass(frozen=True)
class TrendAnalyses:
    """The analyses of a trend: all of one data set, and judged with the same evidence."""

    dataset: str
    evidence: str
    selected: Sequence[StoredResult]
    others: Sequence[StoredResult]
    own_superclasses: bool
    groups: Sequence[str]
    same_evidence: Sequence[StoredResult] = ()  # all analyses with this evidence, including other versions and owners
    num_left_out: int = 0
    num_of_version: Mapping[tuple[str, str], int] = field(default_factory=dict)  # analyses by version of a model
    changed_labels: bool | None = False  # whether the evidence has other labels than the authors'; None: unknown
    class_mean_scale: float = 1.0  # see `percentile_ranks_among`


def check_name_count(count: int) -> None:
    """Raise InvalidRequest if a request selects too many analyses."""
    if count > MAX_NAMES:
        raise InvalidRequest(f"The request names {count} analyses. Name at most {MAX_NAMES}.", field="analyses")


def trend(stores: Stores, request: TrendRequest) -> Trend:
    """Compare analyses with archived and published models.

    Raises:
        AnalysisNotFound: A selected analysis does not exist.
        NotReady: A selected analysis has no result.
        NotComparable: The selected analyses differ in data set or evidence, or have implausible predictions.
        InvalidUpload: The file of published models is invalid.
        InvalidRequest: There are too many names, the label or the owner is too long, or the data set has no such group.
    """
    check_name_count(len(request.names))
    if len(request.by) > MAX_TEXT:
        raise InvalidRequest(f"The label of --by has {len(request.by)} characters. Use at most {MAX_TEXT}.", field="by")
    if len(request.owner) > MAX_TEXT:
        raise InvalidRequest(f"The owner has {len(request.owner)} characters. Use at most {MAX_TEXT}.", field="owner")
    published = read_published_models(request)
    selected = [queries.get_succeeded(stores, name) for name in dict.fromkeys(request.names)]
    check_same_evidence(selected, request.dataset)
    check_plausible(selected)
    dataset = selected[0].request.dataset if selected else request.dataset
    dataset = dataset or queries.default_dataset(stores, request.owner)
    archived = AnalysisFilter(frozenset({State.SUCCEEDED}), dataset=dataset, owner=request.owner)
    evidence = selected[0].evidence if selected else _default_evidence(stores, archived)
    bundle = _find_bundle(stores, dataset, evidence)
    groups = _groups(stores, bundle, selected, replace(archived, evidence=evidence))
    check_group(request.group, groups, "group")
    same_evidence = stores.index.results(dataset, evidence, request.group)
    of_owner = [result for result in same_evidence if request.owner in ("", result.owner)]
    results = [StoredResult.of(analysis, request.group) for analysis in selected]
    analyses = TrendAnalyses(
        dataset,
        evidence,
        results,
        _find_others(of_owner, results, request.by),
        own_superclasses=bundle is None or has_own_superclasses(bundle.manifest),
        groups=groups,
        same_evidence=same_evidence,
        num_left_out=stores.index.count(archived) - len(of_owner),
        num_of_version=Counter(result.version for result in of_owner),
        changed_labels=bundle is not None and has_other_labels(bundle.manifest),
        class_mean_scale=1.0 if bundle is None else bundle.class_mean_scale,
    )
    return build_trend(analyses, request, published)


def read_published_models(request: TrendRequest) -> list[PublishedModel]:
    """Return the published models of a request; raise InvalidUpload if the file is invalid or has another group."""
    if not request.reference:
        return []
    models = read_models(request.reference)
    is_whole = request.group == ALL
    if any(model.covers_all_samples is (not is_whole) for model in models):
        expected, actual = ("all samples", "one group") if is_whole else (f"the group '{request.group}'", "all samples")
        raise InvalidUpload(
            f"The published models cover {actual}, but the trend covers {expected}. Pass the authors' file for "
            f"{expected}.",
            field="reference",
        )
    return models


def build_trend(analyses: TrendAnalyses, request: TrendRequest, published: Sequence[PublishedModel]) -> Trend:
    """Return the trend of analyses and published models."""
    published_curves = None if analyses.changed_labels else curves_of(analyses.dataset)
    num_older = max(0, len(analyses.others) - MAX_OTHERS)
    analyses = replace(analyses, others=analyses.others[:MAX_OTHERS])
    axes = _axes(request.x)
    curves = _comparable_curves(published_curves, analyses.own_superclasses, axes)
    members = (*analyses.selected, *analyses.others)
    abstained = members[0].abstained if members else ()
    points = _analysis_points(analyses, request, _metrics(abstained, curves is not None or bool(published)))
    own_models = OwnModels.of([*analyses.selected, *analyses.same_evidence])
    if published_curves is not None:
        rank = partial(percentile_ranks_of, published_curves, request.group, own_superclasses=analyses.own_superclasses)
    else:
        rank = partial(_ranks_among_own, own_models, request.group, class_mean_scale=analyses.class_mean_scale)
    points = _add_percentile_ranks(points, analyses, rank)
    without_images = tuple(result.title for result in analyses.selected if accuracies_of(result) is None)
    # A model is not compared with itself, if it is one of the own models: those have evaluated images.
    is_own_model = not analyses.selected or len(without_images) < len(analyses.selected)
    own_superclasses = curves is not None and analyses.own_superclasses
    is_comparable = partial(has_reference, own_superclasses=own_superclasses)
    points += [_published_point(model, request.by, is_comparable) for model in published]
    fitted_axes = {metric: axis for metric, axis in axes.items() if metric != POOLED or abstained}
    return Trend(
        dataset=analyses.dataset,
        evidence=analyses.evidence,
        group=request.group,
        by=request.by,
        owner=request.owner,
        points=tuple(points),
        fits=fits_of(points, fitted_axes, _frequent_labels(points), curves, request.group),
        curves=curves,
        abstained=abstained,
        own_superclasses=analyses.own_superclasses,
        num_left_out=analyses.num_left_out,
        num_older=num_older,
        groups=tuple(analyses.groups),
        num_other_models=0 if published_curves is not None else max(0, len(own_models) - is_own_model),
        axes=axes,
        changed_labels=analyses.changed_labels if curves_of(analyses.dataset) is not None else False,
        has_rejected_targets=any(result.has_rejected_targets for result in members),
        without_images=without_images,
        label_keys=tuple(sorted({key for result in members for key in result.labels})[:MAX_LABELS]),
    )


def _ranks_among_own(
    models: OwnModels, group: str, result: StoredResult, class_mean_scale: float
) -> tuple[PercentileRank, ...]:
    return percentile_ranks_among(models.without(result), group, result, class_mean_scale)


def _axes(x: Axis | None) -> Mapping[Metric, Axis]:
    """Return the accuracy that each metric is plotted over. An accuracy is not plotted over itself."""
    if x is None:
        return AXES
    return {metric: x for metric in METRICS if metric != x.value}


def _comparable_curves(curves: Curves | None, own_superclasses: bool, axes: Mapping[Metric, Axis]) -> Curves | None:
    """Return the curves of the metrics that have a reference and are plotted over the axis of the published models."""
    if curves is None:
        return None
    keys = {
        (group, metric)
        for group, metric in curves.quantiles
        if has_reference(metric, own_superclasses) and axes.get(metric) is AXES[metric]
    }
    return replace(
        curves,
        quantiles={key: curves.quantiles[key] for key in keys},
        fits={key: curves.fits[key] for key in keys & curves.fits.keys()},
    )


def _metrics(abstained: Sequence[ErrorType], has_published: bool) -> Sequence[Metric]:
    """Return the metrics: `shown_metrics` with published models, otherwise all except those of abstained rules."""
    if has_published:
        return shown_metrics(abstained)
    abstained_keys = {error_type.key for error_type in abstained}
    return [metric for metric in METRICS if metric not in abstained_keys]


def _analysis_points(analyses: TrendAnalyses, request: TrendRequest, metrics: Sequence[Metric]) -> list[TrendPoint]:
    points = []
    selected_ids = {result.id for result in analyses.selected}
    for result in (*analyses.selected, *analyses.others):
        accuracies = accuracies_of(result)
        if accuracies is None:
            continue
        values = metric_values(result.group)
        points.append(
            TrendPoint(
                id=result.id,
                title=result.title,
                label=group_label(result, request.by),
                is_selected=result.id in selected_ids,
                accuracies=accuracies,
                values={metric: values[metric] for metric in metrics if metric in values},
                num_analyses=analyses.num_of_version.get(result.version, 1),
                coverage=result.coverage,
                owner=result.owner,
            )
        )
    return points


def _add_percentile_ranks(
    points: Sequence[TrendPoint],
    analyses: TrendAnalyses,
    rank: Callable[[StoredResult], tuple[PercentileRank, ...]],
) -> list[TrendPoint]:
    """Return points with percentiles and intervals for at most MAX_RANKED analyses, the selected ones first."""
    results = {result.id: result for result in (*analyses.selected, *analyses.others)}
    ranked = [
        replace(
            point,
            percentile_ranks=rank(results[point.id]),
            intervals=metric_intervals(results[point.id].group),
        )
        for point in points[:MAX_RANKED]
    ]
    return [*ranked, *points[MAX_RANKED:]]


def _published_point(model: PublishedModel, by: str, is_comparable: Callable[[Metric], bool]) -> TrendPoint:
    values = {metric: value for metric, value in metric_values(model.numbers).items() if is_comparable(metric)}
    return TrendPoint("", model.name, model.labels.get(by, ""), False, model.accuracies, values)


def group_label(result: StoredResult, by: str) -> str:
    """Return the label `by` of a result; if it is missing, the owner, model, or architecture if `by` names this."""
    if label := result.labels.get(by, "") if by else "":
        is_size = by == "size" and label.isascii() and label.isdigit() and len(label) < 16
        return size_label(int(label)) if is_size else label
    return {OWNER: result.owner, MODEL: result.model[0], "architecture": result.architecture}.get(by, "")


def check_same_evidence(analyses: Sequence[Analysis], dataset: str = "") -> None:
    """Raise NotComparable unless analyses have the same data set and were judged with the same evidence."""
    datasets = {analysis.request.dataset for analysis in analyses} | ({dataset} if dataset else set())
    if len(datasets) > 1:
        raise NotComparable(
            f"Cannot combine analyses of different data sets ({', '.join(sorted(datasets))}). Select analyses of one "
            "data set.",
            field="analyses",
        )
    evidence = sorted({analysis.evidence[:12] for analysis in analyses})
    if len(evidence) > 1:
        raise NotComparable(
            f"Cannot combine analyses judged with different evidence ({', '.join(evidence)})."
            f"{labels_difference(analyses)} Judge them again with the same evidence, for example with "
            f"'errata reanalyze NAME --evidence {evidence[0]}'.",
            field="analyses",
        )


def check_plausible(analyses: Sequence[Analysis]) -> None:
    """Raise NotComparable for an analysis of implausible predictions."""
    for analysis in analyses:
        if analysis.implausible:
            raise NotComparable(
                f"The predictions of analysis {analysis.id} are implausible: see its warnings. Upload them with the "
                "right row order and class numbering, or remove the analysis from the trend.",
                field="analyses",
            )


def published_models_of(manifest: Manifest) -> Curves | None:
    """Return the curves of the published models of a bundle; None if there are none, or if it has other labels."""
    return None if has_other_labels(manifest) else curves_of(manifest.dataset)


def has_other_labels(manifest: Manifest) -> bool:
    """Return whether a bundle's labels differ from those of the paper's authors, whatever the name of its data set."""
    is_own = any(source.name == LABELS_FILE for source in manifest.sources)
    return is_own or manifest.label_space != IMAGENET_1K or bool(manifest.base)


def has_own_superclasses(manifest: Manifest) -> bool:
    """Return whether a bundle's superclasses differ from the superclasses of the paper's authors."""
    return all(source.name != ARTEFACT_SUPERCLASSES for source in manifest.sources)


def _frequent_labels(points: Sequence[TrendPoint]) -> list[str]:
    """Return the most frequent labels, sorted."""
    counts = Counter(point.label for point in points if point.label)
    return sorted(label for label, _ in counts.most_common(MAX_LABELS))


def _default_evidence(stores: Stores, archived: AnalysisFilter) -> str:
    """Return the digest of the evidence of the newest archived analysis; without analyses, of the default bundle."""
    newest = stores.index.find(archived, NEWEST_FIRST, None, 1)
    return newest[0].evidence if newest else stores.evidence.find(archived.dataset, "").digest


def _find_others(results: Sequence[StoredResult], selected: Sequence[StoredResult], by: str) -> list[StoredResult]:
    """Return one result for each model version that is not selected, newest first.

    If any results of a version have the label `by`, the newest of these is returned; else the newest result.
    """
    selected_versions = {result.version for result in selected}
    others: dict[tuple[str, str], StoredResult] = {}
    for result in sorted(results, key=lambda result: (bool(group_label(result, by)), result.time_key), reverse=True):
        if result.version not in selected_versions:
            others.setdefault(result.version, result)
    return sorted(others.values(), key=lambda result: result.time_key, reverse=True)


def _find_bundle(stores: Stores, dataset: str, evidence: str) -> Bundle | None:
    """Return a bundle; None if it is not served or cannot be read."""
    try:
        return stores.evidence.find(dataset, evidence)
    except (EvidenceNotFound, EvidenceDamaged, Unavailable):
        return None


def _groups(
    stores: Stores, bundle: Bundle | None, selected: Sequence[Analysis], archived: AnalysisFilter
) -> tuple[str, ...]:
    """Return the groups of a bundle, or those of an analysis if the bundle is not served."""
    if bundle is not None:
        return (ALL, *bundle.label_space.groups)
    analyses = selected[:1] or stores.index.find(archived, NEWEST_FIRST, None, 1)
    return tuple(analyses[0].summary.groups) if analyses and analyses[0].summary is not None else (ALL,)
