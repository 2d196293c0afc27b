"""JSONL: valid files are read, and errors name the right lines."""

import json

import numpy as np
import pytest
from errata.errors import InvalidRow, TooLarge

from service.predictions.uploads import records

TWELVE = list(range(100, 112))


@pytest.fixture
def good(small) -> list[str]:
    """Return a valid line for each image."""
    return [json.dumps({"file_name": name, "predicted_class": one}) for name, one in small.rows(TWELVE)]


def test_lines_with_one_object_each_are_read(small, write, good) -> None:
    result = small.parse(write.lines(*good))

    assert result.format == "jsonl"
    assert result.predictions.top1.tolist() == TWELVE
    assert result.predictions.probability is None


@pytest.mark.parametrize("name", ["predicted_class", "top1", "prediction"])
def test_every_accepted_key_of_the_class_is_read(small, write, name) -> None:
    assert small.top1(write.jsonl(small.rows(TWELVE), keys=("file_name", name))) == TWELVE


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda text: text.replace(b"\n", b"\r\n"), id="CRLF"),
        pytest.param(lambda text: b"\xef\xbb\xbf" + text, id="BOM"),
        pytest.param(lambda text: text.rstrip(b"\n"), id="no newline at the end"),
        pytest.param(lambda text: text.replace(b"\n", b"\n\n"), id="blank lines"),
        pytest.param(lambda text: b"\n  \n" + text, id="blank lines first"),
        pytest.param(lambda text: text.replace(b'{"', b'  { "'), id="spaces"),
    ],
)
def test_different_spellings_of_the_same_objects_are_read_alike(small, write, good, change) -> None:
    assert small.top1(change(write.lines(*good))) == TWELVE


def test_far_more_lines_than_images_are_too_large_also_if_they_are_blank(small, write, good) -> None:
    error = small.rejection(write.lines(*good) + b"\n" * 10_001)

    assert isinstance(error, TooLarge)
    assert error.message == (
        "The file has at least 10,013 lines, but the data set has 12 images. Keep one line per image, or choose "
        "another data set with --dataset."
    )


def test_other_keys_are_ignored_and_the_order_of_keys_is_free(small, write) -> None:
    lines = [
        json.dumps({"score": [1, {"a": None}], "predicted_probability": 0.25, "top1": one, "file_name": name})
        for name, one in small.rows(TWELVE)
    ]

    result = small.parse(write.lines(*lines)).predictions

    assert result.top1.tolist() == TWELVE
    assert result.probability.tolist() == [0.25] * 12


def test_indices_ids_and_names_may_be_mixed(small, write) -> None:
    mixed = ["tench", 1, "1", "n02123045", "Granny Smith", "granny_smith", 999, "999", "zebra", 0, "0", "lemon"]

    assert small.top1(write.jsonl(small.rows(mixed))) == [0, 1, 1, 281, 948, 948, 999, 999, 340, 0, 0, 951]


def test_integers_are_probabilities_too(small, write) -> None:
    keys = ("file_name", "predicted_class", "predicted_probability")
    probabilities = [0, 1, 0.5] * 4
    rows = [(*row, probability) for row, probability in zip(small.rows(TWELVE), probabilities, strict=True)]

    result = small.parse(write.jsonl(rows, keys=keys)).predictions

    assert result.probability.tolist() == [np.float16(item) for item in probabilities]


@pytest.mark.parametrize(
    "bad",
    [
        "1000",
        "-1",
        "NaN",
        "3.0",
        "3.5",
        "null",
        "true",
        "[]",
        "[3.5]",
        '{"a": 3}',
        '"crane"',
        '""',
        "1e400",
        "9" * 30,
        '"3.0"',
    ],
)
def test_an_invalid_class_is_rejected_with_its_line(small, write, expected_error, good, bad) -> None:
    good[4] = good[4].replace("104", bad)

    error = small.rejection(write.lines(*good))

    assert isinstance(error, InvalidRow)
    assert error.reason == "INVALID_ROW"
    assert expected_error.lines(error) == [5]


@pytest.mark.parametrize("bad", ["1000", "-1", "3.0", "3.5", "true", "null", '"crane"'])
def test_a_file_in_which_every_class_is_wrong_names_ten_lines_and_counts(small, write, expected_error, bad) -> None:
    rows = [*small.names, *small.names, *small.names]
    lines = ['{"file_name": "%s", "predicted_class": %s}' % (name, bad) for name in rows]  # noqa: UP031 - braces

    error = small.rejection(write.lines(*lines))

    assert error.reason in {"INVALID_ROW", "INVALID_UPLOAD"}
    assert expected_error.lines(error) == list(range(1, 11))
    assert expected_error.count(error, 36)


@pytest.mark.parametrize("bad", ["1.5", "-0.1", "NaN", "Infinity", '"high"', '""', "null", "true", "[]", '"0_1"', "2"])
def test_an_invalid_probability_is_rejected_with_its_line(small, write, expected_error, bad) -> None:
    keys = ("file_name", "predicted_class", "predicted_probability")
    lines = write.jsonl([(*row, 0.5) for row in small.rows(TWELVE)], keys=keys).decode().splitlines()
    lines[7] = lines[7].replace("0.5", bad)

    error = small.rejection(write.lines(*lines))

    assert error.reason == "INVALID_ROW"
    assert expected_error.lines(error) == [8]


def test_a_probability_in_only_some_rows_is_rejected(small, write, expected_error) -> None:
    """Given a first row without the key and a last row with a wrong value, the file is refused."""
    rows = [json.dumps({"file_name": name, "predicted_class": one}) for name, one in small.rows(TWELVE)]
    rows[-1] = rows[-1].replace("}", ', "predicted_probability": 7}')

    error = small.rejection(write.lines(*rows))

    assert error.reason == "INVALID_ROW"


@pytest.mark.parametrize(
    "bad",
    [
        "nonsense",
        "[1, 2]",
        '"text"',
        "3",
        "null",
        "{",
        '{"file_name": "x"',
        '{"predicted_class": 3}',
        '{"file_name": "x"}',
        "[" * 100_000,
        '{"file_name": null, "predicted_class": 3}',
        '{"file_name": 3, "predicted_class": 3}',
        '{"file_name": "\\ud800", "predicted_class": 3}',
        '{"file_name": "ILSVRC2012_val_00000001.JPEG", "predicted_class": "\\ud800"}',
    ],
)
def test_an_invalid_row_is_rejected_with_its_line(small, write, expected_error, good, bad) -> None:
    error = small.rejection(write.lines(*good[:3], "", bad, *good[3:]))

    assert error.reason == "INVALID_ROW"
    assert expected_error.lines(error) == [5]


def test_a_row_that_is_not_utf8_is_rejected_with_its_line(small, write, expected_error, good) -> None:
    error = small.rejection(write.lines(*good[:5], '{"file_name": "x§", "predicted_class": 1}').replace(b"\xc2", b""))

    assert expected_error.lines(error) == [6]
    assert "The line is not UTF-8:" in error.message and "Save the file as UTF-8." in error.message


@pytest.mark.parametrize(
    "blank", [[""], ["", "", ""], [" "], ["\t", "", " "], ["\r"]], ids=["one", "three", "space", "mixed", "CR"]
)
@pytest.mark.parametrize("place", [0, 1, 5])
def test_blank_lines_count_as_lines(small, write, expected_error, good, blank, place) -> None:
    wrong = '{"file_name": "zzz", "predicted_class": 3}'

    error = small.rejection(write.lines(*good[:place], *blank, *good[place:], wrong))

    assert expected_error.lines(error) == [len(good) + len(blank) + 1]


def test_two_objects_in_one_line_are_rejected_at_that_line(small, write, expected_error, good) -> None:
    error = small.rejection(write.lines(good[0], good[1] + good[2], *good[3:]))

    assert expected_error.lines(error) == [2]


def test_an_object_over_two_lines_is_rejected_at_its_first_line(small, write, expected_error, good) -> None:
    error = small.rejection(write.lines(good[0], good[1].replace(", ", ",\n"), *good[2:]))

    assert expected_error.lines(error)[0] == 2


def test_unreadable_lines_and_wrong_rows_are_reported_together(small, write, expected_error, good) -> None:
    error = small.rejection(write.lines('{"file_name": "zzz", "predicted_class": 1}', "x", *good))

    assert expected_error.lines(error) == [1, 2]


def test_the_first_ten_wrong_lines_are_named_and_the_rest_counted(small, write, expected_error, good) -> None:
    wrong = [f'{{"file_name": "no-{number}", "predicted_class": 1}}' for number in range(37)]

    error = small.rejection(write.lines(*good[:2], *wrong, *good[2:]))

    assert expected_error.lines(error) == list(range(3, 13))
    assert expected_error.count(error, 37)


def test_keys_that_differ_from_line_to_line_are_ignored(small, write) -> None:
    """Given another additional key in every line, none becomes a column."""
    lines = [
        json.dumps({"file_name": name, "top1": one, f"key{number}": number})
        for number, (name, one) in enumerate(small.rows(TWELVE))
    ]

    assert small.top1(write.lines(*lines)) == TWELVE


def test_the_keys_of_the_first_line_decide_which_keys_are_read(small, write, good) -> None:
    """Given a later line with another of the accepted names, that line is refused."""
    good[3] = good[3].replace("predicted_class", "top1")

    with pytest.raises(InvalidRow) as refused:
        small.parse(write.lines(*good))

    assert [violation.line for violation in refused.value.violations] == [4]


def test_reading_stops_after_very_many_wrong_lines(small, write, monkeypatch) -> None:
    monkeypatch.setattr(records, "MAX_WRONG", 5)

    with pytest.raises(InvalidRow, match="and 4 more"):
        small.parse(write.lines(*['{"file_name": "x"'] * 12))


def test_a_line_of_endless_size_is_rejected_without_being_read(small, write, good) -> None:
    good[1] = good[1].replace("101", '"101"')  # so that lines are read one by one
    good[2] = good[2].replace("}", ', "x": [' + "[]," * 20_000 + "[]]}")

    with pytest.raises(InvalidRow, match=r"Line 3: The line has 60,0.. bytes"):
        small.parse(write.lines(*good))
