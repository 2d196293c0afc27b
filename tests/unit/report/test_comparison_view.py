"""The view of a comparison: summaries, the matrix of transitions, and the changes by class."""

from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from errata.messages import CLASS_ACCURACY, format_points, pluralize
from example_counts import max_examples
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from service.domain import (
    ALL,
    ERROR_TYPES,
    AdjustedTest,
    ChangedImage,
    ChangeQuery,
    ChangeRow,
    Comparison,
    Coverage,
    ErrorType,
    GroupComparison,
    GroupSummary,
    ImageChanges,
    Interval,
    PairedMetric,
    PairedTest,
    Summary,
    TypeChange,
)
from service.report.change_view import MAX_CLASSES
from service.report.comparison_page import ComparisonLinks, PageSource
from service.report.comparison_view import MAX_IMAGES, ComparisonView, IntervalRow, comparison_view
from service.report.messages import comparison as comparison_messages
from service.report.messages.comparison import comparison_summary
from service.report.messages.formatting import describe_change, describe_p_value
from service.taxonomy.imagenet_1k import GROUPS, imagenet_1k

HEBREW, ARABIC = "חתול", "قط"
HOLES = ("None", "nan", "  ", "()", " .", " ,", ",,", "..", ";;", "{", "}")
TENCH, GOLDFISH = 0, 1
SVG = "{http://www.w3.org/2000/svg}"
test_result = comparison_messages.test_result
test_result.__test__ = False  # type: ignore[attr-defined]  # its name looks like a test


def transitions(**counts: int) -> NDArray[np.int64]:
    """Return a matrix; each key is the type in A and the type in B, such as _48."""
    matrix = np.zeros((8, 8), np.int64)
    for key, count in counts.items():
        matrix[int(key[1]) - 1, int(key[2]) - 1] = count
    return matrix


def paired(question: PairedMetric, only_a: int = 0, only_b: int = 0, p_value: float = 1.0) -> PairedTest:
    return PairedTest(question, only_a, only_b, p_value, p_value < 0.05)


def group(matrix: NDArray[np.int64], severe: PairedTest | None = None) -> GroupComparison:
    samples = int(matrix.sum())
    rate = Interval(0.25, 0.2, -0.09, -0.01)
    tests = {question: paired(question) for question in PairedMetric}
    return GroupComparison(
        num_samples=samples,
        transitions=matrix,
        tests=tests if severe is None else {**tests, PairedMetric.SEVERE: severe},
        rates=dict.fromkeys(PairedMetric, rate) if samples else {},
        multi_label_accuracy=rate if samples else None,
        types=dict.fromkeys(ERROR_TYPES, rate) if samples else {},
    )


MATRIX = transitions(_11=500, _18=3, _81=40, _48=10, _84=2, _22=7, _12=1, _16=1)
NOTHING = group(np.zeros((8, 8), np.int64))
FAILURES = TypeChange(ErrorType.MODEL_FAILURE, 42, 13, Interval(0.25, 0.2, -0.09, -0.01), AdjustedTest(0.2, 0.4))
TESTED = {ALL: replace(group(MATRIX), type_changes=(FAILURES,))}


def summary() -> Summary:
    counts = dict.fromkeys(ERROR_TYPES, 0) | {ErrorType.CORRECT: 6, ErrorType.MODEL_FAILURE: 2}
    whole = GroupSummary(8, counts, 2, 0.75, 0.75, 0.75, 0.75, {}, {}, {}, {})
    return Summary(dict.fromkeys((ALL, *GROUPS), whole), (), 0, 8, 8, None, None, None)


def comparison(matrix: NDArray[np.int64] = MATRIX, **changes: Any) -> Comparison:
    everything = group(matrix, paired(PairedMetric.SEVERE, 40, 13, 0.0002))
    default = Comparison(
        id_a="a1",
        id_b="b2",
        title_a="old",
        title_b="new",
        dataset="demo",
        evidence="e" * 64,
        abstained=(),
        num_left_out=0,
        groups={ALL: everything, "organism": everything, "artifact": NOTHING, "other": NOTHING},
        classes={},
        superclasses={},
        fixed=(),
        broken=(),
    )
    return replace(default, **changes)


def view(value: Comparison | None = None) -> ComparisonView:
    return comparison_view(value or comparison(), summary(), summary(), imagenet_1k().names)


def texts_of(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value] if not value.startswith("<svg") else []
    if isinstance(value, tuple):
        return [text for item in value for text in texts_of(item)]
    return [text for item in vars(value).values() for text in texts_of(item)] if hasattr(value, "__dict__") else []


def test_title_and_summary_go_from_a_to_b() -> None:
    result = view()

    assert result.title == "old → new"
    assert result.summary == (
        "new, compared with old: fixes 40 images, breaks 4 images (3 new model failures); "
        "severe errors: 27 fewer, p < 0.001."
    )


def test_both_sides_have_a_summary() -> None:
    a, b = view().sides

    assert (a.letter, a.id, a.title) == ("A", "a1", "old")
    assert (b.letter, b.id, b.title) == ("B", "b2", "new")
    assert a.summary.startswith("old makes 2 top-1 errors on 8 images: ")
    assert b.summary.startswith("new makes 2 top-1 errors on 8 images: ")


@pytest.mark.parametrize(
    ("matrix", "severe", "sentence"),
    [
        (transitions(_11=9), paired(PairedMetric.SEVERE), "fixes 0 images, breaks 0 images; severe errors: no change"),
        (
            transitions(_11=9, _18=1),
            paired(PairedMetric.SEVERE, 0, 1, 1.0),
            "fixes 0 images, breaks 1 image (1 new model failure); severe errors: no significant change, p = 1.00",
        ),
        (
            transitions(_18=1200, _81=3),
            paired(PairedMetric.SEVERE, 3, 1200, 0.0),
            "fixes 3 images, breaks 1,200 images (1,200 new model failures); severe errors: 1,197 more, p < 0.001",
        ),
        (
            transitions(_84=10, _14=2),
            paired(PairedMetric.SEVERE, 10, 0, 0.002),
            "fixes 0 images, breaks 2 images; severe errors: 10 fewer, p = 0.002",
        ),
        (
            transitions(_82=5, _83=1, _81=1),
            paired(PairedMetric.SEVERE, 7, 0, 0.0156),
            "fixes 7 images, breaks 0 images; severe errors: 7 fewer, p = 0.016",
        ),
    ],
)
def test_comparison_summary_counts_fixed_broken_and_severe(
    matrix: NDArray[np.int64], severe: PairedTest, sentence: str
) -> None:
    assert comparison_summary(group(matrix, severe)) == sentence


def test_comparison_without_common_images_has_a_summary() -> None:
    assert comparison_summary(NOTHING) == "no image was evaluated in both analyses"


@given(
    cells=st.lists(st.integers(0, 3), min_size=64, max_size=64),
    only=st.tuples(st.integers(0, 2000), st.integers(0, 2000)),
    p_value=st.floats(0, 1),
)
@max_examples(200)
def test_comparison_summary_is_complete(cells: list[int], only: tuple[int, int], p_value: float) -> None:
    matrix = np.array(cells, np.int64).reshape(8, 8)
    sentence = comparison_summary(group(matrix, paired(PairedMetric.SEVERE, *only, p_value)))

    assert not [hole for hole in HOLES if hole in sentence]
    if matrix.sum():
        fixed = sum(int(matrix[a, b]) for a in range(3, 8) for b in range(3))
        broken = sum(int(matrix[a, b]) for a in range(3) for b in range(3, 8))
        assert sentence.startswith(f"fixes {pluralize(fixed, 'image')}, breaks {pluralize(broken, 'image')}")


@pytest.mark.parametrize(
    ("test", "sentence"),
    [
        (paired(PairedMetric.TOP1), "No change in top-1 accuracy."),
        (paired(PairedMetric.MULTI_LABEL), "No change in multi-label correctness."),
        (paired(PairedMetric.SEVERE), "No change in severe errors."),
        (
            paired(PairedMetric.TOP1, 10, 12, 0.832),
            "No significant change in top-1 accuracy (10 images only in A, 12 only in B; p = 0.83).",
        ),
        (
            paired(PairedMetric.TOP1, 10, 1200, 0.0),
            "B has significantly more top-1 correct predictions (10 images only in A, 1,200 only in B; p < 0.001).",
        ),
        (
            paired(PairedMetric.MULTI_LABEL, 20, 5, 0.0041),
            "B has significantly fewer multi-label correct predictions (20 images only in A, 5 only in B; p = 0.004).",
        ),
        (
            paired(PairedMetric.SEVERE, 5, 20, 0.0041),
            "B has significantly more severe errors (5 images only in A, 20 only in B; p = 0.004).",
        ),
    ],
)
def test_test_result_is_a_sentence(test: PairedTest, sentence: str) -> None:
    assert test_result(test) == sentence


@given(st.sampled_from(list(PairedMetric)), st.integers(0, 5000), st.integers(0, 5000), st.floats(0, 1))
@max_examples(200)
def test_test_result_is_complete(question: PairedMetric, only_a: int, only_b: int, p_value: float) -> None:
    sentence = test_result(paired(question, only_a, only_b, p_value))

    assert sentence.endswith(".")
    assert sentence.count(".") <= 2
    assert not [hole for hole in HOLES if hole in sentence]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "p < 0.001"),
        (0.00099, "p < 0.001"),
        (0.001, "p = 0.001"),
        (0.0494, "p = 0.049"),
        (0.0498001, "p = 0.0498"),
        (0.0499999, "p = 0.0499999"),
        (0.049996, "p = 0.049996"),
        (0.04999999999, "p = 0.04999999999"),
        (0.05 - 2**-57, "p = 0.049999999999999996"),
        (0.05, "p = 0.050"),
        (0.0501, "p = 0.0501"),
        (0.0506, "p = 0.051"),
        (0.1, "p = 0.10"),
        (1.0, "p = 1.00"),
    ],
)
def test_p_value_has_suitable_precision(value: float, text: str) -> None:
    assert describe_p_value(value) == text


@pytest.mark.parametrize(("value", "text"), [(0.0, "0.00"), (0.01234, "+1.23"), (-0.5, "−50.00"), (1.0, "+100.00")])
def test_points_have_a_sign(value: float, text: str) -> None:
    assert format_points(value) == text


def test_change_has_its_confidence_interval() -> None:
    assert describe_change(Interval(0.2, 0.25, -0.01, 0.06)) == "+5.00 points (−1.00 to +6.00)"


def test_the_signs_of_a_narrow_interval_show_whether_it_excludes_0() -> None:
    assert describe_change(Interval(0.5, 0.50002, 0.00001, 0.00004)) == "+0.00 points (+0.00 to +0.00)"
    assert describe_change(Interval(0.5, 0.50002, -0.00002, 0.00004)) == "+0.00 points (−0.00 to +0.00)"
    assert describe_change(Interval(0.5, 0.5, 0.0, 0.0)) == "0.00 points (0.00 to 0.00)"


def test_matrix_has_a_row_per_type_in_a_and_a_column_per_type_in_b() -> None:
    result = view()

    assert [row.title for row in result.matrix] == [error_type_.title for error_type_ in ERROR_TYPES]
    assert [row.title for row in result.matrix] == list(result.type_titles)
    assert [row.css_class for row in result.matrix] == [f"type-{number}" for number in range(1, 9)]
    counts = [[int(cell.count) for cell in row.cells] for row in result.matrix]
    assert counts == MATRIX.tolist()
    assert [row.total for row in result.matrix] == ["505", "7", "0", "10", "0", "0", "0", "42"]
    assert result.matrix_totals == ("540", "8", "0", "2", "0", "1", "0", "13")
    assert result.matrix_samples == "564"


@given(st.lists(st.integers(0, 3000) | st.just(0), min_size=64, max_size=64))
@max_examples(10)
def test_rows_and_columns_of_a_matrix_add_up(cells: list[int]) -> None:
    result = view(comparison(np.array(cells, np.int64).reshape(8, 8)))
    counted = [[int(cell.count.replace(",", "")) for cell in row.cells] for row in result.matrix]

    assert [sum(row) for row in counted] == [int(row.total.replace(",", "")) for row in result.matrix]
    columns = [sum(column) for column in zip(*counted, strict=True)]
    assert columns == [int(matrix_total.replace(",", "")) for matrix_total in result.matrix_totals]
    assert sum(columns) == int(result.matrix_samples.replace(",", ""))


def test_every_cell_has_the_class_of_its_change() -> None:
    full = np.ones((8, 8), np.int64)
    for empty in (False, True):
        result = view(comparison(np.diag(np.ones(8, np.int64)) if empty else full))
        for type_a, row in zip(ERROR_TYPES, result.matrix, strict=True):
            for type_b, cell in zip(ERROR_TYPES, row.cells, strict=True):
                parts = cell.css_class.split()
                if type_a is type_b:
                    assert parts == ["same"]
                elif empty:
                    assert parts == ["none"]
                else:
                    assert ("worse" in parts) == (type_b.severity > type_a.severity)
                    assert ("better" in parts) == (type_b.severity < type_a.severity)


@pytest.mark.parametrize(
    ("type_a", "type_b", "frame"),
    [
        (ErrorType.CORRECT, ErrorType.MODEL_FAILURE, "worse"),
        (ErrorType.MODEL_FAILURE, ErrorType.NON_PROTOTYPICAL, "better"),
        (ErrorType.FINE_GRAINED, ErrorType.FINE_GRAINED_OOV, ""),
        (ErrorType.CORRECT, ErrorType.CLASS_OVERLAP, ""),
        (ErrorType.MULTI_LABEL, ErrorType.FINE_GRAINED, "worse"),
        (ErrorType.SPURIOUS_CORRELATION, ErrorType.CLASS_OVERLAP, "better"),
    ],
)
def test_frame_marks_a_change_of_severity(type_a: ErrorType, type_b: ErrorType, frame: str) -> None:
    matrix = np.zeros((8, 8), np.int64)
    matrix[type_a.position, type_b.position] = 5

    css = view(comparison(matrix)).matrix[type_a.position].cells[type_b.position].css_class

    assert css == f"heat-4 {frame}".strip()


def test_heat_of_a_cell_grows_with_its_count_relative_to_the_largest_off_the_diagonal() -> None:
    result = view(comparison(transitions(_11=100_000, _18=800, _17=400, _16=200, _15=100, _14=1)))

    heat = [cell.css_class.split()[0] for cell in result.matrix[0].cells]
    assert heat == ["same", "none", "none", "heat-1", "heat-1", "heat-2", "heat-3", "heat-4"]


def test_top1_changes_are_counted_separately() -> None:
    fixed, broken = view().top1_changes

    assert (fixed, broken) == ("40", "5")


def test_tests_have_a_sentence_and_numbers() -> None:
    rows = view().tests

    assert [row.metric for row in rows] == ["top-1 accuracy", "multi-label correctness", "severe errors"]
    assert (rows[2].only_a, rows[2].only_b, rows[2].p_value) == ("40", "13", "< 0.001")
    assert rows[2].result.startswith("B has significantly fewer severe errors")


def test_intervals_are_ordered_and_unique() -> None:
    result = view()

    names = [row.name for row in result.intervals]
    assert names[:4] == [
        "top-1 accuracy",
        "multi-label accuracy (images)",
        "multi-label accuracy (class mean)",
        "severe error rate",
    ]
    assert len(names) == len(set(names)) == 10
    assert (result.intervals[0].a, result.intervals[0].b) == ("25.0 %", "20.0 %")
    assert result.intervals[0].change == "−5.00 points (−9.00 to −1.00)"
    (description,) = result.chart.description
    assert all(name in description for name in names)


def interval_links(value: Comparison, is_page: bool = True) -> dict[str | None, str | None]:
    """Return the URL of each row of the chart of intervals, by name; None: no link."""
    links = ComparisonLinks("a1", "b2", "demo", has_pictures=False, class_ids=imagenet_1k().ids)
    source = PageSource(links, ImageChanges(ChangeQuery(class_id=links.class_ids[TENCH]), MATRIX, (), ()))
    names = imagenet_1k().names
    result = comparison_view(value, summary(), summary(), names, source if is_page else None)
    root = ElementTree.fromstring(result.chart.svg)
    linked = {link.findtext(f"*/{SVG}title"): link.get("href") for link in root.iter(f"{SVG}a")}
    return {title.text: linked.get(title.text) for title in root.iter(f"{SVG}title")}


def test_intervals_of_error_types_link_to_the_images_of_b() -> None:
    overall = comparison().groups[ALL]
    types = {**overall.types, ErrorType.FINE_GRAINED: Interval(0.05, 0.0, -0.09, -0.01)}
    links = interval_links(comparison(groups={ALL: replace(overall, types=types)}))

    keys = ["", "", "", "model_failure", "class_overlap", "multi_label", "", "fine_grained_oov"]
    keys += ["spurious_correlation", "non_prototypical"]
    assert [*links.values()] == [f"/analyses/b2/images?type={key}&baseline=a1" if key else None for key in keys]
    change = "−5.00 points (−9.00 to −1.00)"
    assert [*links][:4] == [
        f"{name}: {change}"
        for name in ("top-1 accuracy", "multi-label accuracy (images)", CLASS_ACCURACY, "severe error rate")
    ]


@pytest.mark.parametrize(("changes", "is_page"), [({}, False), ({"num_left_out": 1}, True)])
def test_intervals_have_no_links_in_a_file_or_to_other_images_than_the_compared_ones(
    changes: dict[str, Any], is_page: bool
) -> None:
    assert {*interval_links(comparison(**changes), is_page).values()} == {None}


def test_error_type_without_evidence_has_no_interval() -> None:
    silent = (ErrorType.FINE_GRAINED_OOV, ErrorType.NON_PROTOTYPICAL)
    names = [row.name for row in view(comparison(abstained=silent)).intervals]

    assert len(names) == 8
    assert not [name for name in names if "vocabulary" in name or "prototypical" in name]


def test_comparison_without_samples_has_no_intervals() -> None:
    result = view(comparison(np.zeros((8, 8), np.int64)))

    assert result.intervals == ()
    assert result.matrix_samples == "0"


def test_classes_with_one_image_leave_out_the_interval_of_multi_label_accuracy() -> None:
    whole = comparison()
    overall = replace(whole.groups[ALL], multi_label_accuracy=None, multi_label_accuracies=(0.5, 0.625))

    result = view(replace(whole, groups={**whole.groups, ALL: overall}))

    assert result.intervals[2] == IntervalRow(CLASS_ACCURACY, "50.0 %", "62.5 %", "+12.50 points (no interval)")
    assert result.groups[0].class_accuracy == "50.0 % → 62.5 %"
    assert CLASS_ACCURACY in view().chart.svg and CLASS_ACCURACY not in result.chart.svg


def test_every_group_has_a_summary() -> None:
    groups = view().groups

    assert [(item.group, item.samples) for item in groups] == [
        ("all images", "564"),
        ("organisms", "564"),
        ("artifacts", "0"),
        ("other", "0"),
    ]
    assert groups[0].summary.startswith("fixes 40 images, breaks 4 images")
    assert groups[2].summary == "no image was evaluated in both analyses"


def test_matrix_has_no_counts_of_abstained_rules() -> None:
    result = view(comparison(abstained=(ErrorType.FINE_GRAINED_OOV, ErrorType.NON_PROTOTYPICAL)))
    missing = [number for number, total in enumerate(result.matrix_totals) if total == "–"]

    assert missing == [ErrorType.FINE_GRAINED_OOV.position, ErrorType.NON_PROTOTYPICAL.position]
    for number, row in enumerate(result.matrix):
        assert (row.total == "–") is (number in missing)
        dashes = [column for column, cell in enumerate(row.cells) if cell.count == "–"]
        assert dashes == ([*range(8)] if number in missing else missing)


def test_abstentions_and_excluded_images_are_listed() -> None:
    both = (ErrorType.FINE_GRAINED_OOV, ErrorType.NON_PROTOTYPICAL)
    result = view(comparison(abstained=both, num_left_out=1200))

    assert result.num_excluded == "1,200"
    assert len(result.abstained) == 2
    assert "counted as spurious correlation or model failure. " in result.abstained[0]
    assert view().num_excluded == ""


def change(name: str = "fish") -> ChangeRow:
    return ChangeRow(name, None, 1200, 3, 4, Interval(0.125, 0.25, 0.05, 0.2), AdjustedTest(0.0004, 0.043))


def test_class_change_has_counts_rates_interval_and_test() -> None:
    (tables,) = view(comparison(classes={ALL: ()}, superclasses={ALL: (change(),)}, groups=TESTED)).changes
    (row,) = tables.superclasses

    assert (row.name, row.samples, row.only_a, row.only_b) == ("fish", "1,200", "3", "4")
    assert (row.rate_a, row.rate_b, row.interval) == ("12.5 %", "25.0 %", "+5.00 to +20.00")
    assert (row.p_value, row.adjusted_p_value, row.significant) == ("< 0.001", "0.043", True)


def test_change_of_an_error_type_has_its_counts_and_test() -> None:
    (tables,) = view(comparison(groups=TESTED)).changes
    (row,) = tables.types

    assert (tables.group, row.name, row.css_class) == ("all images", "model failure", "type-8")
    assert (row.samples, row.only_a, row.only_b) == ("564", "42", "13")
    assert (row.p_value, row.adjusted_p_value, row.significant) == ("0.20", "0.40", False)


def test_only_groups_with_changes_have_tables() -> None:
    both = dict.fromkeys((ALL, "artifact"), TESTED[ALL]) | {
        "organism": NOTHING,
        "other": NOTHING,
    }

    assert [tables.group for tables in view(comparison(groups=both)).changes] == ["all images", "artifacts"]
    assert view(comparison(groups=dict.fromkeys((ALL, *GROUPS), NOTHING))).changes == ()


def test_groups_have_the_accuracy_over_images_and_over_classes() -> None:
    first, *_, last = view().groups

    assert first.image_accuracy == first.class_accuracy == first.top1 == "25.0 % → 20.0 %"
    assert last.image_accuracy == last.class_accuracy == last.top1 == "–"


def test_number_of_shown_classes_and_images_is_limited() -> None:
    flip = ChangedImage("x.jpg", GOLDFISH, GOLDFISH, TENCH, ErrorType.CORRECT, ErrorType.FINE_GRAINED, GOLDFISH)
    many = tuple(change(f"class {index}") for index in range(MAX_CLASSES + 3))
    result = view(comparison(groups=TESTED, classes={ALL: many}, broken=(flip,) * (MAX_IMAGES + 1)))

    (tables,) = result.changes
    assert (len(tables.classes), tables.num_classes) == (MAX_CLASSES, MAX_CLASSES + 3)
    assert tables.classes[0].name == "class 0"
    assert len(result.broken) == MAX_IMAGES
    assert (result.num_fixed, result.num_broken) == (40, 4)


def test_changed_image_has_both_predictions_and_error_types() -> None:
    flip = ChangedImage("x.jpg", GOLDFISH, TENCH, GOLDFISH, ErrorType.FINE_GRAINED, ErrorType.CORRECT, GOLDFISH)

    (row,) = view(comparison(fixed=(flip,))).fixed

    assert "goldfish" in row.target
    assert "tench" in row.predicted_a
    assert "goldfish" in row.predicted_b
    assert (row.file_name, row.type_a, row.css_class_a) == ("x.jpg", "fine-grained", "type-4")
    assert (row.type_b, row.css_class_b) == ("top-1 correct", "type-1")


def test_provenance_identifies_both_analyses() -> None:
    assert {item.name: item.value for item in view().provenance} == {
        "data set": "demo",
        "evidence digest": "e" * 64,
        "A": "a1",
        "B": "b2",
    }


def test_texts_of_the_page_are_complete() -> None:
    result = view(
        comparison(superclasses={ALL: (change(),)}, abstained=(ErrorType.SPURIOUS_CORRELATION,), num_left_out=2)
    )

    texts = texts_of(result)
    assert len(texts) > 150
    assert not [(hole, text) for text in texts for hole in HOLES if hole in text]


def test_a_comparison_of_other_images_states_the_coverage_of_both() -> None:
    partial = view(comparison(coverages=(Coverage(980, 1000), Coverage(50, 50, 1000))))

    assert partial.coverage.startswith(f"Compared on {int(MATRIX.sum())} images with predictions in both analyses")
    assert "Coverage of A: 980 of 1,000 images (98.0 %)." in partial.coverage
    assert "Coverage of B: 50 of 50 images of a subset (100.0 %)" in partial.coverage
    assert view(comparison(coverages=(Coverage(1000, 1000), None))).coverage == ""


def test_right_to_left_titles_do_not_reverse_the_arrow() -> None:
    result = view(comparison(title_a=HEBREW, title_b=ARABIC))

    assert result.title == f"\u2068{HEBREW}\u2069 → \u2068{ARABIC}\u2069"
    assert [side.title for side in result.sides] == [HEBREW, ARABIC]
