"""Trend: where analyses stand among stored and published models of their accuracy."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from errata.errors import (
    EvidenceDamaged,
    EvidenceNotFound,
    InvalidRequest,
    InvalidUpload,
    NotComparable,
    Unavailable,
)

from service.analyses import queries
from service.analyses.ports import Ports
from service.analyses.request import MAX_TEXT
from service.domain import Analysis, Group, Metric, Trend, TrendPoint
from service.evidence.artefacts import ARTEFACT_SUPERCLASSES
from service.evidence.bundle import Manifest
from service.reference_models.curves import curves_of
from service.reference_models.layout import PublishedModel, read_models, size_label
from service.summary.trend import add_percentile_ranks, allowed_metrics, fits_of, group_metric_values, metric_values

MAX_ASKED = 1000  # analyses by name
MAX_LABELS = 50  # that are told apart; models with rarer ones count as others


@dataclass(frozen=True)
class TrendRequest:
    """What a trend is asked to show."""

    names: Sequence[str] = ()  # ids of analyses; empty: all stored ones of the data set
    dataset: str = ""  # empty: that of the named
    group: Group = Group.ALL
    by: str = ""  # the label that tells models apart
    reference: bytes = b""  # published models, in the authors' CSV layout


@dataclass(frozen=True)
class Fleet:
    """The analyses of a trend, all of one data set and judged with the same evidence."""

    dataset: str
    evidence: str
    asked: Sequence[Analysis]  # by name
    others: Sequence[Analysis]
    own_superclasses: bool
    num_left_out: int = 0


def trend(ports: Ports, question: TrendRequest) -> Trend:
    """Return where analyses stand.

    Raise AnalysisNotFound, NotReady, NotComparable for analyses that differ in data set or evidence, InvalidUpload for
    the reference.
    """
    if len(question.names) > MAX_ASKED:
        raise InvalidRequest(f"expected at most {MAX_ASKED} names, got {len(question.names)}", field="names")
    if len(question.by) > MAX_TEXT:
        raise InvalidRequest(f"expected at most {MAX_TEXT} characters, got {len(question.by)}", field="by")
    published = read_published(question)
    asked = [queries.succeeded(ports, name) for name in dict.fromkeys(question.names)]
    check_alike(asked, question.dataset)
    dataset = asked[0].request.dataset if asked else question.dataset
    stored = [item for item in ports.archive.list() if item.request.dataset == dataset and item.summary is not None]
    evidence = asked[0].evidence if asked else _default_evidence(ports, dataset, stored)
    same = [item for item in stored if item.evidence == evidence]
    fleet = Fleet(
        dataset,
        evidence,
        asked,
        _others(same, asked, question.by),
        own_superclasses=_served_superclasses_differ(ports, dataset, evidence),
        num_left_out=len(stored) - len(same),
    )
    return trend_of(fleet, question, published)


def read_published(question: TrendRequest) -> list[PublishedModel]:
    """Return the published models that came along; raise InvalidUpload for those of another group."""
    if not question.reference:
        return []
    models = read_models(question.reference)
    whole = question.group is Group.ALL
    if any(model.covers_all_samples is (not whole) for model in models):
        asked, got = ("all samples", "of one group") if whole else (f"the group {question.group}", "of all samples")
        raise InvalidUpload(
            f"expected published models of {asked}, got some {got}: the authors have a file a group", field="reference"
        )
    return models


def trend_of(fleet: Fleet, question: TrendRequest, published: Sequence[PublishedModel]) -> Trend:
    """Return where analyses stand, beside others and beside published models."""
    curves = curves_of(fleet.dataset)
    members = (*fleet.asked, *fleet.others)
    abstained = members[0].summary.abstained if members and members[0].summary else ()
    silent = {item.name for item in abstained}  # they say nothing, which isn't 0
    shown: Sequence[Metric] = [item for item in Metric if item.name not in silent]
    if curves is not None or published:  # what hangs on a silent rule isn't comparable with models that had it
        shown = allowed_metrics(abstained)
    points = []
    for place, each in enumerate(members):
        assert each.summary is not None, "this is a bug: what has succeeded has a summary"
        accuracy = each.summary.groups[Group.ALL].top1_accuracy
        if accuracy is None:
            continue
        result = group_metric_values(each.summary.groups[question.group])
        values = {metric: result[metric] for metric in shown if metric in result}
        asked = place < len(fleet.asked)
        point = TrendPoint(each.id, each.title, label_of(each, question.by), asked, accuracy, values)
        points.append(point if curves is None else add_percentile_ranks(point, curves, question.group, abstained))
    points += [
        TrendPoint(
            "",
            model.name,
            model.labels.get(question.by, ""),
            False,
            model.top1_accuracy,
            metric_values(model.counts, model.multi_label_accuracy),
        )
        for model in published
    ]
    metrics = [item for item in Metric if item is not Metric.POOLED or abstained]
    return Trend(
        dataset=fleet.dataset,
        evidence=fleet.evidence,
        group=question.group,
        by=question.by,
        points=tuple(points),
        fits=fits_of(points, metrics, _frequent(points), curves, question.group),
        curves=curves,
        abstained=abstained,
        own_superclasses=fleet.own_superclasses,
        num_left_out=fleet.num_left_out,
    )


def label_of(analysis: Analysis, by: str) -> str:
    """Return what tells an analysis apart: its own label of that name, or what is known of its model."""
    own = analysis.request.labels.get(by, "") if by else ""
    if own and by == "size" and own.isascii() and own.isdigit() and len(own) < 16:
        return size_label(int(own))
    if not own and by == "architecture" and analysis.model_info is not None:
        return analysis.model_info.architecture
    return own


def check_alike(analyses: Sequence[Analysis], dataset: str = "") -> None:
    """Raise NotComparable unless analyses are of one data set and were judged with the same evidence."""
    datasets = {analysis.request.dataset for analysis in analyses} | ({dataset} if dataset else set())
    if len(datasets) > 1:
        raise NotComparable(f"expected analyses of one data set, got {', '.join(sorted(datasets))}", field="names")
    evidence = sorted({analysis.evidence[:12] for analysis in analyses})
    if len(evidence) > 1:
        raise NotComparable(
            f"expected analyses judged with the same evidence, got {', '.join(evidence)}: "
            f"errata reanalyze A --evidence {evidence[0]} judges one anew",
            field="names",
        )


def has_own_superclasses(manifest: Manifest) -> bool:
    """Say whether a bundle's superclasses are others than the authors'."""
    return all(source.name != ARTEFACT_SUPERCLASSES for source in manifest.sources)


def _frequent(points: Sequence[TrendPoint]) -> list[str]:
    """Return the labels that most models have, in order."""
    counts = Counter(point.label for point in points if point.label)
    return sorted(label for label, _ in counts.most_common(MAX_LABELS))


def _default_evidence(ports: Ports, dataset: str, stored: Sequence[Analysis]) -> str:
    """Return the evidence of the newest stored analysis, or that which the data set is judged with by default."""
    if stored:
        return max(stored, key=lambda item: item.id).evidence
    return ports.evidence.find(dataset, "").digest


def _others(analyses: Sequence[Analysis], asked: Sequence[Analysis], by: str) -> list[Analysis]:
    """Return the analyses that weren't asked for, newest first, each set of predictions once: where it has a label."""
    taken = {item.predictions_digest for item in asked}
    result: dict[str, Analysis] = {}
    for analysis in sorted(analyses, key=lambda analysis: (bool(label_of(analysis, by)), analysis.id), reverse=True):
        if analysis.predictions_digest not in taken:
            result.setdefault(analysis.predictions_digest, analysis)
    return sorted(result.values(), key=lambda item: item.id, reverse=True)


def _served_superclasses_differ(ports: Ports, dataset: str, evidence: str) -> bool:
    """Say whether a bundle's superclasses are others than the authors'; True too where the bundle isn't served."""
    try:
        return has_own_superclasses(ports.evidence.find(dataset, evidence).manifest)
    except (EvidenceNotFound, EvidenceDamaged, Unavailable):
        return True
