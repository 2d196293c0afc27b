"""Mapping files of answers: accepted and refused rows, with their lines."""

import pytest
from errata.errors import InvalidRow, InvalidUpload

from service.predictions.answers.mapping_file import MAX_BYTES, MAX_ROWS, digest_mapping, parse_mapping
from service.taxonomy.imagenet_1k import imagenet_1k


def test_classes_are_ids_indices_or_names_and_an_empty_class_is_none() -> None:
    text = '\ufeffanswer,class,note\nDoggo,n02099601,x\n"the fish, golden",1,\nbig fish,great white shark,\nno idea,,\n'

    expected = {"doggo": 207, "fish golden": 1, "big fish": 2, "no idea": None}
    assert parse_mapping(text, imagenet_1k()).classes == expected


@pytest.mark.parametrize("end", ["\r", "\r\n", "\n"])
def test_each_line_end_ends_a_row(end: str) -> None:
    assert parse_mapping(f"answer,class{end}doggo,207{end}fish,1{end}", imagenet_1k()).classes == {
        "doggo": 207,
        "fish": 1,
    }
    with pytest.raises(InvalidRow, match="Line 3 of the mapping file"):
        parse_mapping(f"answer,class{end}doggo,207{end}fish,dogge{end}", imagenet_1k())


def test_no_text_is_no_file() -> None:
    assert parse_mapping("", imagenet_1k()).classes == {}
    assert digest_mapping("") == ""


@pytest.mark.parametrize(
    ("row", "field", "problem"),
    [
        ("doggo,dogge", "class", "Unknown class 'dogge'. Write an ID"),
        ("doggo,crane", "class", "Class 'crane' can mean index 134 (ID 'n02012849'), index 517 (ID 'n03126707')."),
        ("?!,1", "answer", "Answer '?!' has no letters or digits"),
        ("Fish,2", "answer", "Answer 'Fish' has another class on line 2"),
        ("tench, goldfish,n01484850", "answer", "Row 'tench, goldfish,n01484850' has too many columns. Quote answers"),
        ("doggo,tench,extra", "answer", "Row 'doggo,tench,extra' has too many columns"),
        ("doggo,1,", "answer", "Row 'doggo,1,' has too many columns"),
        ("doggo", "answer", "Row 'doggo' has too few columns. Quote answers that contain commas, and write ANSWER,"),
        ("x" * 1001 + ",1", "answer", "has 1,001 characters. Use at most 1,000"),
    ],
)
def test_an_invalid_row_is_named_with_its_line(row: str, field: str, problem: str) -> None:
    with pytest.raises(InvalidRow, match="Line 3 of the mapping file") as caught:
        parse_mapping(f"answer,class\nfish,1\n{row}\n", imagenet_1k())

    (violation,) = caught.value.violations
    assert (violation.line, violation.field) == (3, field)
    assert problem in violation.description


def test_a_row_of_several_lines_is_named_with_its_first_line_and_empty_lines_count() -> None:
    with pytest.raises(InvalidRow, match="Line 7 of the mapping file") as caught:
        parse_mapping('\nanswer,class\n\n"big\nfish",2\n\nBig fish,1\n"a\nb",dogge\n', imagenet_1k())

    assert [violation.line for violation in caught.value.violations] == [7, 8]
    assert "has another class on line 4" in caught.value.violations[0].description


def test_answers_of_1000_characters_are_found() -> None:
    mapping = parse_mapping(f"answer,class\n{'x' * 999}y,1\n{'x' * 999}z,2\n", imagenet_1k())

    matches = [mapping.find("x" * 999 + end) for end in "yz"]
    assert [match and match.classes for match in matches] == [(1,), (2,)]


def test_a_column_after_the_class_can_be_missing() -> None:
    assert parse_mapping("answer,class,note\ndoggo,1\n", imagenet_1k()).classes == {"doggo": 1}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("name,class\nx,1\n", "Line 1 of the mapping file is 'name,class'"),
        ('"answer,class\n', "Line 1 of the mapping file is not CSV"),
        ('answer,class\nfish,1\n"x,1\n', "Line 3 of the mapping file is not CSV"),
        ('answer,class\nfish,1\n\n\n\n"x"y,1\n', "Line 6 of the mapping file is not CSV"),
        ("\n\nname,class\nx,1\n", "Line 3 of the mapping file is 'name,class'"),
        ("\n", "Line 1 of the mapping file is ''"),
        ("answer,class\n\ud800,cat\n", r"has the lone surrogate U\+D800"),
        ("answer,class\n" + "x" * MAX_BYTES, "larger than 1 MB"),
        ("answer,class\n" + "".join(f"a{i},1\n" for i in range(MAX_ROWS + 1)), "more than 20,000 rows"),
    ],
)
def test_a_file_that_is_no_mapping_is_refused(text: str, problem: str) -> None:
    with pytest.raises(InvalidUpload, match=problem):
        parse_mapping(text, imagenet_1k())
