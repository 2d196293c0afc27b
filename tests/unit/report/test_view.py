"""The view: the numbers of an analysis as words, the bars of its groups, its errors with their reasons."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from service.domain import (
    ERROR_TYPES,
    Analysis,
    AnalysisRequest,
    Confusion,
    CoOccurrence,
    ErrorType,
    Group,
    GroupSummary,
    LabelSource,
    ModelInfo,
    Outcome,
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
from service.report.charts import draw
from service.report.view import ReportView, SourceRow, headline_of, reasons_of, report_view

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


def view(
    given: Analysis | None = None, errors: tuple[Verdict, ...] = (), confusions: tuple[Confusion, ...] = ()
) -> ReportView:
    return report_view(given or analysis(), confusions, errors, 25, [SourceRow("ReaL", "timm", "Apache-2.0")], "1.2.3")


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


def test_the_headline_is_a_bound_where_a_rule_abstained() -> None:
    bounded = headline_of("net", summary(abstained=(ErrorType.FINE_GRAINED_OOV,)))

    assert bounded.endswith("the remaining 15 (37.5 % of errors, 15.0 % of images) are plain failures, at most.")
    assert "at most" not in headline_of("net", summary())


def test_what_abstained_is_told_with_the_types_that_take_its_errors() -> None:
    both = (ErrorType.FINE_GRAINED_OOV, ErrorType.NON_PROTOTYPICAL)

    said = view(analysis(summary=summary(abstained=both))).abstained

    assert len(said) == 2
    assert "counted as spurious correlation or model failure," in said[0]
    assert "counted as model failure," in said[1]


def test_three_figures_are_shown() -> None:
    assert [(figure.name, figure.value) for figure in view().figures] == [
        ("top-1 accuracy", "60.0 %"),
        ("multi-label accuracy", "76.5 %"),
        ("severe error rate", "15.0 %"),
    ]


def test_rates_without_samples_are_dashes() -> None:
    nothing = view(analysis(summary=summary(dict.fromkeys(ERROR_TYPES, 0))))

    assert {figure.value for figure in nothing.figures} == {"–"}
    assert {segment.share_text for bar in nothing.bars for segment in bar.segments} == {"–"}


def test_each_group_has_a_bar_of_its_top1_errors_in_the_order_of_the_rules() -> None:
    bars = view().bars

    assert [bar.group for bar in bars] == ["all images", "organisms", "artifacts", "other"]
    everything = bars[0]
    assert [segment.error_type for segment in everything.segments] == list(ERROR_TYPES[1:])
    assert [segment.count for segment in everything.segments] == [4, 6, 10, 0, 5, 0, 15]
    assert sum(segment.count for segment in everything.segments) == everything.errors == 40
    assert sum(segment.share for segment in everything.segments) == pytest.approx(1)
    assert everything.segments[-1].share_text == "37.5 %"


def test_a_drawn_bar_fills_its_width_without_gaps() -> None:
    drawn = draw(view().bars)[0]

    end = 0.0
    for piece in drawn.pieces:
        assert piece.x == pytest.approx(end, abs=0.02)
        assert piece.middle == pytest.approx(piece.x + piece.width / 2, abs=0.02)
        end = piece.x + piece.width
    assert end == pytest.approx(100, abs=0.02)
    assert [piece.css for piece in drawn.pieces] == ["type-2", "type-3", "type-4", "type-6", "type-8"]


def test_a_bar_says_in_words_what_it_shows() -> None:
    drawn = draw(view().bars)

    assert drawn[0].alternative.startswith("all images: 40 errors; class overlap 10.0 %, missing multi-label 15.0 %")
    assert drawn[2].alternative == "artifacts: 0 errors; none"
    assert drawn[2].pieces == ()


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
        "top-1 correct: no",
        "fine-grained, out of vocabulary (similar to the target): abstains",
    )


def test_an_error_without_a_probability_has_a_dash_and_without_evidence_no_reasons() -> None:
    (row,) = view(errors=(verdict(probability=None, evidence=None),)).errors

    assert row.probability == "–"
    assert (row.labels, row.reasons, row.trace) == ((), (), ())


def test_a_sample_that_was_set_aside_says_why() -> None:
    (row,) = view(errors=(verdict(problematic=(ProblematicTag.EMPTY_WRONG, ProblematicTag.UNTAGGED)),)).errors

    assert row.tags == ("no labels; wrong", "set aside by the annotators")


def test_reasons_name_what_is_shared_and_what_is_seen_together() -> None:
    shared, together = reasons_of(verdict())

    assert "tench" in shared
    assert "goldfish" in shared
    assert shared.endswith("are both in fish and animal.")
    assert together.endswith("are seen together in 1,200 images, such as a.jpg, b.jpg.")


@pytest.mark.parametrize(("gate", "word"), [(True, " are among the nearest"), (False, " are not among the nearest")])
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
    (row,) = view(confusions=(Confusion(GOLDFISH, TENCH, 1502, kinds),)).confusions

    assert "goldfish" in row.target
    assert "tench" in row.predicted
    assert (row.count, row.types) == ("1,502", "1,500 fine-grained, 2 model failure")


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


def test_what_is_not_known_is_not_listed() -> None:
    facts = {fact.name: fact.value for fact in view(analysis(request=AnalysisRequest("demo"))).provenance}

    assert facts["model"] == "uploaded predictions"
    assert "architecture" not in facts
    assert all(facts.values())


def test_an_analysis_is_called_by_its_name_else_its_model_else_an_upload() -> None:
    assert view(analysis(request=AnalysisRequest("demo", "timm:net", "mine"))).title == "mine"
    assert view(analysis(request=AnalysisRequest("demo", "timm:net"))).title == "timm:net"
    assert view(analysis(request=AnalysisRequest("demo"))).title == "upload"
