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
from service.predictions.uploads.bounded_stream import BoundedStream
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


@pytest.mark.parametrize("header", ["path;pred;conf", "file_name;predicted_class;probability", None])
@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_decimal_commas_are_read_if_commas_are_not_the_separator(small, write, header, delimiter) -> None:
    rows = [f"{name};{index};0,{index + 10}" for name, index in small.rows(range(12))]
    lines = [line.replace(";", delimiter) for line in ([header, *rows] if header else rows)]

    upload = small.parse(write.lines(*lines))

    assert upload.predictions.top1.tolist() == [*range(12)]
    assert upload.predictions.probability == pytest.approx(np.arange(0.10, 0.22, 0.01), abs=1e-3)
    assert "The probabilities have decimal commas." in upload.assumptions


@pytest.mark.parametrize("text", ["1,5", "0,5x", "0,5,5", ","])
def test_other_texts_with_commas_are_no_probabilities(small, write, text) -> None:
    rows = [f"{name};{index};{text}" for name, index in small.rows(range(12))]

    error = small.rejection(write.lines("file_name;predicted_class;probability", *rows))

    assert "Invalid probability" in error.message


@pytest.mark.parametrize(("delimiter", "word"), [(";", "semicolons"), ("\t", "tabs")])
def test_semicolons_and_tabs_are_recognized_as_separators(small, write, delimiter, word) -> None:
    rows = small.rows(["tench, Tinca tinca"] + ["lemon"] * 11)
    content = "\n".join(delimiter.join(map(str, row)) for row in [("file_name", "predicted_class"), *rows])

    upload = small.parse(content.encode())

    assert upload.predictions.top1.tolist() == [0] + [951] * 11
    assert upload.assumptions == (f"The columns are separated by {word}.",)


@pytest.mark.parametrize(("delimiter", "word"), [("|", "bar"), (" ", "spaces")])
def test_another_delimiter_is_rejected_by_its_name(small, write, delimiter, word) -> None:
    error = small.rejection(write.csv(small.rows(TWELVE)).replace(b",", delimiter.encode()))

    assert isinstance(error, InvalidUpload)
    assert error.reason == "INVALID_UPLOAD"
    assert word in error.message
    assert [(violation.field, violation.line) for violation in error.violations] == [("header", 1)]


@pytest.mark.parametrize(
    "header",
    [
        pytest.param("file_name,note", id="no class column"),
        pytest.param("photo,predicted_class", id="no name column"),
        pytest.param("file_name,pred,y_pred", id="two class columns of one rank"),
        pytest.param("file_name,top1,prediction", id="two class columns"),
        pytest.param("file_name,file_name,predicted_class", id="two name columns"),
        pytest.param("", id="an empty line"),
        pytest.param('"file_name,predicted_class', id="an open quote"),
        pytest.param("f" * 70_000, id="an endless line"),
        pytest.param("a,b", id="neither a header nor a row"),
    ],
)
def test_a_file_without_a_usable_header_is_rejected_at_line_1(small, write, header) -> None:
    rows = [f"{name},{predicted}" for name, predicted in small.rows(TWELVE)]

    error = small.rejection(write.lines(header, *rows))

    assert error.reason == "INVALID_UPLOAD"
    assert [(violation.field, violation.line) for violation in error.violations] == [("header", 1)]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("has_probability", [False, True])
def test_a_file_without_a_header_has_its_first_line_read(small, write, separator, has_probability) -> None:
    end = f"{separator}0.5" if has_probability else ""
    lines = [f"{name}{separator}{predicted}{end}" for name, predicted in small.rows(TWELVE)]

    upload = small.parse(b"\xef\xbb\xbf" + write.lines(*lines))

    assert upload.predictions.top1.tolist() == TWELVE
    assert upload.assumptions[-1].startswith("The file has no header; its columns are the file name")
    assert (upload.predictions.probability is None) != has_probability


def test_wrong_lines_of_a_file_without_a_header_are_counted_from_1(small, write, expected_error) -> None:
    rows = [f"{name},{predicted}" for name, predicted in small.rows(TWELVE)]

    error = small.rejection(write.lines("zzz.JPEG,1", *rows[:4], "alone", *rows[4:], "zzz.JPEG,1"))

    assert expected_error.lines(error) == [1, 6, 15]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("image,label", "'image' as the file name, 'label' as the predicted class"),
        ("Path,Pred", "'Path' as the file name, 'Pred' as the predicted class"),
        ("FILE NAME,Predicted-Class", "'FILE NAME' as the file name, 'Predicted-Class' as the predicted class"),
        ("filename,top1", "'filename' as the file name"),
        ("file_name,top1", ""),
    ],
)
def test_usual_names_of_columns_are_read_and_stated(small, write, header, expected) -> None:
    upload = small.parse(write.csv(small.rows(TWELVE), header=header.split(",")))

    assert upload.predictions.top1.tolist() == TWELVE
    assert upload.assumptions == ((f"The file's columns: {expected}.",) if expected else ())


def test_a_prediction_has_precedence_over_a_label(small, write) -> None:
    rows = [(name, 7, predicted, 8) for name, predicted in small.rows(TWELVE)]

    assert small.top1(write.csv(rows, header=("filename", "label", "pred", "class_id"))) == TWELVE


@pytest.mark.parametrize("name", ["answer", "Answer", "ANSWER"])
def test_answers_have_precedence_over_a_label_in_any_case(small, write, name) -> None:
    rows = [(image, "goldfish", predicted) for image, predicted in small.rows(TWELVE)]

    upload = small.parse(write.csv(rows, header=("file_name", name, "label")))

    assert upload.predictions.top1.tolist() == [1] * 12
    assert upload.assumptions == (() if name == "answer" else (f"The file's columns: {name!r} as the answer.",))
    assert small.top1(write.csv(rows, header=("file_name", name, "pred"))) == TWELVE


def test_two_columns_of_answers_are_refused_unless_another_column_is_the_prediction(small, write) -> None:
    rows = [(image, "tench", "goldfish", predicted) for image, predicted in small.rows(TWELVE)]

    error = small.rejection(write.csv(rows, header=("file_name", "answer", "Answer", "label")))

    assert "More than one column with answers: 'answer', 'Answer'." in error.message
    assert small.top1(write.csv(rows, header=("file_name", "answer", "Answer", "pred"))) == TWELVE


@pytest.mark.parametrize("order", list(RowOrder))
def test_numbers_of_images_follow_the_row_order(small, write, order) -> None:
    content = write.csv(list(enumerate(TWELVE))[::-1], header=("index", "class"))
    images = small.order(RowOrder.PATH if order is RowOrder.UNSPECIFIED else order)

    top1 = small.top1(content, order)

    assert [top1[image] for image in images] == TWELVE


@pytest.mark.parametrize("number", ["12", "-1", "1.0", "x", "99999999999999999999"])
def test_an_unknown_number_of_an_image_is_rejected_with_its_line(small, write, expected_error, number) -> None:
    error = small.rejection(write.csv([*enumerate(TWELVE[:11]), (number, 5)], header=("index", "class")))

    assert expected_error.lines(error) == [13]
    assert "Expected a number from 0 to 11" in error.message


def test_scores_that_are_no_probabilities_are_left_out(small, write) -> None:
    """Given a column `score` whose last value is over 1, no value of it is a probability."""
    rows = [(name, predicted, 0.5 if predicted < 111 else 9.5) for name, predicted in small.rows(TWELVE)]

    upload = small.parse(write.csv(rows, header=("file_name", "top1", "score")))

    assert upload.predictions.probability is None
    assert upload.assumptions[-1] == "The scores are not from 0 to 1, so they are not used as probabilities."


@pytest.mark.parametrize(
    "cell",
    ["[{}, 3, 4]", "[{}]", "({}, 0.5)", "[{} 3 4]", "['{}', 'x']", '["{}"]', "[{{'label': '{}', 'score': 0.5}}]"],
)
def test_the_first_class_of_a_list_counts(small, write, cell) -> None:
    content = write.csv([(name, cell.format(predicted)) for name, predicted in small.rows(TWELVE)])

    upload = small.parse(content)

    assert upload.predictions.top1.tolist() == TWELVE
    assert upload.assumptions == ("Of several classes of an image, the first is the prediction.",)


@pytest.mark.parametrize("cell", ["[0, 0, 1]", "[0 0 1]", "(0, 1, 0)"])
def test_a_vector_of_zeros_and_ones_is_no_list_of_classes(small, write, cell) -> None:
    error = small.rejection(write.csv(small.rows([cell] * 12)))

    assert error.message.startswith("Line 2:")
    assert "zeros and ones" in error.message


def test_a_label_that_transformers_number_is_an_index(small, write) -> None:
    upload = small.parse(write.csv(small.rows([f"LABEL_{index}" for index in TWELVE])))

    assert upload.predictions.top1.tolist() == TWELVE
    assert "index 7" in upload.assumptions[0]
    assert "LABEL_1000" in small.rejection(write.csv(small.rows([*TWELVE[:11], "LABEL_1000"]))).message


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
    texts = ["0", "1", "0.25", "1e-3", "5E-1", ".5", "0.750", "1.0", "0.0", "0.125", "0.0625", "1e0"]
    rows = [(*row, probability) for row, probability in zip(small.rows(TWELVE), texts, strict=True)]

    result = small.parse(write.csv(rows, header=("file_name", "top1", "predicted_probability"))).predictions

    assert result.probability.tolist() == [np.float16(float(text)) for text in texts]


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


@pytest.mark.parametrize("line_break", [b"\n", b"\r\n", b"\r\r\n"])
def test_any_number_of_blank_lines_is_accepted(small, write, line_break) -> None:
    """Python's csv module writes a blank line after each row on Windows, if the file was not opened with newline=''."""
    text = write.csv(small.rows(TWELVE)).replace(b"\n", line_break * 2000)

    assert small.top1(text) == TWELVE


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


def test_a_newline_in_quotes_is_rejected_with_its_line_because_it_would_shift_the_others(
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


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize(
    ("last", "problem"),
    [
        ("{name[:10]}", "Expected 3 columns, got 1"),
        ("{name}", "Expected 3 columns, got 1"),
        ("{name},", "Expected 3 columns, got 2"),
        ("{name},9", "Expected 3 columns, got 2"),
        ("{name},999,", "Invalid probability ''"),
        ('"{name}","99', "odd number of quotation marks"),
        ('"{name}', "odd number of quotation marks"),
        ("{name},toilet tis,0.5", "Unknown class 'toilet tis'"),
    ],
)
def test_a_row_that_the_end_of_the_file_cuts_off_is_rejected_with_its_line(
    small, write, expected_error, separator, last, problem
) -> None:
    rows = [f"{name},{predicted},0.5" for name, predicted in small.rows(TWELVE)]
    cut = last.replace("{name[:10]}", small.names[11][:10]).replace("{name}", small.names[11])
    text = write.lines("file_name,predicted_class,predicted_probability", *rows[:11]) + cut.encode()

    error = small.rejection(text.replace(b",", separator.encode()))

    assert expected_error.lines(error) == [13]
    assert problem in error.message


def test_a_file_needs_no_newline_at_its_end(small, write) -> None:
    assert small.top1(write.csv(small.rows(TWELVE)).removesuffix(b"\n")) == TWELVE


@pytest.mark.parametrize("place", ["name", "class", "probability", "ragged"])
def test_a_row_that_is_not_utf8_is_rejected_with_its_line(small, write, expected_error, place) -> None:
    rows = [f"{name},{predicted},0.5" for name, predicted in small.rows(TWELVE)]
    bad = {"name": "§,1,0.5", "class": f"{small.names[4]},§,0.5", "probability": f"{small.names[4]},1,§"}
    rows[4] = bad.get(place, f"{small.names[4]},§,0.5,1,2")
    text = write.lines("file_name,predicted_class,predicted_probability", *rows).replace("§".encode(), b"\xff")

    error = small.rejection(text)

    assert error.reason == "INVALID_ROW"
    assert expected_error.lines(error) == [6]
    if place in ("name", "class"):
        assert "'\ufffd'" in error.message
        assert "\ufffd replaces bytes that were not UTF-8. Save the original file as UTF-8." in error.message


def test_bytes_that_are_not_utf8_count_once_in_the_length_of_a_line(small, write) -> None:
    rows = [f"{name},{predicted},§" for name, predicted in small.rows(TWELVE)]
    text = write.lines("file_name,predicted_class,note", *rows).replace("§".encode(), b"\xff", 11)

    assert small.top1(text.replace("§".encode(), b"\xff" * 400_000)) == TWELVE


@pytest.mark.parametrize("letter", [b"x", b"\xff", "\ufffd".encode()])
@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_only_a_line_of_more_than_one_megabyte_is_rejected_with_its_number(letter, place) -> None:
    """Given a line of exactly 1 MiB, it is read; with one letter more, it is rejected."""
    row, is_end = b"a.jpg,1,", place == "last"
    before, after = b"" if place == "first" else b"a.jpg,1,x\n" * 100_000, b"" if is_end else b"\na.jpg,1,x\n" * 9

    def read(length: int) -> None:
        content = b"file_name,predicted_class,note\n" + before + row + letter * (length - len(row)) + after
        blocks = reader.read(BoundedStream(io.BytesIO(content), 1 << 24, ""), 200_000, imagenet_1k())
        assert sum(len(block.names) for block in blocks) == content.count(b",1,")

    read(1 << 20)
    with pytest.raises(InvalidUpload, match=rf"^Line {before.count(10) + 2:,} is longer than 1 MB") as caught:
        read((1 << 20) + 1)

    assert [violation.line for violation in caught.value.violations] == [before.count(10) + 2]


def test_large_blocks_of_bytes_that_are_not_utf8_are_read_completely() -> None:
    """Given 13 MB of such bytes, of which each becomes three bytes, all rows are read."""
    content = b"file_name,predicted_class,note\n" + b"".join(
        b"%d.jpg,1,%s\n" % (row, b"\xff" * 10_000) for row in range(1300)
    )

    blocks = [*reader.read(BoundedStream(io.BytesIO(content), 1 << 24, ""), 1300, imagenet_1k())]

    assert sum(len(block.names) for block in blocks) == 1300


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


@pytest.mark.parametrize("start", ["", "\ufeff"])
@pytest.mark.parametrize("name", ["\ufeffa.jpg", '"\ufeffa.jpg"'])
def test_a_name_on_line_2_can_start_with_a_byte_order_mark(small, start: str, name: str) -> None:
    error = small.rejection(f"{start}file_name,predicted_class\n{name},1\n{small.names[0]},1\n".encode())

    assert r"Image '\ufeffa.jpg' is not in data set" in error.message


def test_the_real_file_of_resnet50_is_read_as_a_plain_loop_reads_it(reference: Path, imagenet_real: Bundle) -> None:
    file = reference / "predictions" / "imagenet_val_resnet50_cv.csv"
    layout = Layout(imagenet_real.dataset, imagenet_real.names, imagenet_real.positions, imagenet_1k())
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


@pytest.mark.parametrize("end", ["\n", "\n\n", "\ne.jpg,4,n,n\n"])
@pytest.mark.parametrize("line", ['a.jpg,1,ok "z,"y\nb.jpg,2,n,"q"', 'a.jpg,1,7","\nb.jpg,2,8","'])
@pytest.mark.parametrize("before", ["", 'c.jpg,3,"a\rb","""x"""\n\nd.jpg,3,"x" y,y "z"\n'])
def test_an_even_number_of_quotes_over_two_lines_is_rejected_with_its_line(
    small, expected_error, before, line, end
) -> None:
    error = small.rejection(f"file_name,predicted_class,note,size\n{before}{line}{end}".encode())

    assert expected_error.lines(error) == [2 + before.count("\n")]
    assert "A quotation continues on the next line. Close each quotation on its line." in error.message
