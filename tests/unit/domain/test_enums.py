"""Enumerations: their values are stored and never change."""

import pytest

from service.domain import (
    ERROR_TYPES,
    ErrorType,
    ProblematicTag,
    Severity,
    State,
)


def test_error_types_have_stable_values() -> None:
    assert {kind.name: kind.value for kind in ErrorType} == {
        "CORRECT": 1,
        "CLASS_OVERLAP": 2,
        "MULTI_LABEL": 3,
        "FINE_GRAINED": 4,
        "FINE_GRAINED_OOV": 5,
        "SPURIOUS_CORRELATION": 6,
        "NON_PROTOTYPICAL": 7,
        "MODEL_FAILURE": 8,
    }
    assert [kind.id for kind in ERROR_TYPES] == [1, 2, 3, 4, 5, 6, 7, 8]


def test_severities_follow_the_specification() -> None:
    expected = {
        1: "NONE",
        2: "NONE",
        3: "NONE",
        4: "MINOR",
        5: "MINOR",
        6: "EXPLAINABLE",
        7: "EXPLAINABLE",
        8: "SEVERE",
    }

    assert {kind.id: kind.severity.name for kind in ERROR_TYPES} == expected
    assert sorted(Severity) == [0, 1, 2, 3, 4]


def test_first_tags_have_the_values_of_the_verdict_table() -> None:
    assert {tag.name: tag.value for tag in ProblematicTag if tag.value <= 4} == {
        "UNSPECIFIED": 0,
        "EMPTY_CORRECT": 1,
        "EMPTY_CORRECT_BY_OVERLAP": 2,
        "EMPTY_WRONG": 3,
        "CORRECT_BUT_WRONG_LABEL": 4,
    }
    assert {tag.name for tag in ProblematicTag if tag.value > 4} == {
        "OOV_SIMILAR_TO_TARGET",
        "CO_OCCURRENCE_WITH_TARGET",
        "UNTAGGED",
    }


@pytest.mark.parametrize("state", list(State))
def test_three_states_are_final(state: State) -> None:
    assert state.is_final == (state.name in {"SUCCEEDED", "FAILED", "CANCELLED"})
