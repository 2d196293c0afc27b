"""The page of a comparison: a sentence for every case, a matrix of where the images went, and what changed where."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from errata.messages import ERROR_TYPE_TITLES, format_points
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from service.domain import (
    ERROR_TYPES,
    SEVERITY,
    ChangedImage,
    ChangeRow,
    Comparison,
    ErrorType,
    Group,
    GroupComparison,
    GroupSummary,
    Interval,
    PairedMetric,
    PairedTest,
    Summary,
)
from service.report import messages
from service.report.comparison_view import SHOWN_FLIPS, SHOWN_ROWS, ComparisonView, comparison_view
from service.report.messages import interval_words, p_text, verdict_of_comparison

HOLES = ("None", "nan", "  ", "()", " .", " ,", ",,", "..", ";;", "{", "}")
TENCH, GOLDFISH = 0, 1
say = messages.test_words  # pytest would take the name for a test


def transitions(**counts: int) -> NDArray[np.int64]:
    """Return a matrix; a key is two digits, the type in A and that in B."""
    matrix = np.zeros((8, 8), np.int64)
    for key, count in counts.items():
        matrix[int(key[1]) - 1, int(key[2]) - 1] = count
    return matrix


def paired(question: PairedMetric, only_a: int = 0, only_b: int = 0, p_value: float = 1.0) -> PairedTest:
    return PairedTest(question, only_a, only_b, p_value, p_value < 0.05)


def group(matrix: NDArray[np.int64], severe: PairedTest | None = None) -> GroupComparison:
    samples = int(matrix.sum())
    rate = Interval(0.25, 0.2, 0.01, 0.09)
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


def summary() -> Summary:
    counts = dict.fromkeys(ERROR_TYPES, 0) | {ErrorType.CORRECT: 6, ErrorType.MODEL_FAILURE: 2}
    whole = GroupSummary(8, counts, 2, 0.75, 0.75, 0.75, 0.75, {}, {}, {}, {})
    return Summary(dict.fromkeys(Group, whole), (), 0, 8, 8, None, None, None)


def comparison(matrix: NDArray[np.int64] = MATRIX, **changes: Any) -> Comparison:
    everything = group(matrix, paired(PairedMetric.SEVERE, 40, 13, 0.0002))
    made = Comparison(
        id_a="a1",
        id_b="b2",
        title_a="old",
        title_b="new",
        dataset="demo",
        evidence="e" * 64,
        abstained=(),
        num_left_out=0,
        groups={Group.ALL: everything, Group.ORGANISM: everything, Group.ARTIFACT: NOTHING, Group.OTHER: NOTHING},
        classes=(),
        superclasses=(),
        fixed=(),
        broken=(),
    )
    return replace(made, **changes)


def view(given: Comparison | None = None) -> ComparisonView:
    return comparison_view(given or comparison(), summary(), summary())


def texts_of(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value] if not value.startswith("<svg") else []
    if isinstance(value, tuple):
        return [text for item in value for text in texts_of(item)]
    return [text for item in vars(value).values() for text in texts_of(item)] if hasattr(value, "__dict__") else []


def test_the_title_goes_from_a_to_b_and_the_verdict_says_what_b_does() -> None:
    shown = view()

    assert shown.title == "old → new"
    assert shown.verdict == (
        "new, compared with old: fixes 40, breaks 4, of which 3 new model failures; severe errors: 27 fewer, p < 0.001."
    )


def test_both_sides_have_their_own_headline() -> None:
    a, b = view().sides

    assert (a.letter, a.id, a.title) == ("A", "a1", "old")
    assert (b.letter, b.id, b.title) == ("B", "b2", "new")
    assert a.headline.startswith("old is wrong on 2 of 8 images.")
    assert b.headline.startswith("new is wrong on 2 of 8 images.")


@pytest.mark.parametrize(
    ("matrix", "severe", "said"),
    [
        (transitions(_11=9), paired(PairedMetric.SEVERE), "fixes 0, breaks 0; severe errors: no change"),
        (
            transitions(_11=9, _18=1),
            paired(PairedMetric.SEVERE, 0, 1, 1.0),
            "fixes 0, breaks 1, of which 1 new model failure; severe errors: no significant change, p = 1.00",
        ),
        (
            transitions(_18=1200, _81=3),
            paired(PairedMetric.SEVERE, 3, 1200, 0.0),
            "fixes 3, breaks 1,200, of which 1,200 new model failures; severe errors: 1,197 more, p < 0.001",
        ),
        (
            transitions(_84=10, _14=2),
            paired(PairedMetric.SEVERE, 10, 0, 0.002),
            "fixes 0, breaks 2; severe errors: 10 fewer, p = 0.002",
        ),
        (
            transitions(_82=5, _83=1, _81=1),
            paired(PairedMetric.SEVERE, 7, 0, 0.0156),
            "fixes 7, breaks 0; severe errors: 7 fewer, p = 0.016",
        ),
    ],
)
def test_a_verdict_says_what_is_fixed_broken_and_severe(
    matrix: NDArray[np.int64], severe: PairedTest, said: str
) -> None:
    assert verdict_of_comparison(group(matrix, severe)) == said


def test_without_an_image_that_both_judged_the_verdict_says_so() -> None:
    assert verdict_of_comparison(NOTHING) == "there is no image that both judged"


@given(
    cells=st.lists(st.integers(0, 3), min_size=64, max_size=64),
    only=st.tuples(st.integers(0, 2000), st.integers(0, 2000)),
    p_value=st.floats(0, 1),
)
@settings(max_examples=200, deadline=None)
def test_a_verdict_never_has_a_hole(cells: list[int], only: tuple[int, int], p_value: float) -> None:
    matrix = np.array(cells, np.int64).reshape(8, 8)
    said = verdict_of_comparison(group(matrix, paired(PairedMetric.SEVERE, *only, p_value)))

    assert not [hole for hole in HOLES if hole in said]
    if matrix.sum():
        fixed = sum(int(matrix[a, b]) for a in range(3, 8) for b in range(3))
        broken = sum(int(matrix[a, b]) for a in range(3) for b in range(3, 8))
        assert said.startswith(f"fixes {fixed}, breaks {broken}")


@pytest.mark.parametrize(
    ("test", "said"),
    [
        (paired(PairedMetric.TOP1), "No image differs in top-1 accuracy."),
        (paired(PairedMetric.MULTI_LABEL), "No image differs in multi-label correctness."),
        (paired(PairedMetric.SEVERE), "No image differs in severe errors."),
        (
            paired(PairedMetric.TOP1, 10, 12, 0.832),
            "No significant change in top-1 accuracy (10 images in A alone, 12 in B alone; p = 0.83).",
        ),
        (
            paired(PairedMetric.TOP1, 10, 1200, 0.0),
            "B has significantly more top-1 correct (10 images in A alone, 1,200 in B alone; p < 0.001).",
        ),
        (
            paired(PairedMetric.MULTI_LABEL, 20, 5, 0.0041),
            "B has significantly fewer multi-label correct (20 images in A alone, 5 in B alone; p = 0.004).",
        ),
        (
            paired(PairedMetric.SEVERE, 5, 20, 0.0041),
            "B has significantly more severe errors (5 images in A alone, 20 in B alone; p = 0.004).",
        ),
    ],
)
def test_a_test_is_told_in_a_sentence(test: PairedTest, said: str) -> None:
    assert say(test) == said


@given(st.sampled_from(list(PairedMetric)), st.integers(0, 5000), st.integers(0, 5000), st.floats(0, 1))
@settings(max_examples=200, deadline=None)
def test_the_sentence_of_a_test_never_has_a_hole(
    question: PairedMetric, only_a: int, only_b: int, p_value: float
) -> None:
    said = say(paired(question, only_a, only_b, p_value))

    assert said.endswith(".")
    assert said.count(".") <= 2
    assert not [hole for hole in HOLES if hole in said]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "p < 0.001"),
        (0.00099, "p < 0.001"),
        (0.001, "p = 0.001"),
        (0.0499, "p = 0.050"),
        (0.1, "p = 0.10"),
        (1.0, "p = 1.00"),
    ],
)
def test_a_p_value_has_the_digits_that_matter(value: float, text: str) -> None:
    assert p_text(value) == text


@pytest.mark.parametrize(("value", "text"), [(0.0, "+0.00"), (0.01234, "+1.23"), (-0.5, "−50.00"), (1.0, "+100.00")])
def test_points_always_have_a_sign(value: float, text: str) -> None:
    assert format_points(value) == text


def test_an_interval_is_told_as_the_change_from_a_to_b_with_its_ends() -> None:
    assert interval_words(Interval(0.2, 0.25, -0.06, 0.01)) == "+5.00 points (−1.00 to +6.00)"


def test_the_matrix_has_a_row_a_type_in_a_and_a_column_a_type_in_b() -> None:
    shown = view()

    assert [row.title for row in shown.matrix] == [ERROR_TYPE_TITLES[error_type_] for error_type_ in ERROR_TYPES]
    assert [row.title for row in shown.matrix] == list(shown.type_titles)
    assert [row.css for row in shown.matrix] == [f"type-{number}" for number in range(1, 9)]
    counts = [[int(cell.count) for cell in row.cells] for row in shown.matrix]
    assert counts == MATRIX.tolist()
    assert [row.total for row in shown.matrix] == ["505", "7", "0", "10", "0", "0", "0", "42"]
    assert shown.matrix_totals == ("540", "8", "0", "2", "0", "1", "0", "13")
    assert shown.samples == "564"


@given(st.lists(st.integers(0, 3000) | st.just(0), min_size=64, max_size=64))
@settings(max_examples=10, deadline=None)
def test_the_books_of_a_matrix_balance(cells: list[int]) -> None:
    shown = view(comparison(np.array(cells, np.int64).reshape(8, 8)))
    counted = [[int(cell.count.replace(",", "")) for cell in row.cells] for row in shown.matrix]

    assert [sum(row) for row in counted] == [int(row.total.replace(",", "")) for row in shown.matrix]
    columns = [sum(column) for column in zip(*counted, strict=True)]
    assert columns == [int(matrix_total.replace(",", "")) for matrix_total in shown.matrix_totals]
    assert sum(columns) == int(shown.samples.replace(",", ""))


def test_every_cell_is_the_same_worse_better_or_empty() -> None:
    full = np.ones((8, 8), np.int64)
    for empty in (False, True):
        shown = view(comparison(np.diag(np.ones(8, np.int64)) if empty else full))
        for type_a, row in zip(ERROR_TYPES, shown.matrix, strict=True):
            for type_b, cell in zip(ERROR_TYPES, row.cells, strict=True):
                parts = cell.css.split()
                if type_a is type_b:
                    assert parts == ["same"]
                elif empty:
                    assert parts == ["none"]
                else:
                    assert ("worse" in parts) == (SEVERITY[type_b] > SEVERITY[type_a])
                    assert ("better" in parts) == (SEVERITY[type_b] < SEVERITY[type_a])


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
def test_a_frame_says_whether_it_got_worse(type_a: ErrorType, type_b: ErrorType, frame: str) -> None:
    matrix = np.zeros((8, 8), np.int64)
    matrix[type_a - 1, type_b - 1] = 5

    css = view(comparison(matrix)).matrix[type_a - 1].cells[type_b - 1].css

    assert css == f"heat-4 {frame}".strip()


def test_a_cell_is_the_hotter_the_more_images_it_has_and_the_diagonal_doesnt_count() -> None:
    shown = view(comparison(transitions(_11=100_000, _18=800, _17=400, _16=200, _15=100, _14=1)))

    heat = [cell.css.split()[0] for cell in shown.matrix[0].cells]
    assert heat == ["same", "none", "none", "heat-1", "heat-1", "heat-2", "heat-3", "heat-4"]


def test_flips_of_the_top1_prediction_are_counted_apart() -> None:
    fixed, broken = view().top1_flips

    assert (fixed, broken) == ("40", "5")


def test_tests_are_told_in_words_and_in_numbers() -> None:
    rows = view().tests

    assert [row.question for row in rows] == ["top-1 accuracy", "multi-label correctness", "severe errors"]
    assert (rows[2].only_a, rows[2].only_b, rows[2].p_value) == ("40", "13", "p < 0.001")
    assert rows[2].told.startswith("B has significantly fewer severe errors")


def test_intervals_stand_in_the_order_of_their_importance_and_no_rate_twice() -> None:
    shown = view()

    names = [row.name for row in shown.intervals]
    assert names[:4] == [
        "top-1 accuracy",
        "multi-label accuracy, mean over classes",
        "multi-label correct, share of images",
        "severe error rate",
    ]
    assert len(names) == len(set(names)) == 10
    assert (shown.intervals[0].a, shown.intervals[0].b) == ("25.0 %", "20.0 %")
    assert shown.intervals[0].told == "−5.00 points (−9.00 to −1.00)"
    (told,) = shown.picture.told
    assert all(name in told for name in names)


def test_what_a_silent_rule_would_say_has_no_interval() -> None:
    silent = (ErrorType.FINE_GRAINED_OOV, ErrorType.NON_PROTOTYPICAL)
    names = [row.name for row in view(comparison(abstained=silent)).intervals]

    assert len(names) == 8
    assert not [name for name in names if "vocabulary" in name or "prototypical" in name]


def test_without_samples_there_are_no_intervals() -> None:
    shown = view(comparison(np.zeros((8, 8), np.int64)))

    assert shown.intervals == ()
    assert shown.samples == "0"


def test_each_group_has_its_sentence() -> None:
    groups = view().groups

    assert [(item.group, item.samples) for item in groups] == [
        ("all images", "564"),
        ("organisms", "564"),
        ("artifacts", "0"),
        ("other", "0"),
    ]
    assert groups[0].verdict.startswith("fixes 40, breaks 4")
    assert groups[2].verdict == "there is no image that both judged"


def test_what_abstained_and_what_was_left_out_is_told() -> None:
    both = (ErrorType.FINE_GRAINED_OOV, ErrorType.NON_PROTOTYPICAL)
    shown = view(comparison(abstained=both, num_left_out=1200))

    assert shown.left_out == "1,200"
    assert len(shown.abstained) == 2
    assert "counted as spurious correlation or model failure. " in shown.abstained[0]
    assert view().left_out == ""


def change(name: str = "fish") -> ChangeRow:
    return ChangeRow(name, None, 1200, 3, 4, Interval(0.125, 0.25, -0.2, -0.05))


def test_a_part_says_what_changed_in_it() -> None:
    (row,) = view(comparison(superclasses=(change(),))).superclasses

    assert (row.name, row.samples, row.fixed, row.broken) == ("fish", "1,200", "3", "4")
    assert (row.errors_a, row.errors_b, row.interval) == ("12.5 %", "25.0 %", "+5.00 to +20.00")


def test_only_so_many_parts_and_flips_are_shown_and_all_are_counted() -> None:
    flip = ChangedImage("x.jpg", GOLDFISH, GOLDFISH, TENCH, ErrorType.CORRECT, ErrorType.FINE_GRAINED)
    many = tuple(change(f"class {index}") for index in range(SHOWN_ROWS + 3))
    shown = view(comparison(classes=many, broken=(flip,) * (SHOWN_FLIPS + 1)))

    assert (len(shown.classes), shown.num_classes) == (SHOWN_ROWS, SHOWN_ROWS + 3)
    assert shown.classes[0].name == "class 0"
    assert len(shown.broken) == SHOWN_FLIPS
    assert (shown.num_fixed, shown.num_broken) == (40, 4)


def test_a_flip_says_what_both_predict_and_what_that_is() -> None:
    flip = ChangedImage("x.jpg", GOLDFISH, TENCH, GOLDFISH, ErrorType.FINE_GRAINED, ErrorType.CORRECT)

    (row,) = view(comparison(fixed=(flip,))).fixed

    assert "goldfish" in row.target
    assert "tench" in row.predicted_a
    assert "goldfish" in row.predicted_b
    assert (row.file_name, row.type_a, row.css_a) == ("x.jpg", "fine-grained", "type-4")
    assert (row.type_b, row.css_b) == ("top-1 correct", "type-1")


def test_provenance_says_what_was_compared() -> None:
    assert dict(view().provenance) == {"data set": "demo", "evidence, digest": "e" * 64, "A": "a1", "B": "b2"}


def test_no_text_of_the_page_has_a_hole() -> None:
    shown = view(comparison(superclasses=(change(),), abstained=(ErrorType.SPURIOUS_CORRELATION,), num_left_out=2))

    texts = texts_of(shown)
    assert len(texts) > 150
    assert not [(hole, text) for text in texts for hole in HOLES if hole in text]
