"""Files and bundles that need much memory or time, or whose meaning is not clear, are refused."""

import hashlib
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from errata.errors import InvalidEvidence
from unit.evidence.files import write

from service.bootstrap.build import Inputs, build_evidence
from service.evidence import class_lookup, input_files, label_files, label_rows, label_space_json
from service.evidence.bundle import open_bundle
from service.evidence.class_files import read_classes
from service.evidence.class_lookup import ClassLookup
from service.evidence.label_files import read_labels

CLASSES = "id,name\nc1,owl\nc2,crane\n"


def refused_classes(tmp_path: Path, text: str) -> str:
    with pytest.raises(InvalidEvidence) as caught:
        read_classes(write(tmp_path / "classes", text), "mine")
    return caught.value.message


def refused_labels(tmp_path: Path, text: str) -> InvalidEvidence:
    space = read_classes(write(tmp_path / "classes.csv", CLASSES), "mine")
    with pytest.raises(InvalidEvidence) as caught:
        read_labels(write(tmp_path / "labels.jsonl", text), space)
    return caught.value


@pytest.mark.slow
def test_a_large_file_of_too_many_classes_takes_little_memory(tmp_path: Path) -> None:
    path = write(tmp_path / "classes.csv", "name\n" + "a\n" * 300_000)
    tracemalloc.start()
    try:
        with pytest.raises(InvalidEvidence, match=r"more than 132,768 classes"):
            read_classes(path, "mine")
        assert tracemalloc.get_traced_memory()[1] < 100 << 20
    finally:
        tracemalloc.stop()


def test_json_of_too_many_objects_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    assert "more than 2,000,000 objects" in refused_classes(tmp_path, '{"classes": [' + "{}," * 2_000_001 + "{}]}")


@pytest.mark.parametrize(("start", "end"), [("[", "0]"), ('{"a":[', "0]}"), ('{"file_name":"a"}\n{"labels":[', "0]}")])
def test_labels_of_too_many_lists_are_refused_before_they_are_parsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: str, end: str
) -> None:
    monkeypatch.setattr(label_rows, "parse_json", lambda *_: pytest.fail("the file is parsed"))
    error = refused_labels(tmp_path, start + "[]," * label_rows.MAX_CONTAINERS + end)

    assert error.message.startswith("labels.jsonl has more than 5,000,000 objects and lists.")


@pytest.mark.parametrize(
    ("row", "images"), [('{"file_name":"0","labels":[1]}', label_files.MAX_IMAGES), ('"0":[1],', 3_750_000)]
)
def test_labels_of_the_most_images_have_few_enough_objects_and_lists(row: str, images: int) -> None:
    input_files.check_containers(row * images, label_rows.MAX_CONTAINERS, "labels.jsonl", "labels")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            '{"classes": [{"name": "owl"}], "classes": [{"name": "owl"}, {"name": "crane"}]}',
            "duplicate field 'classes'",
        ),
        ('{"classes": [{"name": "owl", "name": "ibis"}, {"name": "crane"}]}', "duplicate field 'name'"),
        ('{"classes": [{"name": "owl"}, {"name": "crane"}], "overlap": [[0, 1]]}', "'overlaps'"),
        ('{"classes": [{"name": "owl", "group": "a", "groups": "b"}, {"name": "crane"}]}', "class 1: groups and group"),
        ("name\tsuperclass\nowl\tx\ncrane\tx\n", "Separate the columns with commas"),
        ("name\nowl\nowl\u200b\n", "line 3: invisible character U+200B"),
        ("name\nowl\n\ufeffcrane\n", "line 3: invisible character U+FEFF"),
        ("name,groups\nowl,a\ncrane,\u200fa\n", "line 3: invisible character U+200F"),
        ("name,groups\nowl,All\ncrane,\n", "line 2: the group 'all' is reserved"),
    ],
)
def test_classes_with_two_meanings_are_refused(tmp_path: Path, text: str, problem: str) -> None:
    assert problem in refused_classes(tmp_path, text)


def test_joiners_inside_names_are_accepted(tmp_path: Path) -> None:
    space = read_classes(write(tmp_path / "classes.csv", "name\nمی\u200cخواهم\n👩\u200d🔬\n"), "mine")

    assert space.num_classes == 2


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ('{"file_name": "a", "labels": ["owl"], "labels": ["crane"]}', "duplicate field 'labels'"),
        ('{"file_name": "a", "labels": ["owl"], "label": "crane"}', "it has the keys labels and label; keep one"),
        ('{"file_name": "a", "labels": ["owl"], "problematik": "blurred"}', "rename it to 'problematic'"),
    ],
)
def test_labels_with_two_meanings_are_refused_with_their_line(tmp_path: Path, row: str, problem: str) -> None:
    error = refused_labels(tmp_path, f'{{"file_name": "b", "labels": ["owl"]}}\n{row}\n')

    assert [violation.line for violation in error.violations] == [2]
    assert problem in error.message


def test_one_long_name_among_many_is_refused_with_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_files, "MAX_NAME_BYTES", 1 << 20)
    rows = "".join(f"{number},owl\n" for number in range(2_000))
    error = refused_labels(tmp_path, f"file_name,labels\n{rows}{'é' * 500},owl\n")

    assert error.violations[0].line == 2_002
    assert error.message.startswith("labels.jsonl, line 2002:")
    assert "Shorten" in error.message
    images = [{"file_name": str(number), "labels": ["owl"]} for number in range(2_000)]
    error = refused_labels(tmp_path, json.dumps([*images, {"file_name": "é" * 500, "labels": ["owl"]}]))
    assert [violation.place for violation in error.violations] == ["image 2001"]


@pytest.mark.parametrize(
    "text",
    [
        "file_name,labels" + ",note" * (input_files.MAX_COLUMNS - 2) + "\na,owl\n",
        '{"file_name": "a", "labels": "owl", "note": 1}\n{"file_name": "b", "labels": "owl", "note": 1}\n',
        '[{"file_name": "a", "labels": "owl", "note": 1}, {"note": 1, "file_name": "b", "labels": "owl"}]',
    ],
)
def test_each_unknown_column_is_compared_with_the_known_columns_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    compared: list[str] = []
    monkeypatch.setattr("difflib.get_close_matches", lambda name, *_, **__: compared.append(name) or [])
    space = read_classes(write(tmp_path / "classes.csv", CLASSES), "mine")
    read_labels(write(tmp_path / "labels", text), space)

    assert compared == ["note"]


def test_a_table_with_more_than_1000_columns_is_refused(tmp_path: Path) -> None:
    message = refused_labels(tmp_path, "file_name,labels" + "," * (input_files.MAX_COLUMNS - 1) + "\na,owl\n").message

    assert message == "labels.jsonl, line 1: more than 1,000 columns. Remove those that Errata does not read."


@pytest.mark.parametrize(
    "text",
    [
        "".join(f'{{"file_name": "{number}", "labels": "owl", "key{number}": 1}}\n' for number in range(1_200)),
        json.dumps([{"file_name": "0", "labels": "owl"} | {f"key{number}": 1 for number in range(1_200)}]),
    ],
)
def test_only_the_first_1000_unknown_keys_are_compared_with_the_known_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    compared: list[str] = []
    monkeypatch.setattr("difflib.get_close_matches", lambda name, *_, **__: compared.append(name) or [])
    space = read_classes(write(tmp_path / "classes.csv", CLASSES), "mine")

    assert read_labels(write(tmp_path / "labels", text), space).names[0] == b"0"
    assert len(compared) == input_files.MAX_COLUMNS


def test_similar_names_are_searched_for_a_few_texts_only(tmp_path: Path) -> None:
    lookup = ClassLookup(read_classes(write(tmp_path / "classes.csv", CLASSES), "mine"))
    messages = [lookup.describe_problem(f"cran{number}") for number in range(class_lookup.MAX_HINTS + 5)]

    assert ["similar names" in message for message in messages] == [True] * class_lookup.MAX_HINTS + [False] * 5
    assert "similar names" in lookup.describe_problem("cran0")


def bundle_of(tmp_path: Path) -> Path:
    classes = write(tmp_path / "classes.csv", CLASSES)
    labels = write(tmp_path / "labels.csv", "file_name,labels\na,owl\nb,crane\n")
    build_evidence("mine", Inputs(classes=classes, labels=labels), tmp_path / "bundle")
    return tmp_path / "bundle"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda raw: raw["counts"].update(images=2_000_000_000), "the count 'images' is 2000000000, but the arrays"),
        (lambda raw: raw["counts"].update(judged=1), "the count 'judged' is 1, but the arrays have 2"),
        (lambda raw: raw.update(min_cooccurrence=0), "min_cooccurrence 0"),
        (lambda raw: raw.update(min_cooccurrence=10**30), "min_cooccurrence 1000"),
    ],
)
def test_manifest_that_contradicts_its_arrays_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], problem: str
) -> None:
    bundle = bundle_of(tmp_path)
    raw = json.loads((bundle / "manifest.json").read_text())
    change(raw)
    (bundle / "manifest.json").write_text(json.dumps(raw))

    with pytest.raises(InvalidEvidence) as caught:
        open_bundle(bundle)
    assert problem in caught.value.message


@pytest.mark.slow
def test_millions_of_overlaps_in_a_bundle_are_refused(tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path)
    content = json.loads((bundle / "label_space.json").read_text())
    content["overlaps"] = [[0, 1]] * (label_space_json.MAX_OVERLAPS + 1)
    text = json.dumps(content).encode()
    (bundle / "label_space.json").write_bytes(text)
    raw = json.loads((bundle / "manifest.json").read_text())
    raw["files"]["label_space.json"] = {"bytes": len(text), "sha256": hashlib.sha256(text).hexdigest()}
    (bundle / "manifest.json").write_text(json.dumps(raw))

    with pytest.raises(InvalidEvidence) as caught:
        open_bundle(bundle)
    assert "overlaps: List should have at most 2000000 items" in caught.value.message
    assert "\n" not in caught.value.message and "https://" not in caught.value.message
