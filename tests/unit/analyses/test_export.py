"""CSV export: cells that a spreadsheet would evaluate as formulas are escaped."""

import pyarrow as pa
import pytest

from service.analyses.export import escape_formulas


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "="])
def test_text_that_starts_like_a_formula_gets_an_apostrophe(cell: str) -> None:
    table = escape_formulas(pa.table({"file_name": [cell], "other": ["a"]}))

    assert table.to_pylist() == [{"file_name": f"'{cell}", "other": "a"}]


@pytest.mark.parametrize("cell", ["a.jpg", "a=b", "1", "", "'=1", " ", "\u00fc.jpg", "n01440764/=.jpg"])
def test_other_text_is_unchanged(cell: str) -> None:
    assert escape_formulas(pa.table({"file_name": [cell]})).to_pylist() == [{"file_name": cell}]


def test_texts_of_dictionary_arrays_are_escaped() -> None:
    """Names of groups and classes repeat."""
    table = pa.table({"groups": pa.array(["=1+1", "a", "=1+1"]).dictionary_encode()})

    assert escape_formulas(table).column("groups").to_pylist() == ["'=1+1", "a", "'=1+1"]


def test_numbers_stay_numbers() -> None:
    table = pa.table({"target": pa.array([-1, 2], pa.int16()), "probability": pa.array([-0.5, None], pa.float32())})

    assert escape_formulas(table).equals(table)
