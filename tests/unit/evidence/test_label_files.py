"""Labels of custom data sets: file formats, targets, problematic images, names of classes, and invalid rows."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from errata.errors import InvalidEvidence
from pyarrow import parquet
from unit.evidence.files import write
from unit.evidence.official import wordnet_id

from service.domain import LabelSource, LabelSpace
from service.domain.evidence import rejected_targets
from service.evidence import input_files, parquet_labels
from service.evidence.class_files import read_classes
from service.evidence.inputs import LabelInputs
from service.evidence.label_files import read_labels
from service.evidence.recipes import Inputs, gather
from service.taxonomy.imagenet_1k import imagenet_1k

LABELS = {"b.jpg": [207], "a.jpg": [5, 3], "n01440764/c.png": [0, 999, 134]}


def labels_of(images: LabelInputs) -> dict[str, list[int]]:
    return {name.decode(): images.labels.of(row).tolist() for row, name in enumerate(images.names.tolist())}


def as_csv(wordnet_ids: bool) -> str:
    rows = [
        f"{name},{' '.join(wordnet_id(label) if wordnet_ids else str(label) for label in labels)}"
        for name, labels in LABELS.items()
    ]
    return "\n".join(["file_name,labels", *rows]) + "\n"


def test_formats_and_class_names_are_equivalent(tmp_path: Path) -> None:
    files = [
        write(tmp_path / "1.csv", as_csv(False)),
        write(tmp_path / "2.csv", as_csv(True)),
        write(tmp_path / "3.csv", "\ufeff" + as_csv(True).replace("\n", "\r\n")),
        write(tmp_path / "4.json", json.dumps(LABELS)),
        write(tmp_path / "5.json", json.dumps({name: [str(item) for item in own] for name, own in LABELS.items()})),
        write(tmp_path / "6.json", json.dumps({name: list(map(wordnet_id, own)) for name, own in LABELS.items()})),
        write(tmp_path / "7.csv", "labels,note,file_name\n207,x,b.jpg\n5 3,,a.jpg\n0 999 134,,n01440764/c.png\n"),
    ]

    for file in files:
        images = read_labels(file, imagenet_1k())
        assert labels_of(images) == LABELS, file.name
        assert images.names.tolist() == sorted(name.encode() for name in LABELS)
        assert images.all_targets.tolist() == [LABELS[name.decode()][0] for name in images.names.tolist()]


def test_label_counts_once_and_the_first_is_the_target(tmp_path: Path) -> None:
    facts = gather("mine", Inputs(labels=write(tmp_path / "x.csv", "file_name,labels\nb.jpg,9 3 9 3\na.jpg,7\n")))

    images = facts.labels
    assert images.names.tolist() == [b"a.jpg", b"b.jpg"]  # in the order of their names
    assert images.all_targets.tolist() == [7, 9]
    assert images.labels.of(1).tolist() == [9, 3]
    assert images.labels.sources_of(1) == [LabelSource.ORIGINAL, LabelSource.CORRECT]
    assert not images.problematic.any()


def test_unicode_file_name_is_accepted(tmp_path: Path) -> None:
    facts = gather("mine", Inputs(labels=write(tmp_path / "x.json", json.dumps({"Schloß ü.jpg": [1]}))))

    assert facts.labels.names.tolist() == ["Schloß ü.jpg".encode()]


def refused(path: Path, label_space: LabelSpace | None = None) -> InvalidEvidence:
    with pytest.raises(InvalidEvidence) as error_info:
        read_labels(path, label_space or imagenet_1k())
    assert path.name in error_info.value.message
    return error_info.value


@pytest.mark.parametrize("label", ["1000", "-1", "1.5", "n00000000", "", "   ", "3 1000", "NaN", "9" * 5_000])
def test_unknown_label_is_rejected_with_its_line(tmp_path: Path, label: str) -> None:
    error = refused(write(tmp_path / "x.csv", f"file_name,labels\na.jpg,3\nb.jpg,{label}\n"))

    assert "line 3" in error.message
    assert [(violation.field, violation.line) for violation in error.violations] == [("labels", 3)]


def test_duplicate_image_is_rejected_with_its_line(tmp_path: Path) -> None:
    error = refused(write(tmp_path / "x.csv", "file_name,labels\na.jpg,3\nb.jpg,4\na.jpg,3\n"))

    assert [(violation.field, violation.line) for violation in error.violations] == [("file_name", 4)]
    assert "a.jpg" in error.message


def test_row_without_a_name_is_rejected_with_its_line(tmp_path: Path) -> None:
    assert [
        violation.line for violation in refused(write(tmp_path / "x.csv", "file_name,labels\n,3\n")).violations
    ] == [2]


def test_first_ten_violations_are_listed(tmp_path: Path) -> None:
    rows = "".join(f"{number}.jpg,1000\n" for number in range(13))

    error = refused(write(tmp_path / "x.csv", f"file_name,labels\n{rows}"))

    assert [violation.line for violation in error.violations] == list(range(2, 12))
    assert "12 more" in error.message  # besides the one that the message names


def test_short_row_is_rejected_with_its_line(tmp_path: Path) -> None:
    assert [
        violation.line for violation in refused(write(tmp_path / "x.csv", "file_name,labels\na.jpg\n")).violations
    ] == [2]


@pytest.mark.parametrize("control", ["\x00", "\x01", "\t", "\n", "\x1b", "\x7f", "\x85"])
@pytest.mark.parametrize("name", ["{}a.jpg", "a{}.jpg", "a.jpg{}"])
def test_control_character_in_a_name_is_rejected_with_its_line(tmp_path: Path, control: str, name: str) -> None:
    name = name.format(control)
    from_csv = refused(write(tmp_path / "x.csv", f'file_name,labels\nb.jpg,1\n"{name}",2\n'))
    from_json = refused(write(tmp_path / "x.json", json.dumps({"b.jpg": [1], name: [2]})))

    assert from_csv.violations[0].line == 3, "where the row starts"
    for error in (from_csv, from_json):
        assert error.violations[0].field == "file_name"
        assert f"U+{ord(control):04X}" in error.message
        assert control not in error.message


@pytest.mark.parametrize(
    "text",
    [
        "",
        "file_name,labels\n",
        "file_name;labels\na;1\n",
        "name,labels\na,1\n",
        "{}",
        "{",
        "[]",
        '{"a.jpg": 5}',
        '{"a.jpg": null}',
        '{"a.jpg": []}',
        '{"a.jpg": [true]}',
        '{"a.jpg": [false]}',
        '{"a.jpg": [1.0]}',
        '{"a.jpg": [null]}',
        '{"a.jpg": [[1]]}',
        '{"a.jpg": [1000]}',
        '{"": [1]}',
        '{"\\ud800.jpg": [1]}',
        '{"a.jpg": [' + "[" * 900 + "1" + "]" * 900 + "]}",
        '{"a.jpg": ' + "[" * 100_000,
        f'file_name,labels\n"{"a" * 200_000}\n',
    ],
    ids=lambda text: text[:30],
)
def test_file_of_another_form_is_rejected(tmp_path: Path, text: str) -> None:
    refused(write(tmp_path / "x", text))


def test_binary_and_missing_files_are_rejected(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\xff\xfe")

    refused(tmp_path / "x")
    refused(tmp_path / "not there")


# own label spaces

CLASSES = """id,name,synonyms
sku-a,crane,
sku-b,water bottle,flask
sku-c,crane,kran
sku-d,cup,
0,saucer,
"""
ROWS = """file_name,target,labels,problematic
d.jpg,sku-d,sku-c sku-d,
c.jpg,cup,water bottle,
b.jpg,flask,water bottle;kran;cup,
a.jpg,sku-a,,too dark
e.jpg,sku-a,1 2,blurred
f.jpg,4,4 4 KRAN,
"""


@pytest.fixture
def own(tmp_path: Path) -> LabelSpace:
    return read_classes(write(tmp_path / "classes.csv", CLASSES), "mine")


def assert_own_labels(images: LabelInputs) -> None:
    assert labels_of(images) == {
        "a.jpg": [],
        "b.jpg": [1, 2, 3],
        "c.jpg": [1],
        "d.jpg": [2, 3],
        "e.jpg": [1, 2],
        "f.jpg": [4, 2],
    }
    assert images.all_targets.tolist() == [0, 1, 3, 3, 0, 4]
    assert images.problematic.tolist() == [True, False, False, False, True, False]
    assert images.rows.tolist() == list(range(6))
    rejected = rejected_targets(images.targets, images.labels, images.problematic)
    assert rejected.tolist() == [False, False, True, False, False, False]
    original, correct = LabelSource.ORIGINAL, LabelSource.CORRECT
    assert images.labels.sources_of(1) == [original, correct, correct]
    assert images.labels.sources_of(2) == [correct], "the target is rejected"
    assert images.labels.sources_of(3) == [correct, original], "the order of the labels stays"


def as_objects(separate: bool) -> list[dict[str, object]]:
    rows = [line.split(",") for line in ROWS.splitlines()[1:]]
    return [
        {
            "file_name": name,
            "target": int(target) if target.isdigit() else target,
            "labels": [part for part in labels.split(";") if part] if separate and ";" in labels else labels,
            "problematic": reason or None,
        }
        for name, target, labels, reason in rows
    ]


@pytest.mark.parametrize("separate", [True, False], ids=["lists", "fields"])
def test_targets_labels_and_problematic_images_are_read(tmp_path: Path, own: LabelSpace, separate: bool) -> None:
    lines = [json.dumps(row) for row in as_objects(separate)]

    assert_own_labels(read_labels(write(tmp_path / "x.csv", ROWS), own))
    assert_own_labels(read_labels(write(tmp_path / "x.csv", ROWS.replace("labels", "label", 1)), own))
    assert_own_labels(read_labels(write(tmp_path / "x.csv", "\ufeff" + ROWS.replace("\n", "\r\n")), own))
    assert_own_labels(read_labels(write(tmp_path / "x.jsonl", "\n\n".join(lines) + "\n"), own))
    assert_own_labels(read_labels(write(tmp_path / "x.json", f"[{', '.join(lines)}]"), own))


@pytest.mark.processes
def test_parquet_is_equivalent(tmp_path: Path, own: LabelSpace) -> None:
    rows = [{**row, "target": str(row["target"])} for row in as_objects(False)]
    table = pa.Table.from_pylist(rows)
    lists = [[label for label in str(row["labels"]).split(";") if label] for row in rows]
    lists[0], lists[4], lists[5] = ["sku-c", "sku-d"], ["1", "2"], ["4", "KRAN"]
    encoded = table.set_column(0, "file_name", table["file_name"].dictionary_encode())
    as_lists, renamed = (
        table.set_column(2, name, column) for name, column in (("labels", pa.array(lists)), ("label", table["labels"]))
    )
    for number, variant in enumerate((table, encoded, as_lists, renamed)):
        path = tmp_path / f"{number}.parquet"
        parquet.write_table(variant, path)
        assert_own_labels(read_labels(path, own))


@pytest.mark.processes
def test_parquet_with_numbers_is_read(tmp_path: Path) -> None:
    columns = {
        "labels": pa.array([[3, 5], [7], None], type=pa.list_(pa.int16())),
        "target": pa.array([5, 7, 9], type=pa.uint32()),
        "file_name": pa.array([b"a.jpg", b"b.jpg", b"c.jpg"]),
        "problematic": [False, None, True],
        "score": [0.1, 0.2, 0.3],
    }
    parquet.write_table(pa.table(columns), tmp_path / "x.parquet")

    images = read_labels(tmp_path / "x.parquet", imagenet_1k())

    assert labels_of(images) == {"a.jpg": [3, 5], "b.jpg": [7], "c.jpg": []}
    assert images.all_targets.tolist() == [5, 7, 9]
    assert images.problematic.tolist() == [False, False, True]


def test_reference_labels_have_the_published_numbers(reference: Path) -> None:
    label_space = read_classes(reference / "cifar100" / "classes.csv", "cifar-100")

    images = read_labels(reference / "cifar100" / "labels.csv", label_space)

    rejected = rejected_targets(images.targets, images.labels, images.problematic)
    assert len(images.names) == 10_000
    assert np.count_nonzero(images.problematic) == 247
    assert np.count_nonzero(rejected) == 318
    assert np.count_nonzero(images.labels.counts == 2) == 20


def test_field_is_one_class_before_it_is_split_at_spaces(tmp_path: Path) -> None:
    label_space = read_classes(write(tmp_path / "c.csv", "name\na\nb\na b\n"), "mine")
    rows = "file_name,labels\n1,a b\n2,b a\n3,a b;b\n4,a b b\n"

    images = read_labels(write(tmp_path / "x.csv", rows), label_space)

    assert labels_of(images) == {"1": [2], "2": [1, 0], "3": [2, 1], "4": [0, 1]}


@pytest.mark.parametrize(
    ("row", "field", "words"),
    [
        ("x,sku-a,crane,", "labels", ["ambiguous class 'crane': index 0 (ID 'sku-a'), index 2 (ID 'sku-c')"]),
        ("x,crane,cup,", "target", ["ambiguous class 'crane'"]),
        ("x,sku-a,sku-a;0,", "labels", ["ambiguous class '0': index 0 (ID 'sku-a'), index 4 (ID '0')"]),
        ("x,sku-a,cups,", "labels", ["unknown class 'cups'", "0 to 4", "similar names: 'cup'"]),
        ("x,sku-a,water bottle cup,", "labels", ["unknown class 'water' in 'water bottle cup'", "classes with ';'"]),
        ("x,sku-a,watr bottle,", "labels", ["unknown class 'watr' in 'watr bottle'", "similar names: 'water bottle'"]),
        ("x,sku-a,cup;watr bottle,", "labels", ["unknown class 'watr bottle'; use"]),
        ("x,,sku-a,", "target", ["no target"]),
        ("x,sku-a,,", "labels", ["no label", "`problematic`"]),
        ("x,sku-a, ; ,", "labels", ["no label"]),
        ("x,,,blurred", "target", ["no target"]),
        ("d.jpg,sku-a,sku-a,", "file_name", ["duplicate image 'd.jpg'", "line 2"]),
        (f"{'x' * 1_025},sku-a,sku-a,", "file_name", ["1,025 characters"]),
        ("x,sku-a,sku-a,,sku-b", "row", ["5 values in 4 columns"]),
    ],
)  # fmt: skip
def test_invalid_row_is_refused_with_its_line(
    tmp_path: Path, own: LabelSpace, row: str, field: str, words: list[str]
) -> None:
    error = refused(write(tmp_path / "x.csv", f"{ROWS}{row}\n"), own)

    assert [(violation.field, violation.line) for violation in error.violations] == [(field, 8)]
    assert all(word in error.message for word in words), error.message


def test_labels_of_other_classes_name_imagenet_and_the_option(tmp_path: Path) -> None:
    error = refused(write(tmp_path / "x.csv", "file_name,labels\na.jpg,teaspoon\n"), imagenet_1k())

    assert "an index from 0 to 999 of ImageNet-1k, or add --classes for classes of your own" in error.message


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ('{"file_name": "x"', "row"),
        ("[]", "row"),
        ("1", "row"),
        ('{"labels": [1]}', "file_name"),
        ('{"file_name": 5, "labels": [1]}', "file_name"),
        ('{"file_name": "\\ud800", "labels": [1]}', "file_name"),
        ('{"file_name": "x"}', "labels"),
        ('{"file_name": "x", "labels": {}}', "labels"),
        ('{"file_name": "x", "labels": [true]}', "labels"),
        ('{"file_name": "x", "labels": [1.0]}', "labels"),
        ('{"file_name": "x", "labels": [[1]]}', "labels"),
        ('{"file_name": "x", "labels": [""]}', "labels"),
        ('{"file_name": "x", "labels": ["\\ud800"]}', "labels"),
        ('{"file_name": "x", "labels": [1], "target": null}', "target"),
        ('{"file_name": "x", "labels": [1], "target": [1]}', "target"),
        ('{"file_name": "x", "labels": [1], "problematic": 1}', "problematic"),
        ('{"file_name": "x", "labels": ' + "[" * 900 + "]" * 900 + "}", "row"),
    ],
    ids=lambda value: value[:60],
)
def test_invalid_json_line_is_refused_with_its_line(tmp_path: Path, own: LabelSpace, line: str, field: str) -> None:
    error = refused(write(tmp_path / "x.jsonl", f'{{"file_name": "a", "labels": [1]}}\n\n{line}\n'), own)

    assert [(violation.field, violation.line) for violation in error.violations] == [(field, 3)]
    error.message.encode()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"filename": "a", "labels": [1]}, "line 1: unknown key 'filename'; rename it to 'file_name' (and 1 more)."),
        ({"image": "a", "label": "cup"}, "line 1: missing key 'file_name'; the object has 'image', 'label'; rename"),
        ({"a.jpg": ["cup"]}, "line 1: missing key 'file_name'; the object has 'a.jpg'; rename"),
    ],
)
def test_json_lines_with_other_keys_are_refused_with_the_key_to_rename(
    tmp_path: Path, own: LabelSpace, line: dict[str, object], message: str
) -> None:
    text = f"{json.dumps(line)}\n" * 2

    assert message in refused(write(tmp_path / "x.jsonl", text), own).message


def test_a_json_object_in_one_line_maps_names_to_labels(tmp_path: Path, own: LabelSpace) -> None:
    assert labels_of(read_labels(write(tmp_path / "x.json", '\n{"file_name.jpg": ["cup"]}\n\n'), own)).keys() == {
        "file_name.jpg"
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [("[1]", "image 1: 1 is not an object"), ('[{"file_name": "a", "labels": [1]}, {}]', "image 2"), ("[", "JSON")],
)
def test_an_invalid_json_array_is_refused(tmp_path: Path, own: LabelSpace, text: str, message: str) -> None:
    assert message in refused(write(tmp_path / "x.json", text), own).message


@pytest.mark.parametrize(
    ("form", "unit"),
    [
        ("csv", "line"),
        ("lines", "line"),
        ("array", "image"),
        ("mapping", "image"),
        pytest.param("parquet", "row", marks=pytest.mark.processes),
    ],
)
def test_problems_have_the_unit_of_their_numbers(tmp_path: Path, own: LabelSpace, form: str, unit: str) -> None:
    labels = {"a": ["cup"], "b": ["cups"], "c": ["flasks"]}
    rows = [{"file_name": name, "labels": values} for name, values in labels.items()]
    texts = {
        "csv": "file_name,labels\n" + "".join(f"{name},{value}\n" for name, (value,) in labels.items()),
        "lines": "\n".join(map(json.dumps, rows)),
        "array": json.dumps(rows),
        "mapping": json.dumps(labels),
    }
    path = tmp_path / "x"
    if form == "parquet":
        parquet.write_table(pa.Table.from_pylist(rows), path)
    else:
        write(path, texts[form])

    error = refused(path, own)

    first = 3 if form == "csv" else 2
    assert error.message.startswith(f"x, {unit} {first}: unknown class 'cups'")
    assert [violation.place for violation in error.violations] == [f"{unit} {first}", f"{unit} {first + 1}"]


def test_json_line_without_target_uses_the_first_label(tmp_path: Path, own: LabelSpace) -> None:
    images = read_labels(write(tmp_path / "x.jsonl", '{"file_name": "a", "labels": "cup flask"}'), own)

    assert images.all_targets.tolist() == [3]
    assert labels_of(images) == {"a": [3, 1]}


@pytest.mark.parametrize(
    ("value", "is_problematic"), [('"no"', True), ("true", True), ("false", False), ('" "', False)]
)
def test_any_text_or_true_sets_an_image_aside(
    tmp_path: Path, own: LabelSpace, value: str, is_problematic: bool
) -> None:
    lines = f'{{"file_name": "a", "labels": [1]}}\n{{"file_name": "b", "labels": [1], "problematic": {value}}}\n'

    assert read_labels(write(tmp_path / "x.jsonl", lines), own).problematic.tolist() == [False, is_problematic]


def test_a_duplicate_image_in_a_json_array_is_refused_with_its_number(tmp_path: Path) -> None:
    rows = json.dumps([{"file_name": name, "labels": [1]} for name in ("a", "b", "a")], indent=1)

    assert "image 3: duplicate image 'a', also in image 1;" in refused(write(tmp_path / "x.json", rows)).message


def test_duplicate_image_in_json_is_refused(tmp_path: Path) -> None:
    assert "duplicate image 'a'" in refused(write(tmp_path / "x.json", '{"a": [1], "b": [2], "a": [3]}')).message


def test_file_with_problematic_images_only_is_refused(tmp_path: Path, own: LabelSpace) -> None:
    error = refused(write(tmp_path / "x.csv", "file_name,target,labels,problematic\na,0,,x\n".replace("0", "cup")), own)

    assert "all images are problematic" in error.message


def test_misspelled_column_is_refused(tmp_path: Path, own: LabelSpace) -> None:
    error = refused(write(tmp_path / "x.csv", "file_name,targets,labels\na,cup,cup\n"), own)

    assert "'targets'. Rename it to 'target'" in error.message


def test_file_of_100_mb_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.csv").touch()
    os.truncate(tmp_path / "x.csv", 100 << 20)
    monkeypatch.setattr(input_files, "decode", None)  # fails if the content is used

    assert "100.0 MiB" in refused(tmp_path / "x.csv").message


# hostile Parquet files


@pytest.mark.processes
@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"file_name": ["a"]}, "no column 'labels'"),
        ({"labels": ["1"]}, "no column 'file_name'"),
        ({"file_name": [1], "labels": ["1"]}, "'file_name' has the type int64; use text"),
        ({"file_name": ["a"], "labels": [1.5]}, "'labels' has the type double; use text, integers, or lists of them"),
        ({"file_name": ["a"], "labels": [[[1]]]}, "'labels' has the type list"),
        ({"file_name": ["a"], "labels": [{"x": 1}]}, "'labels' has the type struct"),
        ({"file_name": ["a"], "labels": [1], "target": [None]}, "'target' has the type null"),
        ({"file_name": ["a"], "labels": [1], "problematic": [0]}, "'problematic' has the type int64"),
        ({"file_name": ["a"], "labels": [1], "Target": [0]}, "unknown column 'Target'; rename it to 'target'"),
        ({"file_name": ["a"], "label": [1], "problematics": [""]}, "unknown column 'problematics'; rename it"),
        ({"file_name": ["a"], "labels": [1], "label": [1]}, "it has the columns labels and label; keep one"),
        ({"file_name": [b"\xff"], "labels": [1]}, "can't decode"),
    ],
    ids=str,
)
def test_parquet_with_other_columns_is_refused(tmp_path: Path, columns: dict[str, list[object]], words: str) -> None:
    parquet.write_table(pa.table(columns), tmp_path / "x.parquet")

    assert words in refused(tmp_path / "x.parquet").message


@pytest.mark.processes
def test_invalid_rows_of_parquet_are_refused_with_their_numbers(tmp_path: Path) -> None:
    columns = {"file_name": ["a", None, "c"], "labels": [1, 2, 1000]}
    parquet.write_table(pa.table(columns), tmp_path / "x.parquet")

    error = refused(tmp_path / "x.parquet")

    assert error.message.startswith("x.parquet, row 2: ")
    assert [(violation.field, violation.line) for violation in error.violations] == [("file_name", 2), ("labels", 3)]


@pytest.mark.processes
@pytest.mark.parametrize("content", [b"PAR1", b"PAR1" + b"\xff" * 100, b"PAR1" + b"\xff\xff\xff\x7fPAR1"])
def test_damaged_parquet_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.parquet").write_bytes(content)

    assert "cannot read the Parquet file" in refused(tmp_path / "x.parquet").message


@pytest.mark.processes
def test_parquet_with_large_footer_is_refused(tmp_path: Path) -> None:
    size = parquet_labels.MAX_FOOTER + 1
    (tmp_path / "x.parquet").write_bytes(b"PAR1" + bytes(size) + size.to_bytes(4, "little") + b"PAR1")

    assert "footer" in refused(tmp_path / "x.parquet").message


@pytest.mark.processes
def test_crash_of_the_parquet_reader_is_an_error_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(deeply_nested_schema(20_000))  # Arrow overflows its stack

    message = refused(tmp_path / "x.parquet").message

    assert "damaged, or unpacks to too much (the reader ended with SIG" in message


def test_parquet_reader_that_takes_too_long_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*arguments: object, **options: object) -> None:
        raise subprocess.TimeoutExpired("python", parquet_labels.TIMEOUT_SECONDS)

    monkeypatch.setattr(subprocess, "run", run)
    (tmp_path / "x.parquet").write_bytes(b"PAR1")

    assert "takes more than 120 s" in refused(tmp_path / "x.parquet").message


def deeply_nested_schema(depth: int) -> bytes:
    """Return a Parquet file whose only column is nested in groups. Thrift's compact protocol."""

    def varint(value: int) -> bytes:
        return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + varint(value >> 7)

    group = bytes([0x35, 2, 0x18, 1]) + b"g" + bytes([0x15, 2, 0])  # optional, name, one child
    leaf = bytes([0x15, 12, 0x25, 2, 0x18, 1]) + b"x" + bytes([0])  # BYTE_ARRAY, optional, name
    root = bytes([0x48, 6]) + b"schema" + bytes([0x15, 2, 0])
    elements = root + group * depth + leaf
    footer = bytes([0x15, 2, 0x19, 0xFC]) + varint(depth + 2) + elements + bytes([0x16, 0, 0x19, 0x0C, 0])
    return b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1"
