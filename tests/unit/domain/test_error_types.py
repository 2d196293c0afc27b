"""The table of error types, and lookups of IDs in arrays."""

import re
from itertools import combinations

import numpy as np
import pytest
from errata.enums import UnknownValue
from errata.error_types import MAX_ID, error_keys, find_error_type, parse_key, severe_total, title_of

from service.domain import (
    CORRECT_TYPES,
    ERROR_TYPES,
    MULTI_LABEL_ERROR_TYPES,
    NUM_IDS,
    POSITIONS,
    SEVERE_TYPES,
    TOP1_ERROR_TYPES,
    ErrorType,
    is_among,
)


def test_ids_are_unique_and_have_four_bits() -> None:
    ids = [error_type.id for error_type in ERROR_TYPES]

    assert len(set(ids)) == len(ids)
    assert all(1 <= number <= MAX_ID for number in ids)
    assert sorted(ids) == [*range(1, NUM_IDS)], "check_verdicts accepts each ID below NUM_IDS"
    assert [ErrorType(number) for number in ids] == list(ERROR_TYPES)
    with pytest.raises(UnknownValue, match="Unknown error type 15"):
        ErrorType(15)


def test_positions_are_the_order_of_the_rows() -> None:
    assert [error_type.position for error_type in ERROR_TYPES] == list(range(len(ERROR_TYPES)))
    ids = [error_type.value for error_type in ERROR_TYPES]

    assert POSITIONS[ids].tolist() == list(range(len(ERROR_TYPES)))
    assert (np.delete(POSITIONS, ids) == -1).all()
    assert max(ids) + 1 == NUM_IDS


def test_error_types_have_no_order_of_their_own() -> None:
    for first, second in combinations(ERROR_TYPES, 2):
        with pytest.raises(TypeError):
            _ = first < second  # type: ignore[operator]


def test_correct_types_and_errors_are_complements() -> None:
    assert {*CORRECT_TYPES} | {*MULTI_LABEL_ERROR_TYPES} == {*ERROR_TYPES}
    assert not {*CORRECT_TYPES} & {*MULTI_LABEL_ERROR_TYPES}
    assert {*TOP1_ERROR_TYPES} == {*ERROR_TYPES} - {ErrorType.CORRECT}
    assert {*SEVERE_TYPES} <= {*MULTI_LABEL_ERROR_TYPES}


def test_membership_is_looked_up_by_id() -> None:
    types = np.array([[0, 1, 2, 3], [4, 8, 15, 1]], dtype=np.uint8)

    assert is_among(types, CORRECT_TYPES).tolist() == [[False, True, True, True], [False, False, False, True]]
    assert not is_among(types, ()).any()


@pytest.mark.parametrize("error_type", ERROR_TYPES)
def test_every_row_is_complete(error_type: ErrorType) -> None:
    row = error_type.row

    assert bool(row.needs) == bool(row.missing)
    assert row.description.endswith(".")
    assert all(re.fullmatch("#([0-9a-f]{3}|[0-9a-f]{6})", color) for color in row.colors)


def test_names_of_the_api_are_looked_up() -> None:
    assert [find_error_type(error_type.key) for error_type in ERROR_TYPES] == list(ERROR_TYPES)
    assert find_error_type("blurred") is None
    assert find_error_type("MODEL_FAILURE") is None
    assert (title_of("model_failure"), title_of("blurred")) == ("model failure", "blurred")
    assert parse_key("Model-Failure") == "model_failure"


def test_types_of_a_newer_service_follow_the_known_ones() -> None:
    known = [error_type.key for error_type in TOP1_ERROR_TYPES]

    assert error_keys(["model_failure", "correct"]) == known
    assert error_keys(["odd", "correct", "blurred", "odd"]) == [*known, "blurred", "odd"]


def test_severe_values_are_added() -> None:
    assert severe_total({"model_failure": 3, "fine_grained": 4}) == 3
