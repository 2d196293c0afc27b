"""The trend of stored results: comparable metrics, percentiles, and one point for each version of a model."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.analyses.judge import compute_summary
from service.analyses.ports import Ports
from service.analyses.queries import default_dataset
from service.analyses.report import report
from service.analyses.trend import MAX_OTHERS, MAX_RANKED, TrendAnalyses, TrendRequest, build_trend
from service.analyses.trend import trend as compute_trend
from service.bootstrap.build import Inputs, build_evidence
from service.caller import restricted_to
from service.domain import (
    ALL,
    AXES,
    METRICS,
    Analysis,
    AnalysisRequest,
    Axis,
    Decision,
    ErrorType,
    GroupNumbers,
    NoReferenceReason,
    Predictions,
    State,
    StoredResult,
    Trend,
)
from service.evidence.build import write_bundle
from service.evidence.bundle import Bundle, open_bundle
from service.evidence.labels import original_labels, validation_name
from service.evidence.relabeled import relabel
from service.evidence.repository import EvidenceRepository
from service.evidence.reviewed import apply_decisions
from service.reference_models.layout import PublishedModel
from service.report.messages.trend import UNKNOWN_LABELS_NOTE, trend_notes
from service.taxonomy.imagenet_1k import GROUPS

from .conftest import Backend

COUNTS = (14_900, 80, 900, 900, 200, 200, 12, 1500)
NUMBERS = GroupNumbers(dict(zip(tuple(ErrorType), COUNTS, strict=True)), 0.85)
OVER_TOP1 = {"class_overlap", "multi_label", "multi_label_accuracy"}


def result(number: int = 0, **changes: object) -> StoredResult:
    stored = StoredResult(
        id=f"a{number:04}",
        title=f"model {number}",
        labels={},
        architecture="",
        predictions_digest=f"digest {number}",
        model=("", ""),
        abstained=(),
        top1_accuracy=14_900 / sum(COUNTS),
        overall=NUMBERS,
        group=NUMBERS,
    )
    return replace(stored, **changes)  # type: ignore[arg-type]


def trend(
    *others: StoredResult,
    selected: tuple[StoredResult, ...] = (),
    dataset: str = "imagenet",
    own_superclasses: bool = False,
    request: TrendRequest | None = None,
    published: tuple[PublishedModel, ...] = (),
) -> Trend:
    analyses = TrendAnalyses(dataset, "e" * 64, selected, others, own_superclasses, (ALL, *GROUPS))
    return build_trend(analyses, request or TrendRequest(), published)


def published_model() -> PublishedModel:
    return PublishedModel("net", {Axis.TOP1: 0.8, Axis.MULTI_LABEL: 0.86}, NUMBERS, {}, True)


def test_points_have_both_accuracies_over_all_samples() -> None:
    """The group has an accuracy of its own, which is a metric and not an axis."""
    group = GroupNumbers(NUMBERS.counts, 0.5)

    (point,) = trend(result(group=group), request=TrendRequest(group="other")).points

    assert point.accuracies == {Axis.TOP1: 14_900 / sum(COUNTS), Axis.MULTI_LABEL: 0.85}
    assert point.values["multi_label_accuracy"] == 0.5


def test_models_are_compared_with_published_models_on_the_evidence_of_the_authors() -> None:
    compared = trend(result(), published=(published_model(),))

    assert compared.curves is not None
    assert {metric for _, metric in compared.curves.quantiles} == set(METRICS)
    own, published = compared.points
    assert set(own.values) == set(published.values) - {"pooled"} == set(METRICS) - {"pooled"}
    assert {rank.metric for rank in own.percentile_ranks} == set(METRICS) - {"pooled"}
    assert all(rank.low is not None for rank in own.percentile_ranks)


def test_other_superclasses_leave_a_reference_only_for_types_that_do_not_depend_on_them() -> None:
    compared = trend(result(), own_superclasses=True, published=(published_model(),))

    assert compared.curves is not None
    assert {metric for _, metric in compared.curves.quantiles} == OVER_TOP1
    own, published = compared.points
    assert set(own.values) == set(METRICS) - {"pooled"}
    assert set(published.values) == OVER_TOP1
    reasons = {rank.metric: rank.missing for rank in own.percentile_ranks}
    assert {metric for metric, reason in reasons.items() if reason is NoReferenceReason.SUPERCLASSES} == (
        set(METRICS) - OVER_TOP1 - {"pooled"}
    )


@pytest.mark.parametrize("dataset", ["imagenet-real", "demo"])
def test_other_data_sets_have_no_published_models(dataset: str) -> None:
    compared = trend(result(), dataset=dataset)

    assert compared.curves is None
    assert compared.points[0].percentile_ranks == ()


def test_types_after_an_abstained_rule_are_pooled() -> None:
    (point,) = trend(result(abstained=(ErrorType.SPURIOUS_CORRELATION,))).points

    assert set(point.values) == {
        "class_overlap",
        "multi_label",
        "fine_grained",
        "fine_grained_oov",
        "pooled",
        "multi_label_accuracy",
    }
    assert point.values["pooled"] == pytest.approx(sum(COUNTS[4:]) / sum(COUNTS[3:]))


def test_percentiles_and_intervals_are_those_of_selected_and_then_of_the_newest_analyses() -> None:
    others = [result(number) for number in range(MAX_RANKED + 5)]

    points = trend(*others, selected=(result(900), result(901))).points

    ranked = ["a0900", "a0901", *(other.id for other in others[: MAX_RANKED - 2])]
    assert [point.id for point in points if point.percentile_ranks] == ranked
    assert [point.id for point in points if point.intervals] == ranked


@pytest.mark.parametrize(
    ("num_older", "note"), [(0, ""), (1, "1 older model is not shown, "), (2, "2 older models are not shown, ")]
)
def test_a_trend_shows_the_newest_models_and_the_selected_ones_and_counts_the_others(num_older: int, note: str) -> None:
    others = [result(number) for number in range(MAX_OTHERS + num_older)]

    compared = trend(*others, selected=(result(9000),))

    assert [point.id for point in compared.points] == ["a9000", *(other.id for other in others[:MAX_OTHERS])]
    assert [text for text in trend_notes(compared) if "older" in text] == (
        [f"{note}because a trend shows only the newest ones. Select analyses to show others."] if note else []
    )


def test_version_of_a_model_is_its_label_or_its_predictions() -> None:
    labelled = [result(number, model=("net", version)) for number, version in enumerate("112")]

    assert [item.version for item in labelled] == [("net", "1"), ("net", "1"), ("net", "2")]
    assert result(1).version == result(2, predictions_digest="digest 1").version != result(2).version


# own models as the reference


def test_trend_knows_whether_labels_reject_targets() -> None:
    assert not trend(result(), result(1)).has_rejected_targets
    assert trend(result(), result(1, top1_accuracy=14_901 / sum(COUNTS))).has_rejected_targets
    assert not trend(result(top1_accuracy=None)).has_rejected_targets


def own_trend(count: int, *others: StoredResult, selected: tuple[StoredResult, ...] = ()) -> Trend:
    """Return the trend of models with falling numbers of model failures, without published models."""
    results = [
        result(number, model=(f"net {number}", "1"), group=numbers(100 + number), overall=numbers(100 + number))
        for number in range(count)
    ]
    analyses = TrendAnalyses("products", "e" * 64, selected, (*results, *others), True, (ALL,), (*results, *others))
    return build_trend(analyses, TrendRequest(), ())


def numbers(failures: int) -> GroupNumbers:
    """Return 8,000 correct images, model failures, and fine-grained errors, 10,000 in total."""
    counts = dict.fromkeys(ErrorType, 0) | {
        ErrorType.CORRECT: 8000,
        ErrorType.MODEL_FAILURE: failures,
        ErrorType.FINE_GRAINED: 2000 - failures,
    }
    return GroupNumbers(counts, 0.8)


def test_own_models_are_the_reference_without_published_models() -> None:
    compared = own_trend(101)

    (note,) = compared_notes(compared)
    assert "the latest version of each of the 100 other models" in note
    assert compared.num_other_models == 100
    for point in compared.points[:MAX_RANKED]:
        failures = next(rank for rank in point.percentile_ranks if rank.metric == "model_failure")
        others = [float(other.values["model_failure"]) for other in compared.points if other.id != point.id]
        lower = sum(value < point.values["model_failure"] for value in others) / len(others)
        assert failures.percentile == pytest.approx(lower)
        assert failures.low is not None


def compared_notes(compared: Trend) -> list[str]:
    return [note for note in trend_notes(compared) if note.startswith("No published models")]


@pytest.mark.parametrize(("count", "others"), [(1, "are no other models yet"), (2, "is 1 other model"), (20, "are 19")])
def test_too_few_own_models_have_no_percentiles_and_the_note_says_so(count: int, others: str) -> None:
    compared = own_trend(count)

    assert all(point.percentile_ranks == () for point in compared.points)
    (note,) = compared_notes(compared)
    assert "Percentiles are not available" in note and f"There {others}" in note


def test_versions_of_one_model_count_once_and_not_for_itself() -> None:
    versions = [result(500 + number, model=("mine", str(number))) for number in range(30)]

    assert own_trend(20, *versions).num_other_models == 20
    assert all(point.percentile_ranks == () for point in own_trend(19, *versions).points if point.id < "a0500")
    with_other_models = own_trend(20, *versions[1:], selected=(versions[0],)).points
    assert next(point for point in with_other_models if point.id == "a0500").percentile_ranks
    only_versions = own_trend(0, *versions)
    assert only_versions.num_other_models == 0
    assert not any(point.percentile_ranks for point in only_versions.points)


def test_requested_analyses_without_evaluated_images_are_named_and_do_not_count() -> None:
    nothing = GroupNumbers(dict.fromkeys(ErrorType, 0), None)
    empty = result(700, model=("empty", "1"), group=nothing, overall=nothing, top1_accuracy=None, title="empty")

    compared = own_trend(20, selected=(empty,))

    assert not any(point.is_selected for point in compared.points)
    assert compared.num_other_models == 20
    assert "empty has no evaluated image with a prediction, and cannot be shown." in trend_notes(compared)
    assert own_trend(19, selected=(empty, result(800))).num_other_models == 19


def test_a_folder_has_a_note_that_its_labels_are_unknown() -> None:
    analyses = TrendAnalyses("imagenet", "e" * 64, (result(1),), (), True, (ALL,), changed_labels=None)

    compared = build_trend(analyses, TrendRequest(), ())

    assert compared.curves is not None and UNKNOWN_LABELS_NOTE in trend_notes(compared)
    assert UNKNOWN_LABELS_NOTE not in trend_notes(trend(result(1)))


def test_published_models_stay_the_reference_where_they_exist() -> None:
    compared = trend(*(result(number, model=(f"net {number}", "")) for number in range(30)))

    assert compared.num_other_models == 0
    assert compared.curves is not None
    assert compared_notes(compared) == []


@pytest.fixture(scope="module")
def authors(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Evidence of `imagenet` with an annotation of 40 images."""
    folder = tmp_path_factory.mktemp("authors")
    lines = ["id,original_label,proposed_labels,unclear_multi_labels,is_problematic"]
    for number, label in enumerate(original_labels()[:40].tolist(), 1):
        lines.append(f"{validation_name(number)},{label},{label},,False")
    (folder / "annotations.csv").write_text("\n".join(lines) + "\n")
    return build_evidence("imagenet", Inputs(annotations=folder / "annotations.csv"), folder / "bundle")


def archive_analysis(backend: Backend, bundle: Bundle, **changes: Any) -> Analysis:
    """Store an analysis with correct predictions for the first 30 images of a bundle."""
    top1 = np.full(len(bundle.all_targets), -1, dtype=np.int16)
    top1[bundle.rows] = bundle.evidence.targets
    top1[bundle.rows[30:]] = bundle.label_space.num_classes - 1  # of ImageNet-1k: toilet tissue
    predictions, start_time = Predictions(top1), datetime(2026, 1, 1, tzinfo=UTC)
    request = AnalysisRequest(bundle.dataset)
    analysis = Analysis(bundle.digest[:12], request, State.SUCCEEDED, bundle.digest, start_time)
    analysis = replace(analysis, summary=compute_summary(bundle, predictions), **changes)
    backend.archive.put(analysis, predictions)
    return analysis


def test_the_default_data_set_of_a_trend_has_the_most_succeeded_analyses(
    backend: Backend, authors: Bundle, demo: Bundle
) -> None:
    succeeded = archive_analysis(backend, authors)
    for number in range(2):
        failed = replace(succeeded, id=f"failed{number}", state=State.FAILED, request=AnalysisRequest(demo.dataset))
        backend.archive.put(failed, Predictions(np.zeros(20, dtype=np.int16)))

    assert default_dataset(backend.ports.stores) == authors.dataset


@pytest.fixture
def owners(backend: Backend, demo: Bundle) -> Backend:
    """Analyses of the owners ann and bob: of net 0 and net 1 on demo, and of bob on imagenet-real."""
    for number, (name, owner) in enumerate([("ann0", "ann"), ("bob0", "bob"), ("ann1", "ann"), ("bob1", "bob")]):
        request = AnalysisRequest(demo.dataset, labels={"model": f"net {name[-1]}", "version": "1"})
        time = datetime(2026, 1, 1 + number, tzinfo=UTC)
        archive_analysis(backend, demo, id=name, owner=owner, request=request, create_time=time)
    for number in range(4):
        request = AnalysisRequest("imagenet-real")
        archive_analysis(backend, demo, id=f"other{number}", owner="bob", request=request, evidence="e" * 64)
    return backend


@pytest.mark.parametrize(
    ("owner", "names", "expected"),
    [
        ("", (), {"bob0": 2, "bob1": 2}),
        ("ann", (), {"ann0": 1, "ann1": 1}),
        ("bob", (), {"bob0": 1, "bob1": 1}),
        ("nobody", (), {}),
        ("ann", ("bob1",), {"bob1": 1, "ann0": 1}),  # ann1 is of the same version of the model
    ],
)
def test_a_trend_of_an_owner_has_their_analyses_and_the_selected_ones(
    owners: Backend, owner: str, names: tuple[str, ...], expected: dict[str, int]
) -> None:
    compared = compute_trend(owners.ports.stores, TrendRequest(names, "demo", owner=owner))

    assert {point.id: point.num_analyses for point in compared.points} == expected
    assert (compared.owner, compared.num_left_out) == (owner, 0)
    assert compared.num_other_models == 1, "the reference models can have any owner"
    assert any(f"of the owner {owner}," in note for note in trend_notes(compared)) is bool(owner)


def test_a_trend_of_an_owner_has_the_data_set_and_the_evidence_of_their_analyses(owners: Backend, demo: Bundle) -> None:
    for name, owner, year in (("newest", "bob", 2027), ("oldest", "ann", 2025)):
        time = datetime(year, 1, 1, tzinfo=UTC)
        archive_analysis(owners, demo, id=name, owner=owner, evidence="f" * 64, create_time=time)

    trends = [compute_trend(owners.ports.stores, TrendRequest(owner=owner)) for owner in ("", "ann", "bob")]

    assert [trend.dataset for trend in trends] == ["demo", "demo", "imagenet-real"]
    assert [trend.evidence[:2] for trend in trends] == ["ff", demo.digest[:2], "ee"]
    assert trends[1].num_left_out == 1


def test_a_token_that_sees_its_own_analyses_only_finds_no_others_by_owner(owners: Backend, isolated: Ports) -> None:
    with restricted_to("ann"):
        trends = [compute_trend(isolated.stores, TrendRequest((), "demo", owner=owner)) for owner in ("", "ann", "bob")]

    assert [{point.id for point in trend.points} for trend in trends] == [{"ann0", "ann1"}, {"ann0", "ann1"}, set()]


def test_models_are_not_compared_with_published_models_on_corrected_labels(authors: Bundle, tmp_path: Path) -> None:
    facts = apply_decisions(authors, {authors.judged_names[0]: Decision(problematic=True)})
    write_bundle(relabel(authors, facts), tmp_path / "corrected")
    corrected = open_bundle(tmp_path / "corrected")
    backend = Backend(EvidenceRepository({"imagenet": [authors.path, corrected.path]}, tmp_path / "data"))
    start = "The labels of this evidence are not those of the published models, which are therefore no reference."
    percentiles = "Percentile among the reference models"

    for bundle in (authors, corrected):
        analysis = archive_analysis(backend, bundle)
        compared = compute_trend(backend.ports.stores, TrendRequest(names=[analysis.id]))
        html = report(backend.ports, analysis.id)

        has_reference = bundle is authors
        assert (compared.curves is not None) is has_reference
        assert bool(compared.points[0].percentile_ranks) is has_reference
        assert any(note.startswith(start) for note in trend_notes(compared)) is not has_reference
        assert (percentiles in html, start in html) == (has_reference, not has_reference)


@pytest.mark.parametrize("has_own_classes", [False, True])
def test_name_of_a_data_set_does_not_make_its_labels_those_of_the_published_models(
    tmp_path: Path, has_own_classes: bool
) -> None:
    (tmp_path / "labels.csv").write_text("file_name,labels\n" + "".join(f"{row}.jpg,6\n" for row in range(40)))
    (tmp_path / "classes.csv").write_text("name\n" + "".join(f"class {index}\n" for index in range(10)))
    inputs = Inputs(labels=tmp_path / "labels.csv", classes=tmp_path / "classes.csv" if has_own_classes else None)
    bundle = build_evidence("imagenet-a", inputs, tmp_path / "bundle")
    backend = Backend(EvidenceRepository({"imagenet-a": [bundle.path]}, tmp_path / "data"))
    analysis = archive_analysis(backend, bundle)

    compared = compute_trend(backend.ports.stores, TrendRequest(names=[analysis.id]))

    assert compared.curves is None and not compared.points[0].percentile_ranks
    assert "Percentile among the reference models" not in report(backend.ports, analysis.id)


def test_added_models_are_not_comparable_on_corrected_labels() -> None:
    analyses = TrendAnalyses("imagenet", "e" * 64, (), [result()], False, (ALL, *GROUPS), changed_labels=True)

    notes = trend_notes(build_trend(analyses, TrendRequest(), [published_model()]))

    assert any("evaluated with other labels" in note for note in notes)
    assert not any("another data set" in note for note in notes)


# axes and groups of a page


def test_other_axis_has_no_reference_models() -> None:
    compared = trend(result(1), result(2), request=TrendRequest(x=Axis.TOP1))

    assert {*compared.axes.values()} == {Axis.TOP1}
    assert compared.curves is not None
    assert {metric for _, metric in compared.curves.quantiles} == {
        metric for metric, axis in AXES.items() if axis is Axis.TOP1
    } & {metric for _, metric in trend(result(1)).curves.quantiles}  # type: ignore[union-attr]


def test_accuracy_is_not_plotted_over_itself() -> None:
    metrics = trend(result(1), request=TrendRequest(x=Axis.MULTI_LABEL)).metrics

    assert "multi_label_accuracy" not in metrics and "class_overlap" in metrics
    assert "multi_label_accuracy" in trend(result(1), request=TrendRequest(x=Axis.TOP1)).metrics


@pytest.mark.parametrize(
    ("by", "labels", "expected"),
    [
        ("owner", {}, "ci"),
        ("owner", {"owner": "team"}, "team"),
        ("model", {}, "net"),
        ("model", {"model": "label"}, "label"),
        ("team", {"team": "vision"}, "vision"),
        ("team", {}, ""),
        ("", {"": "odd"}, ""),
    ],
)
def test_models_are_grouped_by_owner_model_or_label(by: str, labels: dict[str, str], expected: str) -> None:
    (point,) = trend(result(1, owner="ci", model=("net", "1"), labels=labels), request=TrendRequest(by=by)).points

    assert point.label == expected


def test_label_keys_are_those_of_all_analyses() -> None:
    compared = trend(result(1, labels={"team": "a", "size": "3"}), selected=(result(2, labels={"data": "b"}),))

    assert compared.label_keys == ("data", "size", "team")
