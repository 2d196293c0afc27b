"""The error table as JSON: it is lossless and small."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from example_counts import max_examples
from hypothesis import given
from hypothesis import strategies as st

from service.domain import (
    ERROR_TYPES,
    TOP1_ERROR_TYPES,
    ErrorType,
    ExpertJudgment,
    ExpertSeverity,
    Labels,
    LabelSource,
    ProblematicTag,
    ProposedText,
    VocabularyEvidence,
)
from service.report.error_table import ClassPair, ErrorTable, to_plain
from service.taxonomy.imagenet_1k import imagenet_1k

CLASS_NAMES = [f"class {index}" for index in range(1000)]


def labels_of(*rows: Sequence[tuple[int, LabelSource]]) -> Labels:
    flat = [item for row in rows for item in row]
    return Labels(
        np.cumsum([0, *(len(row) for row in rows)]).astype(np.int32),
        np.array([label for label, _ in flat], np.int16),
        np.array([source for _, source in flat], np.uint8),
    )


def table(names: Sequence[str] = ("a.jpg", "b.jpg", "c.jpg"), **changes: Any) -> ErrorTable:
    count = len(names)
    default = ErrorTable(
        names=names,
        targets=np.arange(count, dtype=np.int16),
        predicted=np.arange(count, dtype=np.int16) + 900,
        types=np.full(count, ErrorType.MODEL_FAILURE.id, np.uint8),
        problematic=np.zeros(count, bool),
        tags={},
        probability=None,
        labels=labels_of(*[[]] * count),
        groups={},
        total=count,
        abstained=(),
        class_names=CLASS_NAMES,
        superclasses={},
        pairs={},
        overlaps={},
        texts={},
        pictures={},
    )
    return replace(default, **changes)


def round_trip(value: ErrorTable) -> dict[str, Any]:
    """Return the table after conversion to JSON and back."""
    result: dict[str, Any] = json.loads(json.dumps(to_plain(value), allow_nan=False, ensure_ascii=False))
    return result


def names_in(plain: dict[str, Any]) -> list[str]:
    return [plain["prefix"] + item + plain["suffix"] for item in plain["file"]]


@pytest.mark.parametrize(
    "names",
    [
        [],
        [""],
        ["", ""],
        ["only.jpg"],
        ["same.jpg", "same.jpg"],
        ["aa", "aaa", "a"],
        ["abab", "ab", "ababab"],
        ["n01440764/x.JPEG", "n01443537/y.JPEG"],
        ["x.jpg", "y.png"],
        ["é.jpg", "e\u0301.jpg", "\U0001f41f.jpg"],
        ["</script>", "<!--", "\u2028"],
    ],
)
def test_name_is_prefix_middle_and_suffix(names: list[str]) -> None:
    assert names_in(round_trip(table(names))) == names


@given(
    st.lists(st.text("ab./", max_size=6) | st.text(st.characters(exclude_categories=["Cs"]), max_size=4), max_size=6)
)
@max_examples(300)
def test_every_name_can_be_reconstructed(names: list[str]) -> None:
    assert names_in(round_trip(table(names))) == names


def test_common_prefix_and_suffix_are_stored_once() -> None:
    plain = round_trip(table([f"ILSVRC2012_val_000{number:05}.JPEG" for number in (17, 20_000, 49_999)]))

    assert (plain["prefix"], plain["suffix"]) == ("ILSVRC2012_val_000", ".JPEG")
    assert plain["file"] == ["00017", "20000", "49999"]


def test_table_without_errors_is_empty() -> None:
    plain = round_trip(table([]))

    assert (plain["file"], plain["target"], plain["predicted"], plain["label"]) == ([], [], [], [])
    assert (plain["type"], plain["group"], plain["classes"], plain["tags"], plain["total"]) == ("", [], {}, {}, 0)


@given(
    rows=st.lists(
        st.tuples(
            st.integers(0, 999),
            st.integers(0, 999),
            st.sampled_from([kind.id for kind in TOP1_ERROR_TYPES]),
            st.tuples(st.booleans(), st.booleans(), st.booleans()),
            st.floats(0, 1, width=16),
            st.lists(
                st.tuples(st.integers(0, 999), st.sampled_from(list(LabelSource)[1:])),
                max_size=4,
                unique_by=lambda list_: list_[0],
            ),
        ),
        max_size=6,
    )
)
@max_examples(100)
def test_every_column_can_be_read_back(
    rows: list[tuple[int, int, ErrorType, tuple[bool, bool, bool], float, list[tuple[int, LabelSource]]]],
) -> None:
    count = len(rows)
    plain = round_trip(
        table(
            [f"{row}.jpg" for row in range(count)],
            targets=np.array([row[0] for row in rows], np.int16),
            predicted=np.array([row[1] for row in rows], np.int16),
            types=np.array([row[2] for row in rows], np.uint8),
            groups={f"group {place}": np.array([row[3][place] for row in rows], bool) for place in range(3)},
            probability=np.array([row[4] for row in rows], np.float16),
            labels=labels_of(*(row[5] for row in rows)),
        )
    )

    assert plain["target"] == [row[0] for row in rows]
    assert plain["predicted"] == [row[1] for row in rows]
    assert [int(item) for item in plain["type"]] == [row[2] for row in rows]
    bits = [[bool(item >> place & 1) for place in range(3)] for item in plain["group"]]
    assert bits == [list(row[3]) for row in rows]
    assert [item / 1000 for item in plain["probability"]] == pytest.approx([row[4] for row in rows], abs=0.00051)
    labels = [[item] if isinstance(item, int) else item for item in plain["label"]]
    assert [[divmod(item, 16) for item in of_row] for of_row in labels] == [
        [(label, int(source)) for label, source in row[5]] for row in rows
    ]
    present = {row[0] for row in rows} | {row[1] for row in rows} | {label for row in rows for label, _ in row[5]}
    assert plain["classes"] == {str(index): f"class {index}" for index in present}


def test_source_of_a_label_is_an_index_of_source_names() -> None:
    plain = round_trip(
        table(["a"], labels=labels_of([(7, LabelSource.ORIGINAL), (8, LabelSource.REAL), (9, LabelSource.UNCLEAR)]))
    )

    sources = [(code // 16, plain["sources"][code % 16]) for code in plain["label"][0]]
    assert sources == [(7, "original label"), (8, "ReaL label"), (9, "annotated as unclear")]


def test_single_label_is_a_number_and_no_label_is_an_empty_list() -> None:
    plain = round_trip(table(["a", "b"], labels=labels_of([(999, LabelSource.UNCLEAR)], [])))

    assert plain["label"] == [999 * 16 + 4, []]


def test_bits_of_groups_follow_the_order_of_group_names() -> None:
    members = [[True, False, True, False], [False, True, True, False], [False, False, True, False]]
    groups = dict(zip(("organism", "<b>", "other"), np.array(members), strict=True))
    plain = round_trip(table(["a", "b", "c", "d"], groups=groups))

    assert plain["group"] == [1, 2, 7, 0]
    assert plain["group_names"] == ["organisms", "<b>", "other"]


def test_sixteen_groups_have_sixteen_bits() -> None:
    groups = {f"group {bit}": np.array([bit % 2 == 1, True, bit == 15]) for bit in range(16)}
    plain = round_trip(table(["a", "b", "c"], groups=groups))

    assert plain["group"] == [0b1010101010101010, 0xFFFF, 1 << 15]


def test_probability_is_stored_in_thousandths() -> None:
    plain = round_trip(table(["a", "b", "c", "d"], probability=np.array([0, 0.5, 0.87549, 1])))

    assert plain["probability"] == [0, 500, 875, 1000]


def test_probability_close_to_0_or_1_is_not_rounded_to_it() -> None:
    plain = round_trip(table(["a", "b", "c"], probability=np.array([0.0004, 1e-12, 0.9996])))

    assert plain["probability"] == [0.1, 0, 999.9]


def test_table_without_probabilities_has_no_column() -> None:
    assert round_trip(table())["probability"] is None


def test_types_are_in_the_order_of_the_rules_with_abstentions() -> None:
    plain = round_trip(table(abstained=(ErrorType.FINE_GRAINED_OOV,)))

    assert [item["value"] for item in plain["types"]] == [error_type_.id for error_type_ in ERROR_TYPES]
    assert [item["value"] for item in plain["types"] if item["abstained"]] == [5]
    assert [item["severity"] for item in plain["types"]] == [
        *["label noise"] * 3,
        *["minor"] * 2,
        *["explainable"] * 2,
        "severe",
    ]


def test_problematic_rows_have_tags() -> None:
    tags = {1: [ProblematicTag.EMPTY_WRONG]}
    plain = round_trip(table(problematic=np.array([False, True, True]), tags=tags))

    assert plain["tags"] == {"1": ["no labels; the prediction is wrong"], "2": []}


def test_only_used_classes_are_included() -> None:
    members = {"fish": [0, 1, 2, 3], "birds": [7, 8], "late": [900, 950]}
    plain = round_trip(table(["a", "b"], superclasses=members, labels=labels_of([(3, LabelSource.REAL)], [])))

    assert set(plain["classes"]) == {"0", "1", "3", "900", "901"}
    assert plain["superclasses"] == {"fish": [0, 1, 3], "late": [900]}


def test_pairs_overlaps_and_texts_are_stored_once() -> None:
    vocabulary = VocabularyEvidence(
        True, (ProposedText("a carp", 0.87654, True), ProposedText("a tench", 0.1, False)), 1234, prefers_label=True
    )
    plain = round_trip(
        table(
            pairs={(3, 900): ClassPair(12, ("x.jpg", "y.jpg"))},
            overlaps={(1, 901): "They are the same."},
            texts={2: vocabulary},
            pictures={"a.jpg": "data:,"},
            experts={1: ExpertJudgment(ErrorType.SPURIOUS_CORRELATION, ExpertSeverity.BORDERLINE)},
            agreement={ErrorType.MODEL_FAILURE: "Experts called 65 of 125 errors major."},
        )
    )

    assert plain["experts"] == {
        "1": "Experts judged this prediction: spurious correlation, borderline. The verdict does not use this judgment."
    }
    assert [item["agreement"] for item in plain["types"]] == [*[""] * 7, "Experts called 65 of 125 errors major."]

    assert plain["pairs"] == {"3 900": ["12 images", ["x.jpg", "y.jpg"]]}
    assert plain["overlaps"] == {"1 901": "They are the same."}
    assert plain["texts"] == {"2": [True, "1,234 texts", [["a carp", 0.877], ["a tench", 0.1]], True]}
    assert plain["pictures"] == {"a.jpg": "data:,"}


def test_rejected_original_labels_are_included_with_their_names() -> None:
    plain = round_trip(table(rejected={1: 7}))

    assert plain["rejected"] == {"1": 7}
    assert plain["classes"]["7"] == CLASS_NAMES[7]


def test_url_prefixes_and_total_are_included() -> None:
    plain = round_trip(
        table(picture_base="/p/", page_base="/datasets/d/images/", page_query="?analysis=a1", total=25_000)
    )

    assert (plain["picture_base"], plain["page_base"], plain["page_query"]) == (
        "/p/",
        "/datasets/d/images/",
        "?analysis=a1",
    )
    assert plain["total"] == 25_000


def test_ten_thousand_errors_stay_under_two_megabytes() -> None:
    count = 10_000
    random = np.random.default_rng(1)
    numbers = np.sort(random.choice(50_000, count, replace=False)) + 1
    labelled = 1 + random.binomial(1, 0.26, count)  # 1.26 labels each
    classes = np.concatenate([random.choice(1000, item, replace=False) for item in labelled]).astype(np.int16)
    plain = to_plain(
        table(
            [f"ILSVRC2012_val_{number:08}.JPEG" for number in numbers],
            targets=random.integers(0, 1000, count).astype(np.int16),
            predicted=random.integers(0, 1000, count).astype(np.int16),
            types=random.integers(2, 9, count).astype(np.uint8),
            groups={f"group {place}": random.random(count) < 0.5 for place in range(3)},
            probability=random.random(count).astype(np.float16),
            labels=Labels(
                np.concatenate([[0], np.cumsum(labelled)]).astype(np.int32),
                classes,
                random.integers(1, 5, len(classes)).astype(np.uint8),
            ),
            class_names=imagenet_1k().names,
            superclasses={
                f"superclass {index}": random.choice(1000, 20, replace=False).tolist() for index in range(160)
            },
            pairs={
                (int(label), int(other)): ClassPair(
                    5, tuple(f"ILSVRC2012_val_{number:08}.JPEG" for number in numbers[:3])
                )
                for label, other in random.integers(0, 1000, (2000, 2))
            },
        )
    )

    text = json.dumps(plain, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    columns = json.dumps(
        [plain[name] for name in ("file", "target", "predicted", "type", "group", "label", "probability")]
    )

    assert len(plain["file"]) == count
    assert len(text.encode()) < 2_000_000
    assert len(columns) / count < 60, "a few dozen bytes an error"


def test_nan_probability_is_none() -> None:
    assert round_trip(table(probability=np.array([np.nan, 0.5, np.inf])))["probability"] == [None, 500, None]
