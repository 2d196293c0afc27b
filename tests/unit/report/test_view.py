"""The view: the numbers of an analysis as words, its groups, severities, parts and errors, and where it stands."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.domain import (
    ERROR_TYPES,
    TOP1_ERROR_TYPES,
    Analysis,
    AnalysisRequest,
    Bin,
    BreakdownRow,
    Calibration,
    Confusion,
    CoOccurrence,
    ErrorType,
    Group,
    GroupSummary,
    Labels,
    LabelSource,
    Metric,
    ModelInfo,
    NoReferenceReason,
    Outcome,
    PercentileRank,
    ProblematicTag,
    ProposedText,
    SharedSuperclass,
    State,
    Step,
    Summary,
    Verdict,
    VerdictEvidence,
    VocabularyEvidence,
)
from service.report.error_table import ErrorTable
from service.report.view import (
    SHOWN_CLASSES,
    Found,
    PartRow,
    ReportView,
    SourceRow,
    headline_of,
    pieces_of,
    reasons_of,
    report_view,
)

TENCH, GOLDFISH = 0, 1
COUNTS = dict(zip(ERROR_TYPES, (60, 4, 6, 10, 0, 5, 0, 15), strict=True))


def group(counts: dict[ErrorType, int]) -> GroupSummary:
    """Return a group's aggregates, its accuracies apart."""
    samples = sum(counts.values())
    top1 = {each: count for each, count in counts.items() if each > 1}
    errors = sum(top1.values())
    return GroupSummary(
        num_samples=samples,
        counts=counts,
        top1_errors=errors,
        top1_accuracy=counts[ErrorType.CORRECT] / samples if samples else None,
        multi_label_accuracy=0.7654 if samples else None,
        multi_label_accuracy_forgiving_minor=0.8 if samples else None,
        multi_label_accuracy_forgiving_explainable=0.85 if samples else None,
        portions_of_top1_errors={each: count / errors for each, count in top1.items()} if errors else {},
        portions_of_multi_label_errors={},
        gain_if_fixed_top1={each: count / samples for each, count in top1.items()} if samples else {},
        gain_if_fixed_multi_label={},
    )


NOTHING = group(dict.fromkeys(ERROR_TYPES, 0))


def summary(counts: dict[ErrorType, int] = COUNTS, **changes: Any) -> Summary:
    groups = {Group.ALL: group(counts), Group.ORGANISM: group(counts), Group.ARTIFACT: NOTHING, Group.OTHER: NOTHING}
    return replace(Summary(groups, (), 7, 120, 110, None, None, None), **changes)


def analysis(**changes: Any) -> Analysis:
    values: dict[str, Any] = {
        "id": "a1",
        "request": AnalysisRequest("demo", "timm:net"),
        "state": State.SUCCEEDED,
        "evidence": "e" * 64,
        "create_time": datetime(2024, 2, 29, 23, 59, tzinfo=UTC),
        "summary": summary(),
    }
    return Analysis(**(values | changes))


def verdict(**changes: Any) -> Verdict:
    why = VerdictEvidence(
        labels=((GOLDFISH, LabelSource.REAL),),
        shared_superclasses=(SharedSuperclass(GOLDFISH, ("fish", "animal")),),
        co_occurrences=(CoOccurrence(GOLDFISH, 1200, ("a.jpg", "b.jpg")),),
        vocabulary=None,
        overlap="",
        trace=(
            Step(ErrorType.CORRECT, Outcome.MISS),
            Step(ErrorType.FINE_GRAINED_OOV, Outcome.ABSTAINED, "similar to the target"),
        ),
    )
    return replace(Verdict("x.jpg", GOLDFISH, TENCH, ErrorType.FINE_GRAINED, (), 0.875, why), **changes)


TABLE = ErrorTable(
    names=[],
    targets=np.zeros(0, np.int16),
    predicted=np.zeros(0, np.int16),
    types=np.zeros(0, np.uint8),
    problematic=np.zeros(0, bool),
    tags={},
    probability=None,
    labels=Labels(np.zeros(1, np.int32), np.zeros(0, np.int16), np.zeros(0, np.uint8)),
    groups=np.zeros((3, 0), bool),
    total=0,
    abstained=(),
    class_names=(),
    superclasses={},
    pairs={},
    overlaps={},
    texts={},
    pictures={},
)


def view(given: Analysis | None = None, **changes: Any) -> ReportView:
    found = Found(
        analysis=given or analysis(),
        confusions=(),
        superclasses=(),
        classes=(),
        calibration=None,
        confidence={},
        standings=(),
        notes=(),
        errors=(),
        table=TABLE,
        sources=[SourceRow("ReaL", "timm", "Apache-2.0")],
        version="1.2.3",
    )
    return report_view(replace(found, **changes))


def part(name: str, failures: int = 0, fine_grained: int = 0, right: int = 4, index: int | None = None) -> BreakdownRow:
    """Return the verdicts of one part of the images."""
    counts = dict.fromkeys(ERROR_TYPES, 0) | {
        ErrorType.CORRECT: right,
        ErrorType.FINE_GRAINED: fine_grained,
        ErrorType.MODEL_FAILURE: failures,
    }
    gains = dict.fromkeys(TOP1_ERROR_TYPES, 0.0) | {
        ErrorType.FINE_GRAINED: fine_grained / 1000,
        ErrorType.MODEL_FAILURE: failures / 1000,
    }
    return BreakdownRow(name, index, sum(counts.values()), counts, 0.5, gains, gains)


def parts(*rows: BreakdownRow, groups: Sequence[Group] = ()) -> list[tuple[BreakdownRow, Sequence[Group]]]:
    return [(row, groups) for row in rows]


def test_the_headline_counts_by_severity() -> None:
    assert headline_of("net", summary()) == (
        "net is wrong on 40 of 100 images. 25.0 % of these errors are label noise, 25.0 % hair-splitting, "
        "12.5 % have an excuse; the remaining 15 (37.5 % of errors, 15.0 % of images) are plain failures."
    )


def test_the_headline_without_errors() -> None:
    right = dict.fromkeys(ERROR_TYPES, 0) | {ErrorType.CORRECT: 20}

    assert headline_of("net", summary(right)) == "net is right on all of 20 images."


def test_the_headline_without_samples() -> None:
    assert headline_of("net", summary(dict.fromkeys(ERROR_TYPES, 0))) == "net was judged on no images."


def test_the_headline_of_failures_alone() -> None:
    wrong = dict.fromkeys(ERROR_TYPES, 0) | {ErrorType.MODEL_FAILURE: 2, ErrorType.CORRECT: 2}

    assert headline_of("net", summary(wrong)) == (
        "net is wrong on 2 of 4 images. 2 (100.0 % of errors, 50.0 % of images) are plain failures."
    )


def test_gains_of_silent_rules_are_dashes() -> None:
    silent = (ErrorType.FINE_GRAINED_OOV, ErrorType.NON_PROTOTYPICAL)
    rows = view(analysis(summary=summary(abstained=silent))).gains

    assert [row.title for row in rows if (row.top1, row.multi_label) == ("–", "–")] == [
        "fine-grained, out of vocabulary",
        "non-prototypical",
    ]


def test_the_headline_is_a_bound_where_a_rule_abstained() -> None:
    bounded = headline_of("net", summary(abstained=(ErrorType.FINE_GRAINED_OOV,)))

    assert bounded.endswith("the remaining 15 (37.5 % of errors, 15.0 % of images) are plain failures, at most.")
    assert "at most" not in headline_of("net", summary())


def test_what_abstained_is_told_with_the_types_that_take_its_errors() -> None:
    both = (ErrorType.FINE_GRAINED_OOV, ErrorType.NON_PROTOTYPICAL)

    said = view(analysis(summary=summary(abstained=both))).abstained

    assert len(said) == 2
    assert "counted as spurious correlation or model failure. " in said[0]
    assert "counted as model failure. " in said[1]


def test_three_figures_are_shown() -> None:
    assert [(figure.name, figure.value) for figure in view().figures] == [
        ("top-1 accuracy", "60.0 %"),
        ("multi-label accuracy", "76.5 %"),
        ("severe error rate", "15.0 %"),
    ]


def test_rates_without_samples_are_dashes() -> None:
    nothing = view(analysis(summary=summary(dict.fromkeys(ERROR_TYPES, 0))))

    assert {figure.value for figure in nothing.figures} == {"–"}
    assert {cell.share for row in nothing.groups for cell in row.types} == {"–"}
    assert {(row.top1, row.multi_label, row.forgiving_minor, row.forgiving_explainable) for row in nothing.groups} == {
        ("–", "–", "–", "–")
    }
    assert {(row.count, row.of_errors, row.of_images) for row in nothing.severities} == {("0", "–", "–")}


def test_each_group_has_a_row_of_its_top1_errors_in_the_order_of_the_rules() -> None:
    shown = view()

    assert [row.group for row in shown.groups] == ["all images", "organisms", "artifacts", "other"]
    everything = shown.groups[0]
    assert [cell.count for cell in everything.types] == ["4", "6", "10", "0", "5", "0", "15"]
    assert [cell.share for cell in everything.types] == [
        "10.0 %",
        "15.0 %",
        "25.0 %",
        "0.0 %",
        "12.5 %",
        "0.0 %",
        "37.5 %",
    ]
    assert everything.errors == "40"
    assert (everything.samples, everything.top1, everything.multi_label) == ("100", "60.0 %", "76.5 %")
    assert (everything.forgiving_minor, everything.forgiving_explainable) == ("80.0 %", "85.0 %")
    assert shown.type_titles == (
        "class overlap",
        "missing multi-label",
        "fine-grained",
        "fine-grained, out of vocabulary",
        "spurious correlation",
        "non-prototypical",
        "model failure",
    )


def test_a_group_without_samples_has_no_rates_but_counts() -> None:
    artifacts = view().groups[2]

    assert (artifacts.samples, artifacts.errors, artifacts.top1) == ("0", "0", "–")
    assert {(cell.count, cell.share) for cell in artifacts.types} == {("0", "–")}


def test_severities_say_how_bad_the_errors_are_from_none_to_severe() -> None:
    rows = view().severities

    assert [(row.title, row.count, row.of_errors, row.of_images) for row in rows] == [
        ("label noise", "10", "25.0 %", "10.0 %"),
        ("minor", "10", "25.0 %", "10.0 %"),
        ("explainable", "5", "12.5 %", "5.0 %"),
        ("severe", "15", "37.5 %", "15.0 %"),
    ]
    assert [row.types for row in rows] == [
        "class overlap, missing multi-label",
        "fine-grained, fine-grained, out of vocabulary",
        "spurious correlation, non-prototypical",
        "model failure",
    ]
    assert all(row.sentence.endswith(".") for row in rows)
    assert rows[-1].css == "type-8"


@given(st.lists(st.integers(0, 3000), min_size=8, max_size=8))
@settings(max_examples=25, deadline=None)
def test_severities_add_up_to_the_errors(counts: list[int]) -> None:
    shown = view(analysis(summary=summary(dict(zip(ERROR_TYPES, counts, strict=True)))))

    severities = [int(row.count.replace(",", "")) for row in shown.severities]
    assert severities == [sum(counts[1:3]), sum(counts[3:5]), sum(counts[5:7]), counts[7]]
    assert sum(severities) == int(shown.groups[0].errors.replace(",", ""))


def test_gains_are_points_with_the_severity_of_their_type() -> None:
    given = summary()
    everything = replace(
        given.groups[Group.ALL],
        gain_if_fixed_multi_label={ErrorType.FINE_GRAINED: 0.0349, ErrorType.MODEL_FAILURE: 0.2},
    )
    shown = view(analysis(summary=replace(given, groups={**given.groups, Group.ALL: everything})))

    assert [(row.title, row.severity, row.top1, row.multi_label) for row in shown.gains] == [
        ("class overlap", "label noise", "+4.00", "+0.00"),
        ("missing multi-label", "label noise", "+6.00", "+0.00"),
        ("fine-grained", "minor", "+10.00", "+3.49"),
        ("fine-grained, out of vocabulary", "minor", "+0.00", "+0.00"),
        ("spurious correlation", "explainable", "+5.00", "+0.00"),
        ("non-prototypical", "explainable", "+0.00", "+0.00"),
        ("model failure", "severe", "+15.00", "+20.00"),
    ]
    assert [row.css for row in shown.gains] == [f"type-{number}" for number in range(2, 9)]
    (told,) = shown.gains_picture.told
    assert "fine-grained: +10.00 and +3.49" in told


def test_the_funnel_says_in_words_what_it_shows_group_by_group() -> None:
    told = view().funnel.told

    assert told[0] == (
        "all images: 40 top-1 errors; class overlap 10.0 %, missing multi-label 15.0 %, fine-grained 25.0 %, "
        "spurious correlation 12.5 %, model failure 37.5 %."
    )
    assert told[2] == "artifacts: 0 top-1 errors; none."
    assert len(told) == 4


@given(st.lists(st.integers(0, 50_000), min_size=8, max_size=8))
@settings(max_examples=200, deadline=None)
def test_a_small_bar_fills_its_width_without_gaps(counts: list[int]) -> None:
    pieces = pieces_of(dict(zip(ERROR_TYPES, counts, strict=True)))

    errors = sum(counts[1:])
    assert [piece.css for piece in pieces] == [f"type-{kind}" for kind in ERROR_TYPES[1:] if counts[kind - 1]]
    end = 0.0
    for piece in pieces:
        count = counts[int(piece.css.removeprefix("type-")) - 1]
        assert piece.x == pytest.approx(end, abs=0.011)
        assert piece.width == pytest.approx(100 * count / errors, abs=0.006)
        end = piece.x + piece.width
    if errors:
        assert end == pytest.approx(100, abs=0.011)
    else:
        assert pieces == ()


@pytest.mark.parametrize("kind", ["superclasses", "classes"])
def test_parts_stand_in_the_order_of_their_model_failures_and_those_without_errors_are_left_out(kind: str) -> None:
    given = parts(
        part("two failures", failures=2),
        part("no error"),
        part("five errors, no failure", fine_grained=5),
        part("two failures of six errors", failures=2, fine_grained=4),
        part("nine failures", failures=9),
        part("a, one failure", failures=1),
        part("b, one failure", failures=1),
    )

    rows: tuple[PartRow, ...] = getattr(view(**{kind: given}), kind)

    assert [row.name for row in rows] == [
        "nine failures",
        "two failures of six errors",
        "two failures",
        "a, one failure",
        "b, one failure",
        "five errors, no failure",
    ]
    assert [row.severe for row in rows] == ["9", "2", "2", "1", "1", "0"]


def test_a_part_says_its_numbers_its_gains_and_its_groups() -> None:
    row = part("dog", failures=6, fine_grained=2, right=1200)

    (shown,) = view(superclasses=[(row, [Group.OTHER, Group.ORGANISM])]).superclasses

    assert (shown.name, shown.samples, shown.errors, shown.severe) == ("dog", "1,208", "8", "6")
    assert (shown.multi_label, shown.gain_severe, shown.gain_all) == ("50.0 %", "+0.60", "+0.80")
    assert shown.counts == ("0", "0", "2", "0", "0", "0", "6")
    assert shown.told == "2 fine-grained, 6 model failure"
    assert [(piece.css, piece.x, piece.width) for piece in shown.bar] == [("type-4", 0, 25), ("type-8", 25, 75)]
    assert shown.groups == "organism other"


def test_only_the_classes_with_the_most_failures_are_shown_and_all_with_errors_are_counted() -> None:
    wrong = [part(f"class {index}", failures=index + 1) for index in range(SHOWN_CLASSES + 5)]

    shown = view(classes=parts(*wrong, part("right")))

    assert len(shown.classes) == SHOWN_CLASSES
    assert shown.num_classes == SHOWN_CLASSES + 5
    assert shown.classes[0].name == f"class {SHOWN_CLASSES + 4}"


def test_a_standing_says_its_value_and_its_place() -> None:
    standings = (
        PercentileRank(Metric.SPURIOUS_CORRELATION, 0.125, 0.17, None),
        PercentileRank(Metric.MODEL_FAILURE, 0.375, 0.83, None),
        PercentileRank(Metric.MULTI_LABEL_ACCURACY, 0.7654, 0.6, None),
    )

    shown = view(standings=standings, notes=["The superclasses differ."])

    assert [(row.metric, row.value, row.place) for row in shown.standings] == [
        ("spurious correlation", "12.5 %", "fewer spurious correlations than 83 % of models this accurate"),
        ("model failure", "37.5 %", "more model failures than 83 % of models this accurate"),
        ("multi-label accuracy", "76.5 %", "higher than that of 60 % of models this accurate"),
    ]
    assert shown.notes == ("The superclasses differ.",)
    assert [figure.place for figure in shown.figures] == [
        "",
        "higher than that of 60 % of models this accurate",
        "as a portion of its errors: more model failures than 83 % of models this accurate",
    ]


@pytest.mark.parametrize("why", list(NoReferenceReason))
def test_a_standing_without_a_percentile_says_why_and_isnt_put_under_a_figure(why: NoReferenceReason) -> None:
    standings = (
        PercentileRank(Metric.MODEL_FAILURE, None if why is NoReferenceReason.NO_VALUE else 0.375, None, why),
        PercentileRank(Metric.MULTI_LABEL_ACCURACY, 0.7654, None, why),
    )

    shown = view(standings=standings)

    assert all(row.place.startswith("no reference: ") for row in shown.standings)
    assert shown.standings[0].value == ("–" if why is NoReferenceReason.NO_VALUE else "37.5 %")
    assert {figure.place for figure in shown.figures} == {""}


def test_without_a_reference_nothing_stands_anywhere() -> None:
    shown = view()

    assert shown.standings == ()
    assert {figure.place for figure in shown.figures} == {""}


def test_without_probabilities_there_is_no_calibration() -> None:
    assert view().calibration is None


def test_a_calibration_says_how_far_confidence_is_from_being_right() -> None:
    bins = (Bin(0.0, 0.5, 0, None, None, None), Bin(0.5, 1.0, 1200, 0.875, 0.75, 0.8))
    confidence = {ErrorType.CORRECT: (1000, 0.7, 0.9, 0.99), ErrorType.MODEL_FAILURE: (3, 0.25, 0.5, 0.625)}

    shown = view(calibration=Calibration(bins, 0.125, 0.075), confidence=confidence).calibration

    assert shown is not None
    assert "12.5 % away from top-1 correctness" in shown.told
    assert "7.5 % away from multi-label correctness" in shown.told
    assert shown.picture.told == (shown.told,)
    assert [(row.confidence, row.samples, row.mean, row.top1, row.multi_label) for row in shown.bins] == [
        ("0.0 % to 50.0 %", "0", "–", "–", "–"),
        ("50.0 % to 100.0 %", "1,200", "87.5 %", "75.0 %", "80.0 %"),
    ]
    assert [(row.title, row.css, row.samples, row.quartiles) for row in shown.by_type] == [
        ("top-1 correct", "type-1", "1,000", ("70.0 %", "90.0 %", "99.0 %")),
        ("model failure", "type-8", "3", ("25.0 %", "50.0 %", "62.5 %")),
    ]


def test_an_error_is_shown_with_names_not_numbers() -> None:
    (row,) = view(errors=(verdict(),)).errors

    assert "goldfish" in row.target
    assert "tench" in row.predicted
    assert (row.file_name, row.error_type, row.css, row.probability) == (
        "x.jpg",
        "fine-grained",
        "type-4",
        "87.5 %",
    )
    assert [label.split(" (")[-1] for label in row.labels] == ["ReaL label)"]
    assert row.trace == (
        "top-1 correct: no match",
        "fine-grained, out of vocabulary (similar to the target): not evaluated (no evidence)",
    )


def test_an_error_without_a_probability_has_a_dash_and_without_evidence_no_reasons() -> None:
    (row,) = view(errors=(verdict(probability=None, evidence=None),)).errors

    assert row.probability == "–"
    assert (row.labels, row.reasons, row.trace) == ((), (), ())


def test_a_sample_that_was_set_aside_says_why() -> None:
    (row,) = view(errors=(verdict(problematic=(ProblematicTag.EMPTY_WRONG, ProblematicTag.UNTAGGED)),)).errors

    assert row.tags == ("no labels; the prediction is wrong", "no specific reason")


def test_reasons_name_what_is_shared_and_what_is_seen_together() -> None:
    shared, together = reasons_of(verdict())

    assert "tench" in shared
    assert "goldfish" in shared
    assert shared.endswith("share a superclass: fish, animal.")
    assert together.endswith("occur together in 1,200 images, for example a.jpg, b.jpg.")


@pytest.mark.parametrize(("gate", "word"), [(True, " include classes similar"), (False, " include no classes similar")])
def test_what_clip_said_is_told_with_its_texts_in_their_order(gate: bool, word: str) -> None:
    why = verdict().evidence
    assert why is not None
    best = (ProposedText("A photo of a carp", 0.75, True), ProposedText("A photo of a tench", 0.125, False))
    asked = replace(why, co_occurrences=(), vocabulary=VocabularyEvidence(gate, best, 1234))

    told = reasons_of(verdict(evidence=asked))[-1]

    assert word in told
    assert "1,234 texts" in told
    assert "“A photo of a carp” (75.0 %), “A photo of a tench” (12.5 %)" in told


def test_a_class_is_no_reason_for_itself() -> None:
    why = verdict().evidence
    assert why is not None
    itself = replace(why, shared_superclasses=(SharedSuperclass(TENCH, ("fish",)),), co_occurrences=())

    assert reasons_of(verdict(evidence=itself)) == ()


def test_an_overlap_comes_first() -> None:
    why = verdict().evidence
    assert why is not None

    assert (
        reasons_of(verdict(evidence=replace(why, overlap="They are the same thing.")))[0] == "They are the same thing."
    )


def test_a_confusion_says_how_often_and_of_what_kind() -> None:
    kinds = {ErrorType.FINE_GRAINED: 1500, ErrorType.MODEL_FAILURE: 2}
    (row,) = view(confusions=[(Confusion(GOLDFISH, TENCH, 1502, kinds), ["a.jpg", "b.jpg"])]).confusions

    assert "goldfish" in row.target
    assert "tench" in row.predicted
    assert (row.count, row.types) == ("1,502", "1,500 fine-grained, 2 model failure")
    assert row.examples == "a.jpg, b.jpg"


def test_provenance_says_where_all_of_it_came_from() -> None:
    info = ModelInfo("timm:net", "resnet50", "f" * 64, "resize 256")
    request = AnalysisRequest("demo", "timm:net", labels={"b": "2", "a": "1"})
    facts = {fact.name: fact.value for fact in view(analysis(model_info=info, request=request)).provenance}

    assert facts["data set"] == "demo"
    assert facts["model"] == "timm:net"
    assert facts["weights, SHA-256"] == "f" * 64
    assert facts["evidence, digest"] == "e" * 64
    assert facts["date"] == "2024-02-29 23:59 UTC"
    assert facts["Errata"] == "1.2.3"
    assert (facts["label a"], facts["label b"]) == ("1", "2")
    assert (facts["images of the data set"], facts["images with a prediction"]) == ("120", "110")
    assert facts["set aside by the annotators"] == "7"


def test_provenance_says_what_is_known_besides() -> None:
    given = summary(top1_accuracy_all_images=0.613, top1_accuracy_among_classes=0.7, imagenet_m_errors=0)
    facts = {fact.name: fact.value for fact in view(analysis(summary=given, predictions_digest="d" * 64)).provenance}

    assert facts["top-1 accuracy over all images"] == "61.3 %"
    assert facts["top-1 accuracy among its own classes"] == "70.0 %"
    assert facts["ImageNet-M errors"] == "0"
    assert facts["predictions, digest"] == "d" * 64


def test_sources_warnings_and_the_table_of_errors_are_handed_on() -> None:
    shown = view(analysis(warnings=("careful",)))

    assert shown.sources == (SourceRow("ReaL", "timm", "Apache-2.0"),)
    assert shown.warnings == ("careful",)
    assert shown.table is TABLE


def test_what_is_not_known_is_not_listed() -> None:
    facts = {fact.name: fact.value for fact in view(analysis(request=AnalysisRequest("demo"))).provenance}

    assert facts["model"] == "uploaded predictions"
    assert "architecture" not in facts
    assert "ImageNet-M errors" not in facts
    assert all(facts.values())


def test_an_analysis_is_called_by_its_name_else_its_model_else_an_upload() -> None:
    assert view(analysis(request=AnalysisRequest("demo", "timm:net", "mine"))).title == "mine"
    assert view(analysis(request=AnalysisRequest("demo", "timm:net"))).title == "timm:net"
    assert view(analysis(request=AnalysisRequest("demo"))).title == "upload"
