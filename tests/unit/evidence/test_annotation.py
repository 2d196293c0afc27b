"""The annotation: both formats are equivalent, labels are distinct, and messages name the position."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from errata.errors import InvalidEvidence
from example_counts import max_examples
from hypothesis import given
from hypothesis import strategies as st
from unit.evidence.official import COLUMNS, Row, wordnet_id, write_csv, write_json

from service.domain import LabelSource
from service.evidence.annotation import read_annotation
from service.evidence.artefacts import read_grouping
from service.evidence.build import as_arrays, digest_of
from service.evidence.labels import original_labels, validation_name
from service.evidence.recipes import Inputs, gather


def digest(annotations: Path, mistakes: Path | None = None) -> str:
    facts = gather("imagenet", Inputs(annotations=annotations, mistakes=mistakes))
    return digest_of(facts.dataset, facts.label_space, as_arrays(facts))


def row(number: int, correct: list[int], unclear: list[int] | None = None, problematic: bool = False) -> Row:
    return Row(validation_name(number), int(original_labels()[number - 1]), correct, unclear or [], problematic, [7])


ROWS = [
    row(5, [512, 413], [587, 512], False),
    row(1, [65], [], False),
    row(64, [], [], True),
    row(2, [970, 970, 795], [3, 3], False),
]


# both layouts


def test_both_formats_of_the_reference_have_the_same_digest(reference: Path) -> None:
    folder, mistakes = reference / "imagenet-multilabel", reference / "imagenet-mistakes" / "metadata"

    assert digest(folder / "human_accuracy_v3.0.0.json", mistakes) == digest(folder / "multilabel.csv", mistakes)


def test_both_formats_have_the_same_digest_in_any_order(tmp_path: Path) -> None:
    first = digest(write_json(tmp_path / "a.json", ROWS))

    assert first == digest(write_csv(tmp_path / "a.csv", ROWS)) == digest(write_csv(tmp_path / "b.csv", ROWS[::-1]))
    assert first != digest(write_json(tmp_path / "c.json", ROWS[:-1]))


def test_byte_order_mark_and_windows_line_ends_do_not_matter(tmp_path: Path) -> None:
    plain = write_csv(tmp_path / "a.csv", ROWS)
    (tmp_path / "b.csv").write_bytes(b"\xef\xbb\xbf" + plain.read_text().replace("\n", "\r\n").encode())

    assert read_annotation(tmp_path / "b.csv") == read_annotation(plain)


CLASSES = st.lists(st.sampled_from((0, 1, 7, 134, 517, 998, 999)), max_size=4)


@max_examples(60)
@given(annotated=st.lists(st.tuples(CLASSES, CLASSES, st.booleans()), min_size=1, max_size=8))
def test_class_counts_once_and_correct_wins_over_unclear(
    tmp_path_factory: pytest.TempPathFactory, annotated: list[tuple[list[int], list[int], bool]]
) -> None:
    folder = tmp_path_factory.getbasetemp()
    rows = [Row(f"{number}.JPEG", 3, *fields) for number, fields in enumerate(annotated)]

    for result in (
        read_annotation(write_json(folder / "x.json", rows)),
        read_annotation(write_csv(folder / "x", rows)),
    ):
        assert list(result.images) == [row.name for row in rows]
        for name, (correct, unclear, problematic) in zip(result.images, annotated, strict=True):
            image = result.images[name]
            expected = [(label, LabelSource.CORRECT) for label in sorted(set(correct))]
            expected += [(label, LabelSource.UNCLEAR) for label in sorted(set(unclear) - set(correct))]
            assert list(image.labels.items()) == expected
            assert image.problematic is problematic


def test_csv_has_original_labels_and_json_can_list_imagenet_m(tmp_path: Path) -> None:
    from_csv = read_annotation(write_csv(tmp_path / "a.csv", ROWS))
    from_json = read_annotation(write_json(tmp_path / "a.json", ROWS, imagenet_m={ROWS[0].name: []}))

    assert from_csv.targets == {row.name: row.target for row in ROWS}
    assert from_csv.imagenet_m is None
    assert from_json.imagenet_m == {ROWS[0].name}


def test_line_ends_of_old_macs_do_not_matter(tmp_path: Path) -> None:
    plain = write_csv(tmp_path / "a.csv", ROWS)
    (tmp_path / "b.csv").write_bytes(plain.read_bytes().replace(b"\n", b"\r"))

    assert read_annotation(tmp_path / "b.csv") == read_annotation(plain)


# errors in the file


def refused(path: Path) -> str:
    with pytest.raises(InvalidEvidence) as error:
        read_annotation(path)
    assert path.name in error.value.message
    return error.value.message


@pytest.mark.parametrize("read", [read_annotation, read_grouping])
def test_a_file_that_cannot_be_read_is_named_with_the_remedy(read: Callable[[Path], object], tmp_path: Path) -> None:
    (tmp_path / "latin.json").write_bytes(b"{}\n\xff")
    for name, message in {
        "missing.json": f"Cannot read {tmp_path}/missing.json: No such file or directory. Check the path.",
        ".": f"Cannot read {tmp_path}: Is a directory. Check the path.",
        "latin.json": "latin.json, line 2: not UTF-8. Save the file as UTF-8.",
    }.items():
        with pytest.raises(InvalidEvidence) as error:
            read(tmp_path / name)
        assert error.value.message == message


@pytest.mark.parametrize("key", ["correct", "unclear"])
@pytest.mark.parametrize("bad", ["n00000000", "n1440764", "", 65, None, ["n01440764"], "n01440764 "])
def test_unknown_wordnet_id_is_rejected_with_its_image_and_list(tmp_path: Path, key: str, bad: object) -> None:
    raw = {"initial_annots": {"a.JPEG": {}, "b.JPEG": {key: [wordnet_id(1), bad]}}, "problematic_images": {}}
    (tmp_path / "x.json").write_text(json.dumps(raw))

    message = refused(tmp_path / "x.json")

    assert "b.JPEG" in message
    assert key in message
    assert repr(bad) in message


@pytest.mark.parametrize("column", ["original_label", "proposed_labels", "unclear_multi_labels"])
@pytest.mark.parametrize("bad", ["1000", "-1", "cat", "1.0", "²", "7,,8", "7 8", "9" * 5_000])
def test_invalid_class_index_is_rejected_with_its_line(tmp_path: Path, column: str, bad: str) -> None:
    cells = dict(zip(COLUMNS, ["b.JPEG", "A", "3", "3", "True", "", "", "False"], strict=True)) | {column: f'"{bad}"'}
    head = ",".join(COLUMNS)
    (tmp_path / "x.csv").write_text(f"{head}\na.JPEG,A,3,3,True,,,False\n{','.join(cells.values())}\n")

    assert "line 3" in refused(tmp_path / "x.csv")


def test_missing_original_label_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(f"{','.join(COLUMNS)}\na.JPEG,A,,3,True,,,False\n")

    assert "line 2" in refused(tmp_path / "x.csv")


@pytest.mark.parametrize(
    "column", ["id", "original_label", "proposed_labels", "unclear_multi_labels", "is_problematic"]
)
def test_missing_column_is_rejected_by_name(tmp_path: Path, column: str) -> None:
    head = ",".join("other" if name == column else name for name in COLUMNS)
    (tmp_path / "x.csv").write_text(f"{head}\na.JPEG,A,3,3,True,,,False\n")

    assert f"missing column {column}." in refused(tmp_path / "x.csv")


def test_duplicate_image_is_rejected_with_its_line(tmp_path: Path) -> None:
    message = refused(write_csv(tmp_path / "x.csv", [*ROWS, ROWS[1]]))

    assert f"line {len(ROWS) + 2}" in message
    assert ROWS[1].name in message


@pytest.mark.parametrize("annotated", ["", "true", "1", "yes", "False "])
def test_is_problematic_must_be_true_or_false(tmp_path: Path, annotated: str) -> None:
    (tmp_path / "x.csv").write_text(f"{','.join(COLUMNS)}\na.JPEG,A,3,3,True,,,{annotated}\n")

    assert "line 2" in refused(tmp_path / "x.csv")


def test_short_line_is_rejected_with_its_line(tmp_path: Path) -> None:
    # the columns are in another order, so that the lists are missing
    (tmp_path / "x.csv").write_text(
        "is_problematic,id,original_label,proposed_labels,unclear_multi_labels\nFalse,a,3\n"
    )

    assert "line 2" in refused(tmp_path / "x.csv")


def test_overlong_field_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(f'{",".join(COLUMNS)}\n"{"a" * 200_000},A,3,3,True,,,False\n')

    refused(tmp_path / "x.csv")


def test_problematic_image_without_an_annotation_is_rejected_by_name(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", ROWS, problematic_images={"stray.JPEG": []})

    assert "stray.JPEG" in refused(tmp_path / "x.json")


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"initial_annots": {}},
        {"problematic_images": {}},
        {"initial_annots": [], "problematic_images": {}},
        {"initial_annots": None, "problematic_images": {}},
        {"initial_annots": "text", "problematic_images": {}},
        {"initial_annots": {"a.JPEG": []}, "problematic_images": {}},
        {"initial_annots": {"a.JPEG": None}, "problematic_images": {}},
        {"initial_annots": {"a.JPEG": {"correct": "n01440764"}}, "problematic_images": {}},
        {"initial_annots": {"a.JPEG": {"correct": None}}, "problematic_images": {}},
        {"initial_annots": {"a.JPEG": {"correct": {"n01440764": 1}}}, "problematic_images": {}},
        {"initial_annots": {"a.JPEG": {}}, "problematic_images": 5},
        {"initial_annots": {"a.JPEG": {}}, "problematic_images": None},
        {"initial_annots": {"a.JPEG": {}}, "problematic_images": "a.JPEG"},
        {"initial_annots": {"a.JPEG": {}}, "problematic_images": {}, "imagenet_m": 5},
        {"initial_annots": {"a.JPEG": {}}, "problematic_images": {}, "imagenet_m": [["a.JPEG"]]},
    ],
    ids=json.dumps,
)
def test_json_of_another_form_is_rejected(tmp_path: Path, raw: object) -> None:
    (tmp_path / "x.json").write_text(json.dumps(raw))

    refused(tmp_path / "x.json")


def test_image_name_with_a_lone_surrogate_is_rejected(tmp_path: Path) -> None:
    raw = {"initial_annots": {"\ud800.JPEG": {}}, "problematic_images": {}}
    (tmp_path / "x.json").write_text(json.dumps(raw))

    assert refused(tmp_path / "x.json") == r"x.json: file_name '\ud800.JPEG' is not valid Unicode; correct it."


@pytest.mark.parametrize("text", ["", "{", "[]", "[1, 2]", "no such thing", '{"initial_annots": {"a": ', "\x00"])
def test_text_in_neither_format_is_rejected(tmp_path: Path, text: str) -> None:
    (tmp_path / "x").write_text(text)

    refused(tmp_path / "x")


def test_binary_and_missing_files_are_rejected(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\xff\xfe\x00")

    refused(tmp_path / "x")
    refused(tmp_path / "not there")


# contradictions to the validation images


def test_unknown_image_is_rejected_by_name(tmp_path: Path) -> None:
    stray = Row("ILSVRC2012_val_00050001.JPEG", 3, [3])

    with pytest.raises(InvalidEvidence, match="ILSVRC2012_val_00050001"):
        gather("imagenet", Inputs(annotations=write_json(tmp_path / "x.json", [*ROWS, stray])))


def test_wrong_original_label_is_rejected_by_name(tmp_path: Path) -> None:
    wrong = Row(validation_name(9), int(original_labels()[8]) ^ 1, [3])

    with pytest.raises(InvalidEvidence, match="ILSVRC2012_val_00000009"):
        gather("imagenet", Inputs(annotations=write_csv(tmp_path / "x.csv", [*ROWS, wrong])))
