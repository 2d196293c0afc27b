"""Trend: where analyses stand among stored and published models of their accuracy."""

from collections.abc import Sequence

from service.analyses import look
from service.analyses.ports import Ports
from service.domain import Analysis, ErrorType, Group, Metric, Trend, TrendPoint
from service.errors import EvidenceDamaged, EvidenceNotFound, InvalidRequest, NotComparable, Unavailable
from service.evidence.artefacts import ARTEFACT_SUPERCLASSES
from service.evidence.bundle import Manifest
from service.published.curves import curves_of
from service.published.layout import LABELS, PublishedModel, read_models, size_label
from service.summary.trend import allowed_metrics, fits_of, values_of, values_of_group, with_standings

MAX_ASKED = 1000  # analyses by name


def trend(
    ports: Ports, names: Sequence[str], dataset: str, group: Group = Group.ALL, by: str = "", reference: bytes = b""
) -> Trend:
    """Return where analyses stand; without names: all stored ones of the data set.

    reference: published models, in the authors' CSV layout. Raise AnalysisNotFound, NotReady, NotComparable for
    analyses that differ in data set or evidence, InvalidUpload for the reference.
    """
    if len(names) > MAX_ASKED:
        raise InvalidRequest(f"expected at most {MAX_ASKED} names, got {len(names)}", field="names")
    published = read_models(reference) if reference else []
    asked = [look.succeeded(ports, name) for name in dict.fromkeys(names)]
    if asked:
        _check_alike(asked, dataset)
        dataset = asked[0].request.dataset
    stored = [each for each in ports.archive.list() if each.request.dataset == dataset and each.summary is not None]
    evidence = asked[0].evidence if asked else _default_evidence(ports, dataset, stored)
    same = [each for each in stored if each.evidence == evidence]
    return trend_of(
        dataset,
        evidence,
        asked or _newest(same),
        [] if not asked else _others(same, asked),
        published,
        group,
        by,
        own_superclasses=_served_superclasses_differ(ports, dataset, evidence),
        num_left_out=len(stored) - len(same),
    )


def trend_of(
    dataset: str,
    evidence: str,
    analyses: Sequence[Analysis],
    others: Sequence[Analysis],
    published: Sequence[PublishedModel],
    group: Group,
    by: str,
    own_superclasses: bool,
    num_left_out: int = 0,
) -> Trend:
    """Return where analyses stand; others are shown beside them, all were judged with the same evidence."""
    curves = curves_of(dataset)
    abstained: tuple[ErrorType, ...] = ()
    points = []
    for each in (*analyses, *others):
        assert each.summary is not None, "this is a bug: what has succeeded has a summary"
        abstained = each.summary.abstained
        accuracy = each.summary.groups[Group.ALL].top1_accuracy
        if accuracy is None:
            continue
        values = values_of_group(each.summary.groups[group])
        if curves is not None or published:  # what hangs on a silent rule isn't comparable with models that had it
            values = {metric: values[metric] for metric in allowed_metrics(abstained) if metric in values}
        point = TrendPoint(each.id, each.title, label_of(each, by), each in analyses, accuracy, values)
        points.append(point if curves is None else with_standings(point, curves, group, abstained))
    points += [
        TrendPoint(
            "",
            model.name,
            model.labels.get(by, ""),
            False,
            model.top1_accuracy,
            values_of(model.counts, model.multi_label_accuracy),
        )
        for model in published
    ]
    metrics = [each for each in Metric if each is not Metric.POOLED or abstained]
    return Trend(
        dataset=dataset,
        evidence=evidence,
        group=group,
        by=by,
        points=tuple(points),
        fits=fits_of(points, metrics),
        curves=curves,
        abstained=abstained,
        own_superclasses=own_superclasses,
        num_left_out=num_left_out,
    )


def label_of(analysis: Analysis, by: str) -> str:
    """Return what tells an analysis apart: its own label of that name, or what is known of its model."""
    if not by:
        return ""
    own = analysis.request.labels.get(by, "")
    if own and by == "size" and own.isdigit():
        return size_label(int(own))
    if own:
        return own
    if by in ("architecture", "architecture-family") and analysis.model_info is not None:
        return analysis.model_info.architecture if by == "architecture" else ""
    return ""


def labels_known() -> tuple[str, ...]:
    """Return the labels that published models have."""
    return tuple(LABELS)


def _check_alike(analyses: Sequence[Analysis], dataset: str) -> None:
    datasets = {each.request.dataset for each in analyses} | ({dataset} if dataset else set())
    if len(datasets) > 1:
        raise NotComparable(f"expected analyses of one data set, got {', '.join(sorted(datasets))}", field="names")
    evidence = sorted({each.evidence[:12] for each in analyses})
    if len(evidence) > 1:
        raise NotComparable(
            f"expected analyses judged with the same evidence, got {', '.join(evidence)}: "
            f"errata reanalyze A --evidence {evidence[0]} judges one anew",
            field="names",
        )


def _default_evidence(ports: Ports, dataset: str, stored: Sequence[Analysis]) -> str:
    """Return the evidence of the newest stored analysis, or that which the data set is judged with by default."""
    if stored:
        return max(stored, key=lambda each: each.id).evidence
    return ports.shelf.find(dataset, "").digest


def _newest(analyses: Sequence[Analysis]) -> list[Analysis]:
    """Return analyses, newest first, without repetitions of the same predictions."""
    found: dict[str, Analysis] = {}
    for each in sorted(analyses, key=lambda each: each.id, reverse=True):
        found.setdefault(each.predictions_digest, each)
    return [*found.values()]


def _others(analyses: Sequence[Analysis], asked: Sequence[Analysis]) -> list[Analysis]:
    digests = {each.predictions_digest for each in asked}
    return [each for each in _newest(analyses) if each.predictions_digest not in digests]


def has_own_superclasses(manifest: Manifest) -> bool:
    """Say whether a bundle's superclasses are others than the authors'."""
    return all(source.name != ARTEFACT_SUPERCLASSES for source in manifest.sources)


def _served_superclasses_differ(ports: Ports, dataset: str, evidence: str) -> bool:
    """Say whether a bundle's superclasses are others than the authors'; True too where the bundle isn't served."""
    try:
        return has_own_superclasses(ports.shelf.find(dataset, evidence).manifest)
    except (EvidenceNotFound, EvidenceDamaged, Unavailable):
        return True
