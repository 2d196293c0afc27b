"""The words of the report: every kind has some, numbers are readable, and the headline is a sentence for every case."""

from collections.abc import Mapping
from enum import Enum

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.domain import ERROR_TYPES, ErrorType, Group, LabelSource, Outcome, ProblematicTag, Severity
from service.report import words
from service.report.words import ERROR_TYPE_WORDS, abstention, headline, number, share

TABLES: list[tuple[Mapping[object, str], type[Enum]]] = [
    (words.GROUP_WORDS, Group),
    (words.SEVERITY_WORDS, Severity),
    (words.SOURCE_WORDS, LabelSource),
    (words.OUTCOME_WORDS, Outcome),
    (words.TAG_WORDS, ProblematicTag),
]


@pytest.mark.parametrize("error_type", ERROR_TYPES)
def test_every_error_type_has_words(error_type: ErrorType) -> None:
    found = ERROR_TYPE_WORDS[error_type]

    assert found.title
    assert found.plural
    assert found.sentence.endswith(".")


def test_no_two_error_types_are_called_the_same() -> None:
    assert len({each.title for each in ERROR_TYPE_WORDS.values()}) == len(ERROR_TYPES)
    assert set(ERROR_TYPE_WORDS) == set(ERROR_TYPES)


@pytest.mark.parametrize(("table", "kind"), TABLES, ids=[kind.__name__ for _, kind in TABLES])
def test_every_member_of_an_enumeration_has_words_of_its_own(table: Mapping[object, str], kind: type[Enum]) -> None:
    named = [each for each in kind if each.name != "UNSPECIFIED"]

    assert all(table[each] for each in named)
    assert len({table[each] for each in named}) == len(named)


@pytest.mark.parametrize(("count", "text"), [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")])
def test_thousands_are_separated(count: int, text: str) -> None:
    assert number(count) == text


@pytest.mark.parametrize(
    ("fraction", "text"), [(None, "–"), (0.0, "0.0 %"), (1.0, "100.0 %"), (0.3719, "37.2 %"), (0.00049, "0.0 %")]
)
def test_shares_have_one_decimal_and_absent_ones_a_dash(fraction: float | None, text: str) -> None:
    assert share(fraction) == text


# the example of design/report.md
RESNET = {"errors": 2889, "samples": 18_692, "noise": 0.372, "minor": 0.327, "excused": 0.044, "severe": 743}


def test_the_headline_is_the_one_of_the_design() -> None:
    assert headline("resnet50", **RESNET, bounded=False) == (
        "resnet50 is wrong on 2,889 of 18,692 images. 37.2 % of these errors are label noise, 32.7 % hair-splitting, "
        "4.4 % have an excuse; the remaining 743 (25.7 % of errors, 4.0 % of images) are plain failures."
    )


def test_where_a_rule_abstained_failures_are_an_upper_bound() -> None:
    said = headline("resnet50", **RESNET, bounded=True)

    assert said.endswith("the remaining 743 (25.7 % of errors, 4.0 % of images) are plain failures, at most.")


def test_without_errors_it_is_right_on_all() -> None:
    said = headline("net", 0, 20, noise=0, minor=0, excused=0, severe=0, bounded=True)

    assert said == "net is right on all of 20 images."


def test_without_images_nothing_is_claimed() -> None:
    said = headline("net", 0, 0, noise=0, minor=0, excused=0, severe=0, bounded=False)

    assert said == "net was judged on no images."


def test_only_failures_have_no_remainder() -> None:
    said = headline("net", 4, 20, noise=0, minor=0, excused=0, severe=4, bounded=False)

    assert said == "net is wrong on 4 of 20 images. 4 (100.0 % of errors, 20.0 % of images) are plain failures."


def test_a_single_failure_that_is_a_bound_is_singular() -> None:
    said = headline("net", 1, 20, noise=0, minor=0, excused=0, severe=1, bounded=True)

    assert said == "net is wrong on 1 of 20 images. 1 (100.0 % of errors, 5.0 % of images) is a plain failure, at most."


@pytest.mark.parametrize(
    ("minor", "excused", "told"),
    [(1.0, 0.0, "100.0 % of these errors are hair-splitting"), (0.0, 1.0, "100.0 % of these errors have an excuse")],
)
def test_the_first_share_says_what_it_is_a_share_of(minor: float, excused: float, told: str) -> None:
    said = headline("net", 2, 20, noise=0, minor=minor, excused=excused, severe=0, bounded=False)

    assert said == f"net is wrong on 2 of 20 images. {told}; none is a plain failure."


def test_errors_without_a_failure_say_so() -> None:
    said = headline("net", 2, 20, noise=0.5, minor=0.5, excused=0, severe=0, bounded=False)

    assert said.endswith("50.0 % of these errors are label noise, 50.0 % hair-splitting; none is a plain failure.")


@given(
    title=st.text(min_size=1, max_size=10),
    kinds=st.tuples(*[st.integers(0, 300)] * 4),
    right=st.integers(0, 300),
    bounded=st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_the_headline_never_has_a_hole(title: str, kinds: tuple[int, int, int, int], right: int, bounded: bool) -> None:
    errors = sum(kinds)
    noise, minor, excused, severe = kinds
    parts = {"noise": noise, "minor": minor, "excused": excused}

    said = headline(
        title,
        errors,
        errors + right,
        **{name: count / errors if errors else 0.0 for name, count in parts.items()},
        severe=severe,
        bounded=bounded,
    )

    told = said.removeprefix(title)
    assert told.endswith(".")
    assert not [each for each in (" .", " ,", ",,", "  ", "None", "nan", "()", ", ;", ". ;", "; .") if each in told]
    if errors:
        assert f"is wrong on {errors:,} of {errors + right:,} image" in told
        assert ("label noise" in told) == (noise > 0)
        assert ("hair-splitting" in told) == (minor > 0)
        assert ("have an excuse" in told) == (excused > 0)
        assert ("none is a plain failure" in told) == (severe == 0)


@pytest.mark.parametrize(
    "error_type", [ErrorType.FINE_GRAINED_OOV, ErrorType.SPURIOUS_CORRELATION, ErrorType.NON_PROTOTYPICAL]
)
def test_an_abstention_says_what_is_counted_as_what(error_type: ErrorType) -> None:
    said = abstention(error_type, [ErrorType.NON_PROTOTYPICAL, ErrorType.MODEL_FAILURE])

    assert f"{ERROR_TYPE_WORDS[error_type].plural} are counted as non-prototypical or model failure" in said
    assert said.endswith("model failure is an upper bound.")
    assert " or " not in abstention(error_type, [ErrorType.MODEL_FAILURE])
