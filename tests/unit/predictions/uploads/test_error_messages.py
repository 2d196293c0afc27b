"""Messages of rejected uploads name the problem with its value, and a remedy."""

import bz2
import gzip
import io
import json
import lzma
import pickle
import tarfile
import zipfile
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from errata.errors import InvalidRequest, InvalidRow, InvalidUpload

from service.domain import RowOrder
from service.predictions.uploads import Layout, parse_upload
from service.taxonomy.imagenet_1k import imagenet_1k

TWELVE = list(range(100, 112))
NAMED_FORMATS = ("csv", "csv.gz", "jsonl", "parquet")


def zip_archive(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, "content")
    return file.getvalue()


def named_files(small, write, names: Sequence[str], classes: Sequence[int] = TWELVE) -> dict[str, bytes]:
    rows = list(zip(names, classes, strict=True))
    return {
        "csv": write.csv(rows),
        "csv.gz": gzip.compress(write.csv(rows)),
        "jsonl": write.jsonl(rows),
        "parquet": write.parquet({"file_name": names, "predicted_class": classes}),
    }


@pytest.mark.parametrize("form", NAMED_FORMATS)
@pytest.mark.parametrize("order", [RowOrder.PATH, RowOrder.FILE_NAME])
def test_a_row_order_is_rejected_for_files_with_file_names(small, write, form, order) -> None:
    with pytest.raises(InvalidRequest, match=r"--row-order does not apply to .* Remove --row-order") as caught:
        small.parse(named_files(small, write, list(small.names))[form], order)

    assert [violation.field for violation in caught.value.violations] == ["row_order"]


@pytest.mark.parametrize("form", NAMED_FORMATS)
def test_a_file_of_another_data_set_is_rejected_with_the_option_to_change(small, write, form) -> None:
    content = named_files(small, write, [f"photo-{number}.jpg" for number in range(12)])[form]

    error = small.rejection(content)

    assert isinstance(error, InvalidRow)
    assert "None of the 12 file names is in data set 'small'" in error.message
    assert "ILSVRC2012_val_00000001.JPEG" in error.message
    assert "--dataset" in error.message
    assert len(error.violations) == 10


@pytest.mark.parametrize(
    ("form", "term", "header"),
    [("csv", "column", "Line 1"), ("jsonl", "key", "The first object"), ("parquet", "column", "The file")],
)
def test_wrong_columns_are_named_in_the_terms_of_the_format(small, write, form, term, header) -> None:
    names = ("photo", "answer")
    if form == "parquet":
        content = write.parquet({"photo": small.names, "answer": TWELVE})
    else:
        content = getattr(write, form)(small.rows(TWELVE), names)

    message = small.rejection(content).message

    assert f"Missing {term} 'file_name' (aliases: filename, " in message
    assert f"{header} has 'photo', 'answer'." in message
    assert "header" not in message or form == "csv"


def test_a_missing_class_column_is_rejected_with_its_aliases(small, write) -> None:
    message = small.rejection(write.csv(small.rows(TWELVE), header=("file_name", "note"))).message

    assert "Missing column 'predicted_class' (aliases: top1, prediction, pred, " in message


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (zip_archive("[Content_Types].xml", "xl/workbook.xml"), ("Excel", "CSV")),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100), ("Excel", "CSV")),
        (zip_archive("preds.csv"), ("ZIP archive with 'preds.csv'", "Extract")),
        (zip_archive("archive/data.pkl", "archive/version"), ("model weights", "file:")),
        (b"\x08\x08\x12\x07pytorch" + bytes(100), ("ONNX model", "onnx:")),
        (b"\x40\0\0\0\0\0\0\0" + b'{"weight":{}}', ("model weights", "file:")),
        ("file_name,top1\n".encode("utf-16"), ("UTF-16", "UTF-8")),
        (b"\x80\x04\x95", ("pickle", "Parquet")),
        (b"PAR1" + bytes(100), ("Parquet file is incomplete or damaged", "Write it again")),
    ],
    ids=["xlsx", "xls", "zip", "pytorch", "onnx", "safetensors", "utf-16", "pickle", "truncated parquet"],
)
def test_files_of_another_kind_are_rejected_with_a_remedy(small, content, parts) -> None:
    error = small.rejection(content)

    assert isinstance(error, InvalidUpload)
    assert all(part in error.message for part in parts)


PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
ODS = b"PK\x03\x04\x14\0" + bytes(20) + b"\x08\0\0\0mimetypeapplication/vnd.oasis.opendocument.spreadsheetPK"


def tar_of(name: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(name))
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (b"<!DOCTYPE html>\n<html lang=en>", ("an HTML page", "download")),
        (b"\xef\xbb\xbf\n<!-- saved -->\n<HTML>", ("an HTML page",)),
        (b"<!-- a -->\n<!-- b --><svg/>", ("an XML document",)),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code>', ("an XML document", "permissions")),
        (b"%PDF-1.7\n", ("a PDF document",)),
        (PNG, ("an image",)),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", ("an image",)),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n", ("Git LFS", "git lfs pull")),
        (b"outs:\n- md5: 8b1a\n  path: predictions.csv\n", ("DVC", "dvc pull")),
        (b'{\n "cells": [\n  {"cell_type": "code"}]}', ("a Jupyter notebook",)),
        (pickle.dumps({"a": 1}), ("a pickle", "run code")),
        (pickle.dumps({"a": 1}, protocol=0), ("a pickle", "run code")),
        (pickle.dumps(np.arange(3), protocol=0), ("a pickle", "run code")),
        (ODS, ("a spreadsheet", "CSV")),
        (b"PK\x05\x06" + bytes(18), ("an empty ZIP archive",)),
        (tar_of("predictions.csv"), ("tar archive", "Extract")),
        (bz2.compress(b"file_name,top1\n"), ("bzip2", "gzip or zstd")),
        (lzma.compress(b"file_name,top1\n"), ("xz", "gzip or zstd")),
        (b"\x89HDF\r\n\x1a\n", ("an HDF5 file", "CSV")),
        (b"MATLAB 5.0 MAT-file, Platform: GLNXA64", ("a MATLAB file",)),
        (b"ARROW1\0\0", ("Arrow or Feather", "Parquet")),
        (b"SQLite format 3\0", ("an SQLite database",)),
        (b"GGUF\x03\0\0\0", ("GGUF",)),
    ],
)
@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_the_error_of_a_file_without_predictions_names_its_kind(small, content, parts, compress) -> None:
    error = small.rejection(compress(content))

    assert isinstance(error, InvalidUpload)
    assert all(part in error.message for part in parts)


@pytest.mark.parametrize(
    ("member", "kind"), [("META-INF/MANIFEST.MF", "a Java archive"), ("Index/Document.iwa", "Apple Numbers")]
)
def test_the_kind_of_a_zip_archive_is_named_only_if_it_is_not_compressed_again(small, member, kind) -> None:
    content = zip_archive(member)

    assert kind in small.rejection(content).message
    assert "looks like npz in gzip" in small.rejection(gzip.compress(content)).message


def test_many_comments_take_no_exponential_time(small) -> None:
    assert isinstance(small.rejection(b"<!---->" * 73 + b"x"), InvalidUpload)


@pytest.mark.parametrize("content", [b"", gzip.compress(b"")], ids=["file", "gzip file"])
def test_an_empty_file_is_named_as_empty(small, content) -> None:
    assert "The predictions file is empty" in small.rejection(content).message


def test_a_file_that_is_compressed_twice_is_named_so(small, write) -> None:
    content = gzip.compress(gzip.compress(write.csv(small.rows(TWELVE))))

    assert "compressed twice" in small.rejection(content).message


@pytest.mark.parametrize("header", ["orc,predicted_class", "gguf,top1", "collections,top1", "outs:,top1"])
def test_names_of_columns_are_not_mistaken_for_other_files(small, write, header) -> None:
    assert "Missing column 'file_name'" in small.rejection(write.lines(header, "a,1")).message


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_a_file_without_classes_has_the_name_of_the_column_of_answers(small, write, form) -> None:
    rows = [(name, "a tench") for name in small.names]
    if form == "parquet":
        content = write.parquet({"image": small.names, "response": ["a tench"] * len(small.names)})
    else:
        content = getattr(write, form)(rows, ("image", "response"))

    assert "free-text answers 'answer'" in small.rejection(content).message


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("label", ["label", "class"])
def test_a_row_number_of_pandas_is_not_read_as_the_class(small, write, form, label) -> None:
    """Given the columns of `reset_index().to_csv(index=False)`, then both columns and the remedy are named."""
    header = ("index", "file_name", label)
    rows = [(number, name, index) for number, (name, index) in enumerate(small.rows(TWELVE))]
    content = (
        write.parquet(dict(zip(header, map(list, zip(*rows, strict=True)), strict=True)))
        if form == "parquet"
        else getattr(write, form)(rows, header)
    )

    error = small.rejection(content)

    assert isinstance(error, InvalidUpload)
    assert f"'index' and {label!r}" in error.message
    assert "Remove 'index', or rename" in error.message


def test_an_index_is_the_class_where_it_is_no_row_number(small, write) -> None:
    """Given the columns of timm, and a file without another class, then `index` is the class."""
    timm = [(name, index, "tench") for name, index in small.rows(TWELVE)]
    alone = [(index, name) for name, index in small.rows(TWELVE)]

    assert small.top1(write.csv(timm, ("filename", "index", "label"))) == TWELVE
    assert small.top1(write.csv(alone, ("index", "file_name"))) == TWELVE


def test_a_row_number_before_a_clear_prediction_is_not_read(small, write) -> None:
    rows = [(number, name, index) for number, (name, index) in enumerate(small.rows(TWELVE))]

    assert small.top1(write.csv(rows, ("index", "file_name", "pred"))) == TWELVE


@pytest.mark.parametrize("form", NAMED_FORMATS)
def test_classes_numbered_from_1_are_recognized(small, write, form) -> None:
    content = named_files(small, write, small.names, [1000, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 1000])[form]

    error = small.rejection(content)

    assert isinstance(error, InvalidRow)
    assert "look numbered from 1 to 1000: 1000 is the only unknown class, and no row has class 0." in error.message
    assert error.message.startswith("The classes look") and "Subtract 1 from each." in error.message
    assert len(error.violations) == 2


@pytest.mark.parametrize("form", NAMED_FORMATS)
@pytest.mark.parametrize("classes", [[1000, 0, *[5] * 10], [1000, 1001, *[5] * 10]])
def test_other_unknown_classes_are_not_taken_for_a_numbering_from_1(small, write, form, classes) -> None:
    assert "numbered from 1" not in small.rejection(named_files(small, write, small.names, classes)[form]).message


def test_an_array_numbered_from_1_is_recognized(small, write) -> None:
    one_based = [*range(1, 12), 1000]

    assert "look numbered from 1 to 1000" in small.rejection(write.npy(np.array(one_based))).message
    assert "numbered" not in small.rejection(write.npy(np.array([0, *one_based[1:]]))).message


def test_a_truncated_npz_file_is_rejected_with_a_remedy(small, write) -> None:
    message = small.rejection(write.npz(top1=np.array(TWELVE))[:-30]).message

    assert "incomplete or damaged" in message
    assert "numpy.savez" in message


@pytest.mark.parametrize("form", ["jsonl", "json", "mapping", "short first row"])
def test_scores_that_are_too_long_for_json_are_rejected_with_the_limit_and_a_remedy(small, form) -> None:
    scores = [0.0012345678901234 + 1e-9 * index for index in range(1000)]  # 23,000 characters
    rows = [{"file_name": name, "probs": scores} for name in small.names]
    short = {"file_name": small.names[0], "probs": [round(score, 4) for score in scores]}
    files = {
        "jsonl": "\n".join(map(json.dumps, rows)),
        "json": json.dumps(rows),
        "mapping": json.dumps(dict.fromkeys(small.names, scores)),
        "short first row": "\n".join(map(json.dumps, [short, *rows[1:]])),
    }

    message = small.rejection(files[form].encode()).message

    assert "16,384" in message
    assert "Write scores of all classes to a Parquet file." in message
    assert "JSONL" not in message


def test_a_line_longer_than_a_block_is_rejected_with_its_number(write) -> None:
    names = [f"{number:05}.JPEG" for number in range(10_000)]
    layout = Layout("large", pa.array(names).cast(pa.binary()), lambda _: None, imagenet_1k())
    text = write.lines("file_name,top1", *(f"{name},1" for name in names)) + b"x" * (3 << 20) + b",1\n"

    with pytest.raises(InvalidUpload, match=r"^Line 10,002 is longer than 1 MB") as caught:
        parse_upload(io.BytesIO(text), layout, RowOrder.UNSPECIFIED, 8 << 20)

    assert "straddl" not in caught.value.message


@pytest.mark.parametrize(
    ("limit", "expected"), [(1_500_000, "larger than 1.5 MB"), (999_999, "larger than 999,999 bytes")]
)
def test_a_file_over_the_limit_is_rejected_with_its_limit_in_megabytes(small, limit, expected) -> None:
    error = small.rejection(b"PAR1" + bytes(limit), max_bytes=limit)

    assert expected in error.message
    assert "ERRATA_MAX_UPLOAD_BYTES" in error.message


@pytest.mark.parametrize(
    ("value", "remedy"),
    [
        ("1000", "subtract 1"),
        ("3.0", "without a decimal point"),
        ("no such class", "WordNet ID"),
    ],
)
def test_an_unknown_class_is_rejected_with_a_remedy(small, write, value, remedy) -> None:
    message = small.rejection(write.csv(small.rows([*TWELVE[:-1], value]))).message

    assert f"Line 13: Unknown class {value!r}." in message
    assert remedy in message


@pytest.mark.parametrize(
    ("value", "remedy"),
    [("93.5", "Divide percentages by 100"), ("50%", "Divide percentages by 100"), ("nan", "Replace NaN")],
)
def test_an_invalid_probability_is_rejected_with_a_remedy(small, write, value, remedy) -> None:
    rows = [(*row, "0.5") for row in small.rows(TWELVE)]
    rows[3] = (*rows[3][:2], value)

    message = small.rejection(write.csv(rows, ("file_name", "top1", "probability"))).message

    assert f"Line 5: Invalid probability {value!r}." in message
    assert remedy in message


def test_rows_of_tables_and_arrays_are_not_called_lines(small, write) -> None:
    classes = [*TWELVE[:-1], 1000]

    for content in (write.npy(classes), write.npz(top1=np.array(classes))):
        assert small.rejection(content).message.startswith("Row 12: Unknown class 1000.")
    table = write.parquet({"file_name": small.names, "top1": classes})
    assert small.rejection(table).message.startswith("Row 12: Unknown class 1000.")


def test_float_classes_in_an_array_are_rejected_with_the_conversion(small, write) -> None:
    message = small.rejection(write.npy(np.array(TWELVE, dtype=np.float64))).message

    assert "type float64" in message
    assert "astype(numpy.int64)" in message


def test_nan_scores_are_rejected_with_a_remedy(small, write) -> None:
    scores = np.zeros((12, 1000), dtype=np.float32)
    scores[4] = np.nan

    message = small.rejection(write.npy(scores)).message

    assert "row 5: The scores contain NaN" in message
    assert "nan_to_num" in message


def test_an_array_of_another_length_is_rejected_with_the_option_to_change(small, write) -> None:
    message = small.rejection(write.npy(np.arange(10))).message

    assert "shape (10,). Expected (12,)" in message
    assert "--dataset" in message


@pytest.mark.parametrize(
    ("num_unknown", "message"), [(12, "None of the 12 file names is"), (7, "7 of the 12 file names")]
)
def test_a_file_of_another_data_set_names_the_data_set_with_most_of_the_names(
    small, write, num_unknown, message
) -> None:
    names = [*(f"photo-{number}.jpg" for number in range(num_unknown)), *small.names[num_unknown:]]
    sampled = []

    def find_datasets(unknown: Sequence[bytes]) -> list[tuple[str, int]]:
        sampled.extend(unknown)
        return [("photos", len(unknown) - 1), ("drawings", 2)]

    layout = replace(small.layout, find_datasets=find_datasets)
    with pytest.raises(InvalidRow) as caught:
        parse_upload(io.BytesIO(named_files(small, write, names)["csv"]), layout, RowOrder.UNSPECIFIED, 1 << 20)

    assert sampled == [name.encode() for name in names[:num_unknown]]
    assert message in caught.value.message
    assert f"Data set 'photos' has such file names ({num_unknown - 1} of {num_unknown} checked)" in caught.value.message
    assert "Use --dataset photos." in caught.value.message


def test_few_unknown_names_are_not_looked_up_in_other_data_sets(small, write) -> None:
    layout = replace(small.layout, find_datasets=lambda _: pytest.fail("a lookup"))
    names = ["photo.jpg", *small.names[1:]]

    with pytest.raises(InvalidRow, match=r"Image 'photo\.jpg' is not in data set 'small'"):
        parse_upload(io.BytesIO(named_files(small, write, names)["csv"]), layout, RowOrder.UNSPECIFIED, 1 << 20)


def test_a_sample_of_the_unknown_names_is_looked_up(small, write) -> None:
    sizes = []
    layout = replace(small.layout, find_datasets=lambda names: sizes.append(len(names)) or [])
    content = write.csv([(f"photo-{number}.jpg", 1) for number in range(2000)])

    with pytest.raises(InvalidRow, match="None of the 2,000 file names"):
        parse_upload(io.BytesIO(content), layout, RowOrder.UNSPECIFIED, 1 << 20)

    assert sizes == [100]


def test_a_class_name_at_the_position_of_the_signature_of_tar_is_no_archive(small) -> None:
    text = "file_name,predicted_class\n".ljust(251, "x") + ".jpg,custard apple\n"
    assert text[257:262] == "ustar"

    assert "tar archive" not in small.rejection(text.encode()).message


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_each_format_of_tar_archives_is_recognized(small, format) -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=format) as archive:
        archive.addfile(tarfile.TarInfo("predictions.csv"))

    assert "tar archive" in small.rejection(file.getvalue()).message


def test_too_many_scores_in_text_have_a_remedy(small) -> None:
    row = json.dumps({"file_name": small.names[0], "probs": [0.001] * 1000})

    error = small.rejection(f"{row}\n".encode() * 200, max_bytes=1 << 24)

    assert "The text of the file is larger than 1.1 MB" in error.message
    assert "Write scores of all classes to a Parquet file." in error.message
