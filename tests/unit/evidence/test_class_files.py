"""Files of classes, overlaps, superclasses, and groups: formats, defaults, limits, and hostile content."""

import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from errata.errors import InvalidEvidence
from unit.evidence.files import write

from service.domain import LabelSpace
from service.evidence import input_files
from service.evidence.class_files import read_classes, read_groups, read_superclasses
from service.evidence.label_space_json import from_json, to_json

CSV = """index,id,name,synonyms,superclasses,groups,synset
2,sku-c,crane,"kran; hoisting crane",machine,vehicle,n03126707
0,sku-a,crane,,bird; wader,animal,n02012849
1,sku-b,Pommes rouge-blanc ü,chips;fries,,,
"""
CLASSES = [
    {"id": "sku-a", "name": "crane", "superclasses": ["bird", "wader"], "groups": ["animal"], "synset": "n02012849"},
    {"id": "sku-b", "name": "Pommes rouge-blanc ü", "synonyms": ["chips", "fries"]},
    {
        "id": "sku-c",
        "name": "crane",
        "synonyms": ["kran", "hoisting crane"],
        "superclass": "machine",
        "group": "vehicle",
        "synset": "n03126707",
    },
]


def read(tmp_path: Path, text: str, overlaps: str | None = None) -> LabelSpace:
    path = write(tmp_path / "classes.csv", text)
    return read_classes(path, "mine", None if overlaps is None else write(tmp_path / "overlaps.csv", overlaps))


def refused(read: Callable[[], object]) -> InvalidEvidence:
    with pytest.raises(InvalidEvidence) as error_info:
        read()
    return error_info.value


def places(error: InvalidEvidence) -> list[tuple[str, int | None]]:
    return [(violation.field, violation.line) for violation in error.violations]


# formats


def test_all_fields_are_read_in_the_order_of_the_index(tmp_path: Path) -> None:
    label_space = read(tmp_path, CSV)

    assert label_space.name == "mine"
    assert label_space.ids == ("sku-a", "sku-b", "sku-c")
    assert label_space.names == ("crane", "Pommes rouge-blanc ü", "crane")
    assert label_space.synonyms == ((), ("chips", "fries"), ("kran", "hoisting crane"))
    assert label_space.synsets == ("n02012849", "", "n03126707")
    assert [label_space.superclasses.names_of(index) for index in range(3)] == [("bird", "wader"), (), ("machine",)]
    assert label_space.groups == ("animal", "vehicle")
    assert label_space.group_members.tolist() == [[True, False, False], [False, False, True]]
    assert len(label_space.overlaps) == 0


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + CSV.replace("\n", "\r\n"),
        CSV.replace("superclasses,groups", "superclass,group"),
        CSV.replace("\n", "\n\n") + "\n",
        CSV + ",,,,\n,,\n",
        json.dumps({"classes": CLASSES}),
        json.dumps({"classes": [{**row, "index": 2 - place} for place, row in enumerate(reversed(CLASSES))]}),
        json.dumps({"name": "ignored", "classes": CLASSES, "overlaps": []}, indent=2, ensure_ascii=False),
    ],
    ids=[
        "BOM and CRLF",
        "singular",
        "blank lines",
        "empty rows",
        "JSON",
        "JSON with indices",
        "JSON with other fields",
    ],
)
def test_formats_are_equivalent(tmp_path: Path, text: str) -> None:
    assert to_json(read(tmp_path, text)) == to_json(read(tmp_path, CSV))


def test_label_space_of_a_bundle_can_be_read_as_a_file(tmp_path: Path) -> None:
    label_space = read(tmp_path, CSV, "class,also_correct\n0,2\n")

    again = read(tmp_path, to_json(label_space).decode())

    assert to_json(again) == to_json(label_space)


def test_only_the_name_is_required(tmp_path: Path) -> None:
    label_space = read(tmp_path, "name\ncat\nwater bottle\n")

    assert label_space.names == label_space.ids == ("cat", "water bottle")
    assert label_space.groups == label_space.superclasses.ids == ()
    assert [label_space.superclasses.similar_to(index).tolist() for index in range(2)] == [[0], [1]]


def test_other_columns_are_ignored(tmp_path: Path) -> None:
    assert read(tmp_path, "definition,name,price\nx,cat,1\ny,dog,2\n").names == ("cat", "dog")


def test_html_is_text(tmp_path: Path) -> None:
    name = "<script>alert('&amp;')</script>"

    assert read(tmp_path, f'name\n"{name}"\nb\n').names == (name, "b")


def test_repeated_values_count_once(tmp_path: Path) -> None:
    label_space = read(tmp_path, "name,synonyms,superclasses\na,x; y;x;,s;s\nb,,s\n")

    assert label_space.synonyms[0] == ("x", "y")
    assert label_space.superclasses.names_of(0) == ("s",)


def test_reference_classes_have_twenty_superclasses(reference: Path) -> None:
    label_space = read_classes(reference / "cifar100" / "classes.csv", "cifar-100")

    assert label_space.num_classes == 100
    assert label_space.names[1] == "aquarium fish"
    sizes = Counter(name for index in range(100) for name in label_space.superclasses.names_of(index))
    assert sorted(sizes.values()) == [5] * 20
    assert set(label_space.groups) == {"organism", "artifact", "scene"}


# numbers of classes and groups


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 32_767])
def test_smallest_and_largest_label_space_are_read(tmp_path: Path, count: int) -> None:
    label_space = read(tmp_path, "name\n" + "".join(f"class {number}\n" for number in range(count)))

    assert label_space.num_classes == count
    assert label_space.parse(f"class {count - 1}") == label_space.parse(str(count - 1)) == count - 1


@pytest.mark.parametrize(("count", "text"), [(0, "0 classes"), (1, "1 class"), (33_000, "33,000 classes")])
def test_other_numbers_of_classes_are_refused(tmp_path: Path, count: int, text: str) -> None:
    error = refused(lambda: read(tmp_path, "name\n" + "".join(f"class {number}\n" for number in range(count))))

    assert f"{text}; a label space has 2 to 32,767: {'remove' if count > 2 else 'add'} classes" in error.message


def test_sixteen_groups_are_allowed_and_seventeen_are_not(tmp_path: Path) -> None:
    rows = [f"c{number},g{number}\n" for number in range(17)]

    assert len(read(tmp_path, "name,group\n" + "".join(rows[:16])).groups) == 16
    error = refused(lambda: read(tmp_path, "name,group\n" + "".join(rows)))
    assert places(error) == [("groups", 18)]
    assert "g16" in error.message


def test_group_all_is_reserved(tmp_path: Path) -> None:
    error = refused(lambda: read(tmp_path, "name,groups\na,x\nb,x;all\n"))

    assert places(error) == [("groups", 3)]
    assert "'all'" in error.message


# invalid rows


@pytest.mark.parametrize(
    ("text", "expected", "words"),
    [
        ("name\ncrane\nb\ncrane\n", [("id", 4)], ["'crane'", "line 2", "add an `id` column"]),
        ("id,name\nx,a\ny,b\nx,c\n", [("id", 4)], ["'x'", "line 2"]),
        ("id,name\nb,a\n,b\n", [("id", 3)], ["'b'", "line 2"]),
        ("index,name\n0,a\n0,b\n", [("index", 3), ("index", None)], ["duplicate index 0", "line 2"]),
        ("index,name\n0,a\n2,b\n", [("index", 3), ("index", None)], ["'2'", "0 to 1"]),
        ("index,name\n0,a\n,b\n", [("index", 3), ("index", None)], ["invalid index ''"]),
        ("index,name\n0,a\n-1,b\n", [("index", 3), ("index", None)], ["'-1'"]),
        ("index,name\n0,a\n1.0,b\n", [("index", 3), ("index", None)], ["'1.0'"]),
        ("index,name\n0,a\n٣,b\n", [("index", 3), ("index", None)], ["'٣'"]),
        ("name,synset\na,n0208407\nb,02084071\nc,n02084071\n", [("synset", 2), ("synset", 3)], ["n02084071"]),
        ("name,synset\na,N02084071\nb,\n", [("synset", 2)], ["'N02084071'"]),
        ("id,name\nx,\ny,b\n", [("name", 2)], ["empty name"]),
        ('name\n"  "\n,\nb\n', [("name", 2), ("name", 3)], ["empty name"]),
        ('name\na\n""\nb\n', [("name", 3)], ["empty name"]),  # without this row, b would have the index 1
        ("name,superclass\na,\n,\n\n,\nb,\n,\n", [("name", 3)], ["empty name"]),
        ("name,superclass\na,\"b\x01c\"\nd,e\n", [("superclasses", 2)], ["U+0001"]),
        ("name\na\x00b\nc\n", [("name", 2)], ["U+0000"]),
        ("name\na\u202eb\nc\n", [("name", 2)], ["U+202E"]),
        (f"id,name\nx,{'a' * 1_001}\ny,b\n", [("name", 2)], ["1,001 characters"]),
        (f"name,synonyms\na,{';'.join(map(str, range(101)))}\nb,\n", [("synonyms", 2)], ["101 synonyms"]),
    ],
)  # fmt: skip
def test_invalid_row_is_refused_with_its_line(
    tmp_path: Path, text: str, expected: list[tuple[str, int | None]], words: list[str]
) -> None:
    error = refused(lambda: read(tmp_path, text))

    assert places(error) == expected
    assert error.message.startswith(f"classes.csv, line {expected[0][1]}: ")
    assert all(word in error.message for word in words), error.message


def test_ten_problems_are_listed_with_their_total(tmp_path: Path) -> None:
    error = refused(lambda: read(tmp_path, "id,name\n" + "".join(f"{number},\n" for number in range(25))))

    assert places(error) == [("name", line) for line in range(2, 12)]
    assert "and 24 more" in error.message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["missing column 'name'"]),
        ("id,label\nx,a\n", ["missing column 'name'", "'label'"]),
        ("id;name\nx;a\n", ["missing column 'name'", "Separate the columns with commas"]),
        ("id\tname\nx\ta\n", ["missing column 'name'", "Separate the columns with commas"]),
        ("name;superclasses\na;b\n", ["missing column 'name'", "Separate the columns with commas"]),
        ("PK\x03\x04", ["classes.csv is a ZIP archive, such as an Excel workbook", "CSV file in UTF-8"]),
        ("name,name\na,b\n", ["more than one column 'name'"]),
        ("name,superclass,superclasses\na,b,c\n", ["more than one column 'superclasses'"]),
        ("name,super_classes\na,b\n", ["'super_classes'", "Rename it to 'superclasses'"]),
        ("Name\na\nb\n", ["'Name'", "Rename it to 'name'"]),
        ('name\n"a\nb\n', ["line 2", "not valid CSV"]),
        ('name\n"a"b\n', ["line 2", "not valid CSV"]),
        ("name\n" + "a" * 200_000 + "\n", ["line 2", "not valid CSV"]),
        ("{", ["not a JSON file of classes"]),
        ("[]", ["not a JSON file of classes"]),
        ('{"classes": {}}', ["not a JSON file of classes"]),
        ('{"classes": ' + "[" * 1_000 + "]" * 1_000 + "}", ["levels deep"]),
        ('{"classes": ' + "[" * 100_000, ["not a JSON file of classes"]),
        ('{"classes": [1, {"name": "b"}]}', ["class 1", "1 is not an object"]),
        ('{"classes": [{"name": "a"}, {"name": "b", "synonym": "c"}]}', ["class 2", "'synonym'", "'synonyms'"]),
        ('{"classes": [{"name": "a"}, {"name": 5}]}', ["class 2", "5 is not a text"]),
        ('{"classes": [{"name": "a"}, {"id": 0, "name": "b"}]}', ["class 2", "0 is not a text"]),
        ('{"classes": [{"name": "a"}, {"name": "b", "groups": [["x"]]}]}', ["class 2", "is not a text"]),
        ('{"classes": [{"name": "a"}, {"name": "b", "groups": {"x": 1}}]}', ["class 2", "write a list"]),
        ('{"classes": [{"name": "b", "index": true}, {"name": "a"}]}', ["class 1", "invalid index True"]),
        ('{"classes": [{"name": "a"}, {"name": "\\ud800"}]}', ["class 2", "not valid Unicode"]),
        ('{"classes": [{"name": "a"}, {"name": "b\\u0000"}]}', ["class 2", "U+0000"]),
        ('{"classes": [{"name": "a"}, {"name": "b"}], "overlaps": {}}', ["overlaps is {}"]),
        ('{"classes": [{"name": "a"}, {"name": "b"}], "overlaps": [[0]]}', ["overlap 1", "not a pair"]),
        ('{"classes": [{"name": "a"}, {"name": "b"}], "overlaps": [[0, 1], [1, true]]}', ["overlap 2", "not a pair"]),
        ('{"classes": [{"name": "a"}, {"name": "b"}], "overlaps": [[0, 2]]}', ["overlap 1", "unknown class '2'"]),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else None,
)  # fmt: skip
def test_file_of_another_form_is_refused(tmp_path: Path, text: str, words: list[str]) -> None:
    error = refused(lambda: read(tmp_path, text))

    assert error.message.startswith("classes.csv")
    assert all(word in error.message for word in words), error.message


def test_problems_of_a_json_file_have_the_numbers_of_classes_and_overlaps(tmp_path: Path) -> None:
    error = refused(lambda: read(tmp_path, '{"classes": [{"name": "a"}, {"name": 5}, {"name": 6}]}'))
    assert [violation.place for violation in error.violations] == ["class 2", "class 3"]

    classes = '{"classes": [{"name": "a"}, {"name": "b"}], "overlaps": [[0, 2], [0, 3]]}'
    error = refused(lambda: read(tmp_path, classes))
    assert [violation.place for violation in error.violations] == ["overlap 1", "overlap 2"]


def test_file_of_100_mb_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "classes.csv"
    path.touch()
    os.truncate(path, 100 << 20)
    monkeypatch.setattr(input_files, "decode", None)  # fails if the content is used

    error = refused(lambda: read_classes(path, "mine"))

    assert "classes.csv has 100.0 MiB. Expected at most 64 MiB" in error.message


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe", "binary"])
def test_other_file_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "classes.csv"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "binary":
        path.write_bytes(b"name\na\n\xff\xfe\n")

    error = refused(lambda: read_classes(path, "mine"))

    assert "classes.csv" in error.message
    assert kind != "binary" or error.violations[0].line == 3


def test_name_of_imagenet_is_reserved(tmp_path: Path) -> None:
    path = write(tmp_path / "classes.csv", CSV)

    assert "reserved" in refused(lambda: read_classes(path, "imagenet-1k")).message


# overlaps


@pytest.mark.parametrize(
    "overlaps",
    ["class,also_correct\n0,1\nfries,sku-a\n", "also_correct,why,class\n1,x,sku-a\nsku-a,y,CHIPS\nsku-a,y,CHIPS\n"],
)
def test_overlaps_name_classes_by_index_id_or_name(tmp_path: Path, overlaps: str) -> None:
    assert read(tmp_path, CSV, overlaps).overlaps.as_array().tolist() == [[0, 1], [1, 0]]


def test_overlaps_of_json_and_of_a_file_are_combined(tmp_path: Path) -> None:
    text = json.dumps({"classes": CLASSES, "overlaps": [["sku-c", 0], [1, "sku-a"]]})

    label_space = read(tmp_path, text, "class,also_correct\n2,1\n")

    assert label_space.overlaps.as_array().tolist() == [[1, 0], [2, 0], [2, 1]]


@pytest.mark.parametrize(
    ("overlaps", "expected", "words"),
    [
        ("0,crane\n", [("also_correct", 2)], ["ambiguous class 'crane'", "0 (ID 'sku-a')", "2 (ID 'sku-c')"]),
        ("cran,0\n", [("class", 2)], ["unknown class 'cran'", "similar names: 'crane'"]),
        ("0,1\n3,0\n", [("class", 3)], ["unknown class '3'", "0 to 2"]),
        ("0,1\nchips,1\n", [("also_correct", 3)], ["'1' is the class itself"]),
        ("0,\n", [("also_correct", 2)], ["unknown class ''"]),
        ("0,1,2\n", [("row", 2)], ["3 values in 2 columns"]),
    ],
)  # fmt: skip
def test_invalid_overlap_is_refused_with_its_line(
    tmp_path: Path, overlaps: str, expected: list[tuple[str, int | None]], words: list[str]
) -> None:
    error = refused(lambda: read(tmp_path, CSV, f"class,also_correct\n{overlaps}"))

    assert places(error) == expected
    assert error.message.startswith("overlaps.csv, line ")
    assert all(word in error.message for word in words), error.message


def test_number_that_is_an_id_and_another_index_is_ambiguous(tmp_path: Path) -> None:
    error = refused(lambda: read(tmp_path, "id,name\n1,a\n7,b\n", "class,also_correct\n7,1\n"))

    assert "ambiguous class '1': index 0 (ID '1'), index 1 (ID '7')" in error.message


# files of superclasses and groups


def test_file_of_superclasses_replaces_those_of_the_listed_classes(tmp_path: Path) -> None:
    label_space = read(tmp_path, CSV, "class,also_correct\n0,1\n")
    path = write(tmp_path / "s.csv", "class,superclasses\nsku-a,bird;animal\nfries,food\n2,\n")

    changed = read_superclasses(path, label_space)

    assert [changed.superclasses.names_of(index) for index in range(3)] == [("bird", "animal"), ("food",), ()]
    assert changed.overlaps.as_array().tolist() == [[0, 1]]
    assert changed.groups == label_space.groups


def test_file_of_groups_replaces_those_of_the_listed_classes(tmp_path: Path) -> None:
    path = write(tmp_path / "g.csv", "class,group\nsku-b,food;animal\n")

    changed = read_groups(path, read(tmp_path, CSV))

    assert changed.groups == ("animal", "food", "vehicle")
    assert changed.group_members.tolist() == [[True, True, False], [False, True, False], [False, False, True]]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ("crane,x\n", [("class", 2)]),
        ("sku-a,x\n0,y\n", [("class", 3)]),
        ("sku-a,all\n", [("groups", 2)]),
        ("nothing,x\n", [("class", 2)]),
    ],
)
def test_invalid_row_of_groups_is_refused_with_its_line(
    tmp_path: Path, rows: str, expected: list[tuple[str, int | None]]
) -> None:
    label_space, path = read(tmp_path, CSV), write(tmp_path / "g.csv", f"class,groups\n{rows}")

    assert places(refused(lambda: read_groups(path, label_space))) == expected


def test_superclasses_in_the_authors_format_are_refused_for_own_classes(tmp_path: Path) -> None:
    label_space, path = read(tmp_path, CSV), write(tmp_path / "s.json", '{"birds": [["bird"]]}\n')

    assert (
        "CSV file with the columns class and superclasses"
        in refused(lambda: read_superclasses(path, label_space)).message
    )


# files of bundles


@pytest.mark.parametrize(
    "change",
    [
        {"synset": "dog"},
        {"groups": ["all"]},
        {"id": "sku-b"},
        {"name": ""},
        {"name": "a\x00"},
        {"superclasses": "bird"},
        {"synonyms": [1]},
    ],
    ids=str,
)
def test_stored_label_space_follows_the_same_rules(tmp_path: Path, change: dict[str, object]) -> None:
    raw = json.loads(to_json(read(tmp_path, CSV)))
    raw["classes"][0] |= change

    with pytest.raises(ValueError, match="class"):
        from_json(json.dumps(raw).encode())
