"""Texts that the command line and the reports share."""

from collections.abc import Mapping
from enum import Enum

import pytest
from errata import messages
from errata.enums import LabelSource, Outcome, ProblematicTag, Severity, State
from errata.error_types import ERROR_TYPES, ErrorType
from errata.messages import (
    abstention_notes,
    cooccurrence_note,
    format_count,
    format_percentage,
    format_points,
    list_names,
    pluralize,
    rule_outcome,
    superclass_note,
    vocabulary_note,
)
from example_counts import max_examples
from hypothesis import given
from hypothesis import strategies as st

TABLES: list[tuple[Mapping[object, str], type[Enum]]] = [
    (messages.SEVERITY_NAMES, Severity),
    (messages.STATE_NAMES, State),
    (messages.LABEL_SOURCE_NAMES, LabelSource),
    (messages.OUTCOME_NAMES, Outcome),
    (messages.PROBLEMATIC_TAG_NAMES, ProblematicTag),
    ({kind: kind.title for kind in ErrorType}, ErrorType),
    ({kind: kind.plural for kind in ErrorType}, ErrorType),
    ({kind: kind.row.description for kind in ErrorType}, ErrorType),
]


@pytest.mark.parametrize(("table", "members"), TABLES)
def test_every_member_has_a_unique_name(table: Mapping[object, str], members: type[Enum]) -> None:
    names = [table[member] for member in members if member.name != "UNSPECIFIED"]

    assert all(names)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("count", "text"), [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")])
def test_counts_have_thousands_separators(count: int, text: str) -> None:
    assert format_count(count) == text


@pytest.mark.parametrize(
    ("fraction", "text"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (0.0, "0.0 %"),
        (1.0, "100.0 %"),
        (0.3719, "37.2 %"),
        (0.00051, "0.1 %"),
        (0.9994, "99.9 %"),
    ],
)
def test_percentages_have_one_decimal_and_missing_values_a_dash(fraction: float | None, text: str) -> None:
    assert format_percentage(fraction) == text


@pytest.mark.parametrize(
    ("fraction", "text"),
    [(1e-6, "< 0.1 %"), (0.00049, "< 0.1 %"), (0.99951, "> 99.9 %"), (1 - 1e-6, "> 99.9 %")],
)
def test_a_percentage_close_to_none_or_all_is_not_rounded_to_it(fraction: float, text: str) -> None:
    assert format_percentage(fraction) == text


def test_a_rounding_error_does_not_make_a_percentage_inexact() -> None:
    assert format_percentage(sum([0.1] * 10)) == "100.0 %"  # 0.9999999999999999
    assert format_percentage(0.1 + 0.2 - 0.3) == "0.0 %"  # 5.6e-17


@given(st.floats(-1, 1))
@max_examples(200)
def test_points_have_a_sign_and_two_decimals(value: float) -> None:
    text = format_points(value)

    assert value == 0 or text[0] == ("−" if value < 0 else "+") or abs(value) < 1e-11
    assert float(text.replace("−", "-")) == pytest.approx(100 * value, abs=0.00501)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (-0.00002, "−0.00"),
        (0.00002, "+0.00"),
        (-0.01234, "−1.23"),
        (0.0, "0.00"),
        (-0.0, "0.00"),
        (0.1 + 0.2 - 0.3, "0.00"),
    ],
)
def test_points_keep_the_sign_of_the_exact_value_and_zero_has_none(value: float, text: str) -> None:
    assert format_points(value) == text


def test_nouns_are_pluralized() -> None:
    assert pluralize(1, "image") == "1 image"
    assert pluralize(0, "image") == "0 images"
    assert pluralize(1200, "image") == "1,200 images"
    assert pluralize(2, "stored analysis", "stored analyses") == "2 stored analyses"


def test_lists_have_a_serial_comma() -> None:
    assert list_names(["a"]) == "a"
    assert list_names(["a", "b"]) == "a and b"
    assert list_names(["a", "b", "c"], "or") == "a, b, or c"


@pytest.mark.parametrize(
    "error_type", [ErrorType.FINE_GRAINED_OOV, ErrorType.SPURIOUS_CORRELATION, ErrorType.NON_PROTOTYPICAL]
)
def test_an_abstention_names_the_types_that_its_errors_receive(error_type: ErrorType) -> None:
    (note,) = abstention_notes([error_type.key])
    later = [other.title for other in ERROR_TYPES[error_type.position + 1 :]]

    assert f"are counted as {list_names(later, 'or')}. " in note
    assert error_type.plural in note.lower()
    plurals = list_names([other.plural for other in ERROR_TYPES[error_type.position + 1 :]])
    assert note.endswith(
        "The number of model failures is an upper bound."
        if error_type is ErrorType.NON_PROTOTYPICAL
        else f"The numbers of {plurals} are upper bounds."
    )


def test_errors_do_not_receive_a_type_that_also_has_no_evidence() -> None:
    notes = abstention_notes(["spurious_correlation", "non_prototypical"])

    end = "are counted as model failure. The number of model failures is an upper bound."
    assert [note.endswith(end) for note in notes] == [True, True]


def test_evidence_notes_are_sentences() -> None:
    assert superclass_note("tabby", "lynx", ["cat", "feline"]) == "“tabby” and “lynx” share a superclass: cat, feline."
    assert cooccurrence_note("desk", "mouse", 1200, ["a.JPEG", "b.JPEG"]) == (
        "“desk” and “mouse” occur together in 1,200 images, for example a.JPEG, b.JPEG."
    )
    assert "occur together in 1 image, for" in cooccurrence_note("desk", "mouse", 1, ["a.JPEG"])
    assert vocabulary_note("tabby", True, 1100, [("a photo of a lynx", 0.341)]) == (
        "The nearest training images include classes similar to “tabby”. "
        "Of 1,100 texts, CLIP ranks these highest: “a photo of a lynx” (34.1 %)."
    )
    assert "include no classes similar to “tabby”" in vocabulary_note("tabby", False, 2, [])
    assert "Of 1 text, CLIP" in vocabulary_note("tabby", False, 1, [("a photo of a lynx", 1.0)])


@pytest.mark.parametrize("error_type", ERROR_TYPES)
def test_a_rule_outcome_names_the_rule_and_the_note(error_type: ErrorType) -> None:
    assert rule_outcome(error_type.key, "", Outcome.MISS) == f"{error_type.title}: no match"
    assert rule_outcome(error_type.key, "table", Outcome.HIT) == f"{error_type.title} (table): match"


def test_a_type_of_a_newer_service_has_its_name() -> None:
    assert rule_outcome("blurred", "", Outcome.HIT) == "blurred: match"
    assert abstention_notes(["blurred"]) == [
        "The rule “blurred” has no evidence. The number of model failures is an upper bound."
    ]
    assert messages.metric_name("blurred") == "blurred"
