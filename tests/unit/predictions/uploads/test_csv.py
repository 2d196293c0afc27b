"""CSV: valid files are read, and errors name the right lines."""

import csv
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from errata.errors import InvalidRow, InvalidUpload

from service.domain import RowOrder
from service.evidence.bundle import Bundle
from service.predictions.uploads import Layout, parse_upload
from service.predictions.uploads import csv as reader
from service.taxonomy.imagenet_1k import imagenet_1k

TWELVE = list(range(100, 112))


@pytest.mark.parametrize("name", ["predicted_class", "top1", "prediction"])
def test_every_accepted_name_of_the_class_column_is_read(small, write, name) -> None:
    content = write.csv(small.rows(TWELVE), header=("file_name", name))

    result = small.parse(content)

    assert result.format == "csv"
    assert result.predictions.top1.tolist() == TWELVE
    assert result.predictions.top1.dtype == np.int16
    assert result.predictions.probability is None


def test_columns_can_have_any_order_and_others_are_ignored(small, write) -> None:
    rows = [("x,y", "0.5", name, predicted, "x") for name, predicted in small.rows(TWELVE)]
    content = write.csv(rows, header=("note", "predicted_probability", "file_name", "predicted_class", "note"))

    predictions = small.parse(content).predictions

    assert predictions.top1.tolist() == TWELVE
    assert predictions.probability.tolist() == [0.5] * 12


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda text: text.replace(b"\n", b"\r\n"), id="CRLF"),
        pytest.param(lambda text: b"\xef\xbb\xbf" + text, id="BOM"),
        pytest.param(lambda text: b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n"), id="BOM and CRLF"),
        pytest.param(lambda text: text.rstrip(b"\n"), id="no newline at the end"),
        pytest.param(lambda text: text.replace(b"\n", b"\n\n"), id="blank lines"),
        pytest.param(lambda text: text.replace(b"\n", b"\r\n\r\n"), id="blank CRLF lines"),
        pytest.param(lambda text: text + b"\n\n\n", id="blank lines at the end"),
        pytest.param(
            lambda text: b"\n".join(b'"' + line.replace(b",", b'","') + b'"' for line in text.split()), id="quotes"
        ),
        pytest.param(lambda text: text.replace(b",", b", ").replace(b", predicted", b",predicted"), id="spaces"),
    ],
)
def test_different_spellings_of_the_same_table_are_read_alike(small, write, change) -> None:
    assert small.top1(change(write.csv(small.rows(TWELVE)))) == TWELVE


def test_a_quoted_name_with_a_comma_is_one_class(small, write) -> None:
    rows = small.rows(["tench, Tinca tinca"] + ["lemon"] * 11)

    assert small.top1(write.csv(rows)) == [0] + [951] * 11


@pytest.mark.parametrize(
    ("delimiter", "word"),
    [(";", "semicolon"), ("\t", "tab"), ("|", "bar")],
)
def test_another_delimiter_is_rejected_by_its_name(small, write, delimiter, word) -> None:
    error = small.rejection(write.csv(small.rows(TWELVE)).replace(b",", delimiter.encode()))

    assert isinstance(error, InvalidUpload)
    assert error.reason == "INVALID_UPLOAD"
    assert word in error.message
    assert [(violation.field, violation.line) for violation in error.violations] == [("header", 1)]


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(None, id="no header"),
        pytest.param("file_name,class", id="no class column"),
        pytest.param("name,predicted_class", id="no name column"),
        pytest.param("file_name,top1,prediction", id="two class columns"),
        pytest.param("file_name,file_name,predicted_class", id="two name columns"),
        pytest.param("", id="an empty line"),
        pytest.param('"file_name,predicted_class', id="an open quote"),
        pytest.param("f" * 70_000, id="an endless line"),
        pytest.param("FILE_NAME,PREDICTED_CLASS", id="capitals"),
    ],
)
def test_a_file_without_a_usable_header_is_rejected_at_line_1(small, write, header) -> None:
    rows = [f"{name},{predicted}" for name, predicted in small.rows(TWELVE)]

    error = small.rejection(write.lines(*([] if header is None else [header]), *rows))

    assert error.reason == "INVALID_UPLOAD"
    assert [(violation.field, violation.line) for violation in error.violations] == [("header", 1)]


def test_a_header_that_is_not_utf8_is_rejected(small) -> None:
    error = small.rejection("file_name,predicted_class,größe\n".encode("latin-1"))

    assert [(violation.field, violation.line) for violation in error.violations] == [("header", 1)]


@pytest.mark.parametrize("content", [b"file_name,predicted_class", b"file_name,predicted_class\n\n\r\n"])
def test_a_header_without_rows_is_rejected(small, content) -> None:
    assert small.rejection(content).reason == "INVALID_UPLOAD"


@pytest.mark.parametrize(
    "bad",
    [
        "1000",
        "-1",
        "NaN",
        "3.0",
        "3.5",
        "",
        " ",
        "crane",
        "no such class",
        "n00000000",
        "1e2",
        "0x10",
        "99999999999",
        "٣",
    ],
)
def test_an_invalid_class_is_rejected_with_its_line(small, write, bad) -> None:
    error = small.rejection(write.csv(small.rows([*TWELVE[:4], bad, *TWELVE[5:]])))

    assert isinstance(error, InvalidRow)
    assert error.reason == "INVALID_ROW"
    assert [(violation.field, violation.line) for violation in error.violations] == [("predicted_class", 6)]
    assert repr(bad) in error.violations[0].description


@pytest.mark.parametrize("bad", ["1.01", "-0.5", "nan", "inf", "", "high", "0,5", "0_1", "50%", "٠"])
def test_an_invalid_probability_is_rejected_with_its_line(small, write, bad) -> None:
    header = ("file_name", "predicted_class", "predicted_probability")
    rows = [(name, predicted, "0.5") for name, predicted in small.rows(TWELVE)]
    rows[7] = (*rows[7][:2], bad)

    error = small.rejection(write.csv(rows, header=header))

    assert error.reason == "INVALID_ROW"
    assert [(violation.field, violation.line) for violation in error.violations] == [("predicted_probability", 9)]


def test_probabilities_from_0_to_1_are_accepted(small, write) -> None:
    given = ["0", "1", "0.25", "1e-3", "5E-1", ".5", "0.750", "1.0", "0.0", "0.125", "0.0625", "1e0"]
    rows = [(*row, probability) for row, probability in zip(small.rows(TWELVE), given, strict=True)]

    result = small.parse(write.csv(rows, header=("file_name", "top1", "predicted_probability"))).predictions

    assert result.probability.tolist() == [np.float16(float(text)) for text in given]


def test_the_first_ten_wrong_lines_are_named_and_the_rest_counted(small, write, expected_error) -> None:
    wrong = [(f"no-{number}.JPEG", 1) for number in range(37)]

    error = small.rejection(write.csv([*small.rows(TWELVE)[:5], *wrong, *small.rows(TWELVE)[5:]]))

    assert error.reason == "INVALID_ROW"
    assert expected_error.lines(error) == list(range(7, 17))
    assert expected_error.count(error, 37)


def test_ragged_lines_are_named_and_counted(small, write, expected_error) -> None:
    good = [f"{name},{predicted}" for name, predicted in small.rows(TWELVE)]
    ragged = ["alone", "one,2,three", ",,,"] * 12

    error = small.rejection(write.lines("file_name,predicted_class", *good[:3], "", *ragged, *good[3:]))

    assert error.reason == "INVALID_ROW"
    assert expected_error.lines(error) == list(range(6, 16))
    assert expected_error.count(error, 36)


def test_blank_lines_count_as_lines(small, write, expected_error) -> None:
    good = [f"{name},{predicted}" for name, predicted in small.rows(TWELVE)]

    error = small.rejection(
        write.lines("file_name,predicted_class", "", good[0], "", "", "zzz,3", *good[1:], "", f"{good[0]}")
    )

    assert expected_error.lines(error) == [6, 19]


def test_blank_crlf_lines_count_as_lines(small, write, expected_error) -> None:
    good = [f"{name},{predicted}" for name, predicted in small.rows(TWELVE)]
    text = write.lines("file_name,predicted_class", "", good[0], "", "zzz,3", *good[1:])

    assert expected_error.lines(small.rejection(text.replace(b"\n", b"\r\n"))) == [5]


def test_ragged_lines_and_wrong_rows_are_reported_together(small, write, expected_error) -> None:
    good = [f"{name},{predicted}" for name, predicted in small.rows(TWELVE)]

    error = small.rejection(
        write.lines("file_name,predicted_class", "zzz,1", good[0], "alone", "", "yyy,2", *good[1:-1], good[-1] + "000")
    )

    assert error.reason == "INVALID_ROW"
    assert expected_error.lines(error) == [2, 4, 6, 17]


def test_a_newline_in_quotes_is_rejected_with_its_line_for_it_would_shift_all_others(
    small, write, expected_error
) -> None:
    good = [f"{name},{predicted}" for name, predicted in small.rows(TWELVE)]

    error = small.rejection(write.lines("file_name,predicted_class", '"a', 'b",3', *good, "zzz,3"))

    assert expected_error.lines(error) == [2]


def test_a_quote_that_never_closes_is_rejected_with_its_line(small, write, expected_error) -> None:
    good = [f"{name},{predicted}" for name, predicted in small.rows(TWELVE)]

    error = small.rejection(write.lines("file_name,predicted_class", *good[:5], f'"{good[5]}', *good[6:]))

    assert isinstance(error, InvalidUpload)
    assert expected_error.lines(error)[0] == 7


def test_a_quote_that_the_end_of_the_file_cuts_off_is_rejected_with_its_line(small, write, expected_error) -> None:
    rows = [f'"{name}","{predicted}"' for name, predicted in small.rows(TWELVE)]
    text = write.lines('"file_name","predicted_class"', *rows).rstrip()

    assert expected_error.lines(small.rejection(text[:-1])) == [13]


@pytest.mark.parametrize("place", ["name", "class", "probability", "ragged"])
def test_a_row_that_is_not_utf8_is_rejected_with_its_line(small, write, expected_error, place) -> None:
    rows = [f"{name},{predicted},0.5" for name, predicted in small.rows(TWELVE)]
    bad = {"name": "§,1,0.5", "class": f"{small.names[4]},§,0.5", "probability": f"{small.names[4]},1,§"}
    rows[4] = bad.get(place, f"{small.names[4]},§,0.5,1,2")
    text = write.lines("file_name,predicted_class,predicted_probability", *rows).replace("§".encode(), b"\xff")

    error = small.rejection(text)

    assert error.reason == "INVALID_ROW"
    assert expected_error.lines(error) == [6]


@pytest.mark.parametrize("block_size", [1000, 1 << 20, 1 << 22])
def test_lines_are_counted_over_many_blocks(write, expected_error, monkeypatch, block_size) -> None:
    """Given 60,000 rows (two megabytes) with blank lines among the first, the last rows have the right lines."""
    monkeypatch.setattr(reader, "BLOCK_SIZE", block_size)
    names = [f"ILSVRC2012_val_{number:08}.JPEG" for number in range(60_000)]
    rows = [f"{name},{number % 1000}" for number, name in enumerate(names)]
    text = ["file_name,predicted_class", *rows[:100], "", "", *rows[100:-3], "zzz,1", rows[-3], rows[-2][:-3] + "1000"]
    text += [rows[-1], rows[5]]
    layout = Layout(
        "large",
        pa.array([name.encode() for name in names], type=pa.binary()),
        np.arange(60_000, dtype=np.int32),
        lambda _: np.arange(60_000),
        imagenet_1k(),
    )

    with pytest.raises(InvalidRow) as caught:
        parse_upload(io.BytesIO(write.lines(*text)), layout, RowOrder.UNSPECIFIED, 1 << 24)

    assert expected_error.lines(caught.value) == [text.index("zzz,1") + 1, len(text) - 2, len(text)]


class Trickle:
    """A stream that returns a few bytes at a time."""

    def __init__(self, content: bytes, size: int) -> None:
        self.content = io.BytesIO(content)
        self.size = size

    def read(self, size: int = -1) -> bytes:
        return self.content.read(self.size)


@pytest.mark.parametrize("size", [1, 7, 50])
def test_blocks_can_end_anywhere(small, write, expected_error, monkeypatch, size) -> None:
    """Ragged lines, quotes, blank lines, and characters of several bytes have the right lines in any block."""
    monkeypatch.setattr(reader, "BLOCK_SIZE", 1)
    good = [f'"{name}",{predicted}' for name, predicted in small.rows(TWELVE)]
    wrong = ["größe.JPEG,1", "a,b,c", "", "alone", "\ufeff" + good[3], '"zzz",1']
    valid, invalid = (
        Trickle(write.lines("file_name,predicted_class", *rows), size)
        for rows in (good, [*good[:3], *wrong, *good[3:]])
    )

    result = parse_upload(valid, small.layout, RowOrder.UNSPECIFIED, 1 << 20)
    with pytest.raises(InvalidRow) as caught:
        parse_upload(invalid, small.layout, RowOrder.UNSPECIFIED, 1 << 20)

    assert result.predictions.top1.tolist() == TWELVE
    assert expected_error.lines(caught.value) == [5, 6, 8, 9, 10]


def test_the_real_file_of_resnet50_is_read_as_a_plain_loop_reads_it(reference: Path, imagenet_real: Bundle) -> None:
    file = reference / "predictions" / "imagenet_val_resnet50_cv.csv"
    layout = Layout(
        imagenet_real.dataset, imagenet_real.names, imagenet_real.rows, imagenet_real.positions, imagenet_1k()
    )
    with file.open(newline="", encoding="utf-8") as text:
        expected = {row["file_name"]: int(row["top1"]) for row in csv.DictReader(text)}

    with file.open("rb") as content:
        upload = parse_upload(content, layout, RowOrder.UNSPECIFIED, 1 << 24)

    assert len(expected) == 50_000
    assert upload.format == "csv"
    assert upload.predictions.top1.tolist() == [expected[name.decode()] for name in imagenet_real.names.to_pylist()]


def test_reading_stops_after_very_many_ragged_lines(small, write, monkeypatch) -> None:
    monkeypatch.setattr(reader, "MAX_WRONG", 5)

    with pytest.raises(InvalidRow, match=r"Line 2: Expected 2 columns, got 3: .* .and 4 more errors"):
        small.parse(write.lines("file_name,top1", *["a,b,c"] * 12))
