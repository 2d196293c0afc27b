"""The view of a report: summary, groups, severities, classes, errors, and percentiles."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from example_counts import max_examples
from hypothesis import given
from hypothesis import strategies as st

from service.domain import (
    ALL,
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
    GroupSummary,
    Labels,
    LabelSource,
    ModelInfo,
    NoReferenceReason,
    Outcome,
    PercentileRank,
    ProblematicTag,
    ProposedText,
    SharedSuperclass,
    State,
    Step,
    Subset,
    Summary,
    Verdict,
    VerdictEvidence,
    VocabularyEvidence,
)
from service.report.class_view import ClassBreakdown, ClassRow
from service.report.elements import bar_segments
from service.report.error_table import ErrorTable
from service.report.error_view import evidence_notes
from service.report.image_links import ImageLinks
from service.report.report_view import (
    MAX_CLASSES,
    MAX_SUPERCLASSES,
    ReportData,
    ReportView,
    SourceRow,
    analysis_summary,
    report_view,
)
from service.taxonomy.imagenet_1k import GROUPS, imagenet_1k

TENCH, GOLDFISH = 0, 1
NAMES = imagenet_1k().names
COUNTS = dict(zip(ERROR_TYPES, (60, 4, 6, 10, 0, 5, 0, 15), strict=True))


def group(counts: dict[ErrorType, int]) -> GroupSummary:
    """Return the summary of a group with constant accuracies."""
    samples = sum(counts.values())
    top1 = {error_type: count for error_type, count in counts.items() if error_type is not ErrorType.CORRECT}
    errors = sum(top1.values())
    return GroupSummary(
        num_samples=samples,
        counts=counts,
        top1_errors=errors,
        top1_accuracy=counts[ErrorType.CORRECT] / samples if samples else None,
        multi_label_accuracy=0.7654 if samples else None,
        multi_label_accuracy_forgiving_minor=0.8 if samples else None,
        multi_label_accuracy_forgiving_explainable=0.85 if samples else None,
        portions_of_top1_errors={error_type: count / errors for error_type, count in top1.items()} if errors else {},
        portions_of_multi_label_errors={},
        gain_if_fixed_top1={error_type: count / samples for error_type, count in top1.items()} if samples else {},
        gain_if_fixed_multi_label={},
    )


NOTHING = group(dict.fromkeys(ERROR_TYPES, 0))


def summary(counts: dict[ErrorType, int] = COUNTS, **changes: Any) -> Summary:
    groups = {ALL: group(counts), "organism": group(counts), "artifact": NOTHING, "other": NOTHING}
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
    evidence = VerdictEvidence(
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
    return replace(Verdict("x.jpg", GOLDFISH, TENCH, ErrorType.FINE_GRAINED, (), 0.875, evidence), **changes)


TABLE = ErrorTable(
    names=[],
    targets=np.zeros(0, np.int16),
    predicted=np.zeros(0, np.int16),
    types=np.zeros(0, np.uint8),
    problematic=np.zeros(0, bool),
    tags={},
    probability=None,
    labels=Labels(np.zeros(1, np.int32), np.zeros(0, np.int16), np.zeros(0, np.uint8)),
    groups={},
    total=0,
    abstained=(),
    class_names=NAMES,
    superclasses={},
    pairs={},
    overlaps={},
    texts={},
    pictures={},
)


def view(value: Analysis | None = None, **changes: Any) -> ReportView:
    data = ReportData(
        analysis=value or analysis(),
        confusions=(),
        superclasses=(),
        classes=(),
        calibration=None,
        confidence={},
        percentiles=(),
        notes=(),
        errors=(),
        table=TABLE,
        sources=[SourceRow("ReaL", "timm", "Apache-2.0")],
        version="1.2.3",
    )
    return report_view(replace(data, **changes))


def part(name: str, failures: int = 0, fine_grained: int = 0, right: int = 4, index: int | None = None) -> BreakdownRow:
    """Return the results of one class or superclass."""
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


def parts(*rows: BreakdownRow, groups: Sequence[int] = ()) -> ClassBreakdown:
    return [(row, groups, {"class_id": row.class_index, "superclass": "s"}) for row in rows]


def test_summary_counts_errors_by_severity() -> None:
    assert analysis_summary("net", summary()) == (
        "net makes 40 top-1 errors on 100 images: 25.0 % are label noise, 25.0 % are minor, 12.5 % are explainable; "
        "37.5 % are model failures (15 images, 15.0 % of all images)."
    )


def test_gains_of_rules_without_evidence_are_dashes() -> None:
    silent = (ErrorType.FINE_GRAINED_OOV, ErrorType.NON_PROTOTYPICAL)
    rows = view(analysis(summary=summary(abstained=silent))).gains

    assert [row.title for row in rows if (row.top1, row.multi_label) == ("–", "–")] == [
        "fine-grained, out of vocabulary",
        "non-prototypical",
    ]


def test_model_failures_are_an_upper_bound_if_a_rule_has_no_evidence() -> None:
    bounded = analysis_summary("net", summary(abstained=(ErrorType.FINE_GRAINED_OOV,)))

    assert bounded.endswith("at most 37.5 % are model failures (15 images, 15.0 % of all images).")
    assert "at most" not in analysis_summary("net", summary())


def test_abstention_lists_its_fallback_types() -> None:
    both = (ErrorType.FINE_GRAINED_OOV, ErrorType.NON_PROTOTYPICAL)

    sentences = view(analysis(summary=summary(abstained=both))).abstained

    assert len(sentences) == 2
    assert "counted as spurious correlation or model failure. " in sentences[0]
    assert "counted as model failure. " in sentences[1]


def test_report_has_three_key_figures() -> None:
    assert [(figure.name, figure.value) for figure in view().key_figures] == [
        ("top-1 accuracy", "60.0 %"),
        ("multi-label accuracy (class mean)", "76.5 %"),
        ("severe error rate", "15.0 %"),
    ]
    assert (
        view()
        .key_figures[1]
        .note.startswith("The prediction is one of the image's labels, or overlaps with its target class. ")
    )


def test_rates_without_samples_are_dashes() -> None:
    nothing = view(analysis(summary=summary(dict.fromkeys(ERROR_TYPES, 0))))

    assert {figure.value for figure in nothing.key_figures} == {"–"}
    assert {cell.percentage for row in nothing.groups for cell in row.types} == {"–"}
    assert {(row.top1, row.multi_label, row.forgiving_minor, row.forgiving_explainable) for row in nothing.groups} == {
        ("–", "–", "–", "–")
    }
    assert {(row.count, row.of_errors, row.of_images) for row in nothing.severities} == {("0", "–", "–")}


def test_group_rows_list_error_types_in_the_order_of_the_rules() -> None:
    result = view()

    assert [row.group for row in result.groups] == ["all images", "organisms", "artifacts", "other"]
    everything = result.groups[0]
    assert [cell.count for cell in everything.types] == ["4", "6", "10", "0", "5", "0", "15"]
    assert [cell.percentage for cell in everything.types] == [
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
    assert result.type_titles == (
        "class overlap",
        "missing multi-label",
        "fine-grained",
        "fine-grained, out of vocabulary",
        "spurious correlation",
        "non-prototypical",
        "model failure",
    )


def test_group_without_samples_has_counts_but_no_rates() -> None:
    artifacts = view().groups[2]

    assert (artifacts.samples, artifacts.errors, artifacts.top1) == ("0", "0", "–")
    assert {(cell.count, cell.percentage) for cell in artifacts.types} == {("0", "–")}


def test_severities_are_ordered_from_label_noise_to_severe() -> None:
    rows = view().severities

    assert [(row.title, row.count, row.of_errors, row.of_images) for row in rows] == [
        ("label noise", "10", "25.0 %", "10.0 %"),
        ("minor", "10", "25.0 %", "10.0 %"),
        ("explainable", "5", "12.5 %", "5.0 %"),
        ("severe", "15", "37.5 %", "15.0 %"),
    ]
    assert ["; ".join(link.text for link in row.types) for row in rows] == [
        "class overlap; missing multi-label",
        "fine-grained; fine-grained, out of vocabulary",
        "spurious correlation; non-prototypical",
        "model failure",
    ]
    assert all(row.description.endswith(".") for row in rows)
    assert rows[-1].css_class == "type-8"


@pytest.mark.parametrize(
    ("abstained", "explainable"),
    [
        ((ErrorType.SPURIOUS_CORRELATION, ErrorType.NON_PROTOTYPICAL), ("–", "–", "–")),
        ((ErrorType.FINE_GRAINED_OOV, ErrorType.NON_PROTOTYPICAL), ("5", "12.5 %", "5.0 %")),
    ],
)
def test_severity_without_evaluated_rules_has_no_counts(
    abstained: tuple[ErrorType, ...], explainable: tuple[str, ...]
) -> None:
    rows = view(analysis(summary=summary(abstained=abstained))).severities

    assert [(row.count, row.of_errors, row.of_images) for row in rows] == [
        ("10", "25.0 %", "10.0 %"),
        ("10", "25.0 %", "10.0 %"),
        explainable,
        ("15", "37.5 %", "15.0 %"),
    ]


@given(st.lists(st.integers(0, 3000), min_size=8, max_size=8))
@max_examples(25)
def test_severities_add_up_to_the_errors(counts: list[int]) -> None:
    result = view(analysis(summary=summary(dict(zip(ERROR_TYPES, counts, strict=True)))))

    severities = [int(row.count.replace(",", "")) for row in result.severities]
    assert severities == [sum(counts[1:3]), sum(counts[3:5]), sum(counts[5:7]), counts[7]]
    assert sum(severities) == int(result.groups[0].errors.replace(",", ""))


def test_gains_without_samples_are_dashes() -> None:
    result = view(analysis(summary=summary(dict.fromkeys(ERROR_TYPES, 0))))

    assert {(row.top1, row.multi_label) for row in result.gains} == {("–", "–")}
    assert "0.00" not in result.gains_chart.description[0]


def test_gains_of_a_document_that_has_none_are_dashes() -> None:
    """Documents of the first version of the archive have no gains."""
    overall = replace(group(COUNTS), gain_if_fixed_top1={}, gain_if_fixed_multi_label={})

    result = view(analysis(summary=summary(groups={ALL: overall})))

    assert {(row.top1, row.multi_label) for row in result.gains} == {("–", "–")}


def test_gains_are_points_with_the_severity_of_their_type() -> None:
    default = summary()
    everything = replace(
        default.groups[ALL],
        gain_if_fixed_multi_label={ErrorType.FINE_GRAINED: 0.0349, ErrorType.MODEL_FAILURE: 0.2},
    )
    result = view(analysis(summary=replace(default, groups={**default.groups, ALL: everything})))

    assert [(row.title, row.severity, row.top1, row.multi_label) for row in result.gains] == [
        ("class overlap", "label noise", "+4.00", "0.00"),
        ("missing multi-label", "label noise", "+6.00", "0.00"),
        ("fine-grained", "minor", "+10.00", "+3.49"),
        ("fine-grained, out of vocabulary", "minor", "0.00", "0.00"),
        ("spurious correlation", "explainable", "+5.00", "0.00"),
        ("non-prototypical", "explainable", "0.00", "0.00"),
        ("model failure", "severe", "+15.00", "+20.00"),
    ]
    assert [row.css_class for row in result.gains] == [f"type-{number}" for number in range(2, 9)]
    (description,) = result.gains_chart.description
    assert "fine-grained +10.00 and +3.49" in description


def test_breakdown_chart_is_described_group_by_group() -> None:
    descriptions = view().breakdown_chart.description

    assert descriptions[0] == (
        "all images: 40 top-1 errors: class overlap 10.0 %, missing multi-label 15.0 %, fine-grained 25.0 %, "
        "spurious correlation 12.5 %, model failure 37.5 %."
    )
    assert descriptions[2] == "artifacts: 0 top-1 errors."
    assert len(descriptions) == 4


@given(st.lists(st.integers(0, 50_000), min_size=8, max_size=8))
@max_examples(200)
def test_bar_segments_are_contiguous_and_fill_the_width(counts: list[int]) -> None:
    segments = bar_segments(dict(zip(ERROR_TYPES, counts, strict=True)))

    errors = sum(counts[1:])
    assert [segment.css_class for segment in segments] == [
        f"type-{kind.id}" for kind in ERROR_TYPES[1:] if counts[kind.position]
    ]
    end = 0.0
    for segment in segments:
        count = counts[int(segment.css_class.removeprefix("type-")) - 1]
        assert segment.x == pytest.approx(end, abs=0.011)
        assert segment.width == pytest.approx(100 * count / errors, abs=0.006)
        end = segment.x + segment.width
    if errors:
        assert end == pytest.approx(100, abs=0.011)
    else:
        assert segments == ()


@pytest.mark.parametrize("kind", ["superclasses", "classes"])
def test_classes_are_sorted_by_model_failures_and_those_without_errors_are_excluded(kind: str) -> None:
    rows_by_class: Any = parts(
        part("two failures", failures=2),
        part("no error"),
        part("five errors, no failure", fine_grained=5),
        part("two failures of six errors", failures=2, fine_grained=4),
        part("nine failures", failures=9),
        part("a, one failure", failures=1),
        part("b, one failure", failures=1),
    )

    rows: tuple[ClassRow, ...] = getattr(view(**{kind: rows_by_class}), kind)

    assert [row.name for row in rows] == [
        "nine failures",
        "two failures of six errors",
        "two failures",
        "a, one failure",
        "b, one failure",
        "five errors, no failure",
    ]
    assert [row.failures.text for row in rows] == ["9", "2", "2", "1", "1", "0"]


def test_class_row_has_counts_gains_and_groups() -> None:
    row = part("dog", failures=6, fine_grained=2, right=1200)

    (result,) = view(superclasses=parts(row, groups=[0, 12])).superclasses

    assert (result.name, result.samples, result.errors, result.failures.text) == ("dog", "1,208", "8", "6")
    assert (result.multi_label, result.gain_failures, result.gain_all) == ("50.0 %", "+0.60", "+0.80")
    assert tuple(cell.text for cell in result.counts) == ("0", "0", "2", "0", "0", "0", "6")
    assert result.description == "2 fine-grained, 6 model failure"
    assert [(segment.css_class, segment.x, segment.width) for segment in result.segments] == [
        ("type-4", 0, 25),
        ("type-8", 25, 75),
    ]
    assert result.groups == "0 12"


def test_rows_and_cells_link_to_their_images() -> None:
    confusion = Confusion(TENCH, GOLDFISH, 3, {ErrorType.MODEL_FAILURE: 3})
    dog = parts(part("dog", failures=6, fine_grained=2, right=1200, index=7))
    links = ImageLinks("a1", imagenet_1k().ids)

    result = view(superclasses=parts(part("dog", failures=6)), classes=dog, confusions=[(confusion, ())], links=links)

    grid = "/analyses/a1/images"
    assert [row.url for row in result.groups] == [grid, f"{grid}?group=organism", "", ""]
    assert [cell.url for cell in result.groups[1].types] == [
        f"{grid}?type=class_overlap&group=organism",
        f"{grid}?type=multi_label&group=organism",
        f"{grid}?type=fine_grained&group=organism",
        "",
        f"{grid}?type=spurious_correlation&group=organism",
        "",
        f"{grid}?type=model_failure&group=organism",
    ]
    assert [row.url for row in result.gains][2:4] == [f"{grid}?type=fine_grained", ""]
    assert result.superclasses[0].url == f"{grid}?superclass=s"
    cock = imagenet_1k().ids[7]
    assert result.classes[0].failures.url == f"{grid}?type=model_failure&class={cock}&superclass=s"
    assert [bool(cell.url) for cell in result.classes[0].counts] == [False, False, True, False, False, False, True]
    assert [(segment.name, segment.url) for segment in result.classes[0].segments] == [
        ("fine-grained: 2", f"{grid}?type=fine_grained&class={cock}&superclass=s"),
        ("model failure: 6", f"{grid}?type=model_failure&class={cock}&superclass=s"),
    ]
    assert [[link.url for link in row.types] for row in result.severities] == [
        [f"{grid}?type=class_overlap", f"{grid}?type=multi_label"],
        [f"{grid}?type=fine_grained", ""],
        [f"{grid}?type=spurious_correlation", ""],
        [f"{grid}?type=model_failure"],
    ]
    assert [row.url for row in result.severities] == ["", "", "", f"{grid}?type=model_failure"]
    tench, goldfish = imagenet_1k().ids[:2]
    assert result.confusions[0].url == f"{grid}?class={tench}&predicted={goldfish}&errors=only"


def test_links_of_a_stand_alone_report_are_filters_of_its_error_table() -> None:
    result = view(confusions=[(Confusion(TENCH, GOLDFISH, 3, {ErrorType.MODEL_FAILURE: 3}), ())])

    assert result.groups[1].types[0].url == "#errors?type=class_overlap&group=organism"
    assert result.confusions[0].url == f"#errors?class={TENCH}&predicted={GOLDFISH}&errors=only"


def test_rule_without_evidence_has_no_link() -> None:
    result = view(analysis(summary=summary(abstained=(ErrorType.FINE_GRAINED,))))

    assert "fine_grained" not in result.breakdown_chart.svg
    assert [cell.url for cell in result.groups[0].types if cell.count == "–"] == [""]


def test_charts_of_the_breakdown_and_of_the_gains_have_links() -> None:
    result = view()

    for group in ("", "&amp;group=organism"):
        assert f'data-filters="type=model_failure{group}"' in result.breakdown_chart.svg
    assert 'data-filters="type=model_failure"' in result.gains_chart.svg
    assert "type=fine_grained_oov" not in result.breakdown_chart.svg + result.gains_chart.svg  # no errors
    assert "<title>organisms, model failure: 15 (37.5 %)</title>" in result.breakdown_chart.svg


def test_heat_map_has_a_cell_for_each_confusion() -> None:
    counts = np.array([[0, 3, 0], [0, 0, 1200], [0, 0, 0]])

    heat_map = view(confused=([TENCH, GOLDFISH, 2], counts)).confusion_map

    assert heat_map is not None
    cells = [(cell.target, cell.predicted, cell.count, cell.url) for cell in heat_map.cells]
    assert cells == [
        (NAMES[0], NAMES[1], 3, "#errors?class=0&predicted=1&errors=only"),
        (NAMES[1], NAMES[2], 1200, "#errors?class=1&predicted=2&errors=only"),
    ]
    for cell, count in zip(heat_map.cells, ("3", "1,200"), strict=True):
        assert f"<title>{cell.target} → {cell.predicted}: {count}</title>" in heat_map.chart.svg
        assert f'data-filters="{cell.url.removeprefix("#errors?").replace("&", "&amp;")}"' in heat_map.chart.svg


def test_two_classes_have_no_heat_map() -> None:
    assert view(confused=([TENCH, GOLDFISH], np.ones((2, 2), int))).confusion_map is None


def test_number_of_shown_superclasses_is_limited() -> None:
    wrong = [part(f"superclass {index}", failures=index + 1) for index in range(MAX_SUPERCLASSES + 5)]

    result = view(superclasses=parts(*wrong))

    assert (len(result.superclasses), result.num_superclasses) == (MAX_SUPERCLASSES, MAX_SUPERCLASSES + 5)
    assert result.superclasses[0].name == f"superclass {MAX_SUPERCLASSES + 4}"


def test_number_of_shown_classes_is_limited() -> None:
    wrong = [part(f"class {index}", failures=index + 1) for index in range(MAX_CLASSES + 5)]

    result = view(classes=parts(*wrong, part("right")))

    assert len(result.classes) == MAX_CLASSES
    assert result.num_classes == MAX_CLASSES + 5
    assert result.classes[0].name == f"class {MAX_CLASSES + 4}"


def test_percentile_row_has_value_and_percentile() -> None:
    standings = (
        PercentileRank("spurious_correlation", 0.125, 0.17, None, 0.05, 0.4),
        PercentileRank("class_overlap", 0.02, None, NoReferenceReason.INDISTINCT, 0.1, 0.9),
        PercentileRank("model_failure", 0.375, 0.83, None, 0.7, 0.9),
        PercentileRank("multi_label_accuracy", 0.7654, 0.6, None, 0.5, 0.7),
    )

    result = view(percentiles=standings, notes=["The superclasses differ."])

    models = "of similarly accurate models"
    assert [(row.metric, row.value, row.portion_of) for row in result.percentiles] == [
        ("spurious correlation", "12.5 %", "multi-label errors"),
        ("class overlap", "2.0 %", "top-1 errors"),
        ("model failure", "37.5 %", "multi-label errors"),
        ("multi-label accuracy", "76.5 %", ""),
    ]
    assert [(row.percentile, row.interval, row.comparison) for row in result.percentiles] == [
        ("17", "5 to 40", f"fewer spurious correlations than 83 % {models}"),
        ("–", "10 to 90", "not distinguishable from its neighbors"),
        ("83", "70 to 90", f"more model failures than 83 % {models}"),
        ("60", "50 to 70", f"higher than 60 % {models}"),
    ]
    assert result.notes == ("The superclasses differ.",)
    assert [figure.percentile for figure in result.key_figures] == [
        "",
        f"Higher than 60 % {models} (95 % interval: 50 to 70 %).",
        f"As a portion of the multi-label errors: more model failures than 83 % {models} (95 % interval: 70 to 90 %).",
    ]


def test_wide_percentile_is_a_text_instead_of_a_number() -> None:
    result = view(percentiles=[PercentileRank("model_failure", 0.375, None, NoReferenceReason.INDISTINCT, 0.2, 0.98)])

    assert result.percentiles[0].percentile == "–"
    assert result.percentiles[0].comparison == "not distinguishable from its neighbors"
    assert [figure.percentile for figure in result.key_figures] == [
        "",
        "",
        "As a portion of the multi-label errors: not distinguishable from its neighbors.",
    ]


@pytest.mark.parametrize(
    "reason", [reason for reason in NoReferenceReason if reason is not NoReferenceReason.INDISTINCT]
)
def test_missing_percentile_states_the_reason_and_is_not_a_key_figure(reason: NoReferenceReason) -> None:
    standings = (
        PercentileRank("model_failure", None if reason is NoReferenceReason.NO_VALUE else 0.375, None, reason),
        PercentileRank("multi_label_accuracy", 0.7654, None, reason),
    )

    result = view(percentiles=standings)

    assert all(row.comparison.startswith("not available: ") for row in result.percentiles)
    assert result.percentiles[0].value == ("–" if reason is NoReferenceReason.NO_VALUE else "37.5 %")
    assert {figure.percentile for figure in result.key_figures} == {""}


def test_report_without_reference_models_has_no_percentiles() -> None:
    result = view()

    assert result.percentiles == ()
    assert {figure.percentile for figure in result.key_figures} == {""}


def test_calibration_needs_probabilities() -> None:
    assert view().calibration is None


def test_calibration_has_a_summary_bins_and_quartiles() -> None:
    bins = (Bin(0.0, 0.5, 0, None, None, None), Bin(0.5, 1.0, 1200, 0.875, 0.75, 0.8))
    confidence = {ErrorType.CORRECT: (1000, 0.7, 0.9, 0.99), ErrorType.MODEL_FAILURE: (3, 0.25, 0.5, 0.625)}

    result = view(calibration=Calibration(bins, 0.125, 0.075), confidence=confidence).calibration

    assert result is not None
    assert "12.5 % for top-1 correctness" in result.summary
    assert "7.5 % for multi-label correctness" in result.summary
    assert result.chart.description == (result.summary,)
    assert [(row.confidence, row.samples, row.mean, row.top1, row.multi_label) for row in result.bins] == [
        ("0.0 % to 50.0 %", "0", "–", "–", "–"),
        ("50.0 % to 100.0 %", "1,200", "87.5 %", "75.0 %", "80.0 %"),
    ]
    assert [(row.title, row.css_class, row.samples, row.quartiles) for row in result.by_type] == [
        ("top-1 correct", "type-1", "1,000", ("70.0 %", "90.0 %", "99.0 %")),
        ("model failure", "type-8", "3", ("25.0 %", "50.0 %", "62.5 %")),
    ]


def test_bins_on_the_site_link_to_the_images_from_their_lower_bound_on() -> None:
    bins = (Bin(0.0, 0.5, 0, None, None, None), Bin(0.5, 1.0, 1200, 0.875, 0.75, 0.8))
    calibration = Calibration(bins, 0.125, 0.075)
    on_site = view(calibration=calibration, links=ImageLinks("a1", imagenet_1k().ids)).calibration
    in_file = view(calibration=calibration).calibration

    assert on_site is not None and in_file is not None
    url = "/analyses/a1/images?min_confidence=0.5&sort=confidence"
    assert [row.url for row in on_site.bins] == ["", url]
    assert on_site.chart.svg.count(f'<a href="{url.replace("&", "&amp;")}"') == 2, "one for each kind of correctness"
    assert "lowest confidence first" in on_site.summary
    assert "<a " not in in_file.chart.svg and {row.url for row in in_file.bins} == {""}
    assert "lowest confidence first" not in in_file.summary


def test_error_row_has_class_names() -> None:
    (row,) = view(errors=(verdict(),)).errors

    assert "goldfish" in row.target
    assert "tench" in row.predicted
    assert (row.file_name, row.error_type, row.css_class, row.probability) == (
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


def test_missing_probability_is_a_dash_and_missing_evidence_is_empty() -> None:
    (row,) = view(errors=(verdict(probability=None, evidence=None),)).errors

    assert row.probability == "–"
    assert (row.labels, row.evidence, row.trace) == ((), (), ())


def test_problematic_image_shows_its_tags() -> None:
    (row,) = view(errors=(verdict(problematic=(ProblematicTag.EMPTY_WRONG, ProblematicTag.UNTAGGED)),)).errors

    assert row.tags == ("no labels; the prediction is wrong", "no specific reason")


def test_evidence_names_shared_superclasses_and_co_occurrences() -> None:
    shared, together = evidence_notes(verdict(), NAMES)

    assert "tench" in shared
    assert "goldfish" in shared
    assert shared.endswith("share a superclass: fish, animal.")
    assert together.endswith("occur together in 1,200 images, for example a.jpg, b.jpg.")


@pytest.mark.parametrize(("gate", "word"), [(True, " include classes similar"), (False, " include no classes similar")])
def test_vocabulary_evidence_lists_texts_in_order(gate: bool, word: str) -> None:
    original = verdict().evidence
    assert original is not None
    best = (ProposedText("A photo of a carp", 0.75, True), ProposedText("A photo of a tench", 0.125, False))
    evidence = replace(original, co_occurrences=(), vocabulary=VocabularyEvidence(gate, best, 1234))

    note = evidence_notes(verdict(evidence=evidence), NAMES)[-1]

    assert word in note
    assert "1,234 texts" in note
    assert "“A photo of a carp” (75.0 %), “A photo of a tench” (12.5 %)" in note


def test_predicted_class_that_is_a_label_is_no_evidence() -> None:
    original = verdict().evidence
    assert original is not None
    changed = replace(original, shared_superclasses=(SharedSuperclass(TENCH, ("fish",)),), co_occurrences=())

    assert evidence_notes(verdict(evidence=changed), NAMES) == ()


def test_overlap_is_the_first_evidence() -> None:
    original = verdict().evidence
    assert original is not None

    assert (
        evidence_notes(verdict(evidence=replace(original, overlap="They are the same thing.")), NAMES)[0]
        == "They are the same thing."
    )


def test_confusion_has_its_count_and_error_types() -> None:
    kinds = {ErrorType.FINE_GRAINED: 1500, ErrorType.MODEL_FAILURE: 2}
    (row,) = view(confusions=[(Confusion(GOLDFISH, TENCH, 1502, kinds), ["a.jpg", "b.jpg"])]).confusions

    assert "goldfish" in row.target
    assert "tench" in row.predicted
    assert (row.count, row.types) == ("1,502", "1,500 fine-grained, 2 model failure")
    assert row.examples == "a.jpg, b.jpg"


def test_provenance_identifies_model_data_and_evidence() -> None:
    info = ModelInfo("timm:net", "resnet50", "f" * 64, "resize 256")
    request = AnalysisRequest("demo", "timm:net", labels={"b": "2", "a": "1"})
    facts = {fact.name: fact.value for fact in view(analysis(model_info=info, request=request)).provenance}

    assert facts["data set"] == "demo"
    assert facts["model"] == "timm:net"
    assert facts["SHA-256 of the weights"] == "f" * 64
    assert facts["evidence digest"] == "e" * 64
    assert facts["date"] == "2024-02-29 23:59 UTC"
    assert facts["Errata version"] == "1.2.3"
    assert (facts["label a"], facts["label b"]) == ("1", "2")
    assert (facts["images in the data set"], facts["images with a prediction"]) == ("120", "110")
    assert facts["problematic images, excluded"] == "7"


def test_provenance_includes_optional_values() -> None:
    changed = summary(top1_accuracy_all_images=0.613, top1_accuracy_among_classes=0.7, imagenet_m_errors=0)
    facts = {fact.name: fact.value for fact in view(analysis(summary=changed, predictions_digest="d" * 64)).provenance}

    assert facts["top-1 accuracy on all images"] == "61.3 %"
    assert facts["top-1 accuracy restricted to the classes of the data set"] == "70.0 %"
    assert facts["ImageNet-M errors"] == "0"
    assert facts["predictions digest"] == "d" * 64


def test_sources_warnings_and_error_table_are_passed_on() -> None:
    result = view(analysis(warnings=("careful",)))

    assert result.sources == (SourceRow("ReaL", "timm", "Apache-2.0"),)
    assert result.warnings == ("careful",)
    assert result.table is TABLE


def test_unknown_provenance_is_not_listed() -> None:
    facts = {fact.name: fact.value for fact in view(analysis(request=AnalysisRequest("demo"))).provenance}

    assert facts["model"] == "uploaded predictions"
    assert "architecture" not in facts
    assert "ImageNet-M errors" not in facts
    assert all(facts.values())


def test_title_is_the_display_name_or_the_model_or_upload() -> None:
    assert view(analysis(request=AnalysisRequest("demo", "timm:net", "mine"))).title == "mine"
    assert view(analysis(request=AnalysisRequest("demo", "timm:net"))).title == "timm:net"
    assert view(analysis(request=AnalysisRequest("demo"))).title == "upload"


# rejected targets


def rejecting(dataset: str = "imagenet-real") -> Analysis:
    """Return an analysis of 100 images, of which labels reject 10 original labels; 35 predictions are other labels."""
    overall = replace(group(COUNTS), top1_errors=35, top1_accuracy=0.65, gain_if_fixed_top1={})
    overall = replace(overall, accuracy_against_labels=0.6789)
    groups = dict.fromkeys((ALL, *GROUPS), overall)
    return analysis(
        request=AnalysisRequest(dataset, "timm:net"), summary=summary(groups=groups, num_rejected_targets=10)
    )


def test_real_accuracy_is_a_key_figure_if_labels_reject_targets() -> None:
    figures = {figure.name: figure.value for figure in view(rejecting()).key_figures}

    assert figures["top-1 accuracy"] == "65.0 %"
    assert figures["ReaL accuracy"] == "67.9 %"
    assert "accuracy against the labels" in {figure.name for figure in view(rejecting("mine")).key_figures}
    assert view(rejecting()).groups[0].labels == "67.9 %"
    assert view(rejecting()).groups[0].image_multi_label == "70.0 %"  # (60 + 4 + 6) of 100
    assert view().key_figures[1].name == "multi-label accuracy (class mean)"


def test_errors_by_type_are_not_called_top1_errors_if_labels_reject_targets() -> None:
    result = view(rejecting())

    assert result.summary.startswith("timm:net makes 40 top-1 or multi-label errors on 100 images: 25.0 % are")
    assert "10 images" in result.rejected_targets
    assert "Percentages refer to all top-1 or multi-label errors." in result.rejected_targets
    assert [row.of_errors for row in result.severities] == ["25.0 %", "25.0 %", "12.5 %", "37.5 %"]
    assert {row.top1 for row in result.gains} == {"–"}
    assert result.breakdown_chart.description[0].startswith("all images: 40 top-1 or multi-label errors: ")
    properties = {item.name: item.value for item in result.provenance}
    assert properties["images whose labels reject the original label"] == "10"
    assert view().rejected_targets == ""
    assert view().summary.startswith("timm:net makes 40 top-1 errors on")


def test_evidence_says_that_labels_reject_the_original_label() -> None:
    (row,) = view(errors=[verdict(target=TENCH, replaced_by=GOLDFISH)]).errors

    assert row.target == "goldfish"
    assert row.evidence[0] == "The labels of the image reject its original label, “tench”."


@pytest.mark.parametrize(("prefers", "is_shown"), [(True, True), (False, False), (None, False)])
def test_evidence_says_that_clip_prefers_a_true_label(prefers: bool | None, is_shown: bool) -> None:
    vocabulary = VocabularyEvidence(True, (ProposedText("a photo of a carp", 0.5, True),), 12, prefers)
    evidence = verdict().evidence
    assert evidence is not None

    notes = evidence_notes(verdict(evidence=replace(evidence, vocabulary=vocabulary)), NAMES)

    assert any("CLIP prefers a true label" in note for note in notes) == is_shown


def test_report_counts_the_errors_for_which_clip_prefers_a_true_label() -> None:
    assert view(label_preference=(3, 1200)).label_preference.startswith("In 3 of 1,200 out-of-vocabulary errors, CLIP")
    assert view(label_preference=(0, 0)).label_preference == ""
    assert view().label_preference == ""


def test_a_partial_coverage_is_a_key_figure() -> None:
    covered = sum(COUNTS.values()) + 7  # problematic images are covered
    partial = analysis(summary=summary(num_judged=2 * covered))
    subset = analysis(summary=summary(num_judged=2 * covered), subset=Subset("d" * 64, 2 * covered, covered))

    figures = {figure.name: figure.value for figure in view(partial).key_figures}
    assert figures["coverage"] == "50.0 %"
    assert {figure.name: figure.value for figure in view(subset).key_figures}["coverage"] == "100.0 % of a subset"
    complete = view(analysis(summary=summary(num_judged=covered)))
    assert "coverage" not in {figure.name for figure in complete.key_figures}
    facts = {fact.name: fact.value for fact in complete.provenance}
    assert facts["coverage"] == f"{covered} of {covered} images (100.0 %)"
    assert {fact.name: fact.value for fact in view(subset).provenance}["digest of the subset"] == "d" * 64
