"""Labels of custom data sets: file formats, targets, problematic images, names of classes, and invalid rows."""

import json
from pathlib import Path

import pytest
from errata.errors import InvalidEvidence
from unit.evidence.official import wordnet_id

from service.domain import LabelSource, LabelSpace
from service.evidence.inputs import LabelInputs
from service.evidence.label_files import read_labels
from service.evidence.recipes import Inputs, gather
from service.taxonomy.imagenet_1k import imagenet_1k

LABELS = {"b.jpg": [207], "a.jpg": [5, 3], "n01440764/c.png": [0, 999, 134]}


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


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
