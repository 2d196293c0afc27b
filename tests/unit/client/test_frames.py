"""Data frames of exported verdicts."""

import pyarrow as pa
from errata.frames import verdicts_frame


def test_dictionary_with_equal_names_becomes_one_category() -> None:
    """Older services repeat a name in a dictionary."""
    names = ["", "PROBLEMATIC_TAG_UNTAGGED", "PROBLEMATIC_TAG_UNTAGGED"]
    column = pa.DictionaryArray.from_arrays(pa.array([0, 1, 2, None, 2], pa.uint8()), pa.array(names))
    table = pa.table({"problematic": column})
    content = pa.BufferOutputStream()
    with pa.ipc.new_stream(content, table.schema) as writer:
        writer.write_table(table)

    frame = verdicts_frame(content.getvalue().to_pybytes(), None)

    assert list(frame["problematic"].cat.categories) == ["", "untagged"]
    assert [name if isinstance(name, str) else None for name in frame["problematic"]] == [
        *("", "untagged", "untagged", None, "untagged")
    ]


def test_names_of_enumerations_have_no_prefix() -> None:
    columns = {
        "answer_outcome": "ANSWER_OUTCOME_MAPPED",
        "answer_relation": "ANSWER_RELATION_HYPERNYM",
        "rule_overlap": "OUTCOME_MISS",
    }
    table = pa.table({name: pa.array([value]).dictionary_encode() for name, value in columns.items()})
    content = pa.BufferOutputStream()
    with pa.ipc.new_stream(content, table.schema) as writer:
        writer.write_table(table)

    frame = verdicts_frame(content.getvalue().to_pybytes(), None)

    assert frame.iloc[0].to_dict() == {
        "answer_outcome": "mapped",
        "answer_relation": "hypernym",
        "rule_overlap": "miss",
    }
