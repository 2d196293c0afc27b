"""Messages of rejected uploads name the problem with its value, and a remedy."""

import gzip
import io
import zipfile

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


def named_files(small, write, names: list[str]) -> dict[str, bytes]:
    rows = list(zip(names, TWELVE, strict=True))
    return {
        "csv": write.csv(rows),
        "csv.gz": gzip.compress(write.csv(rows)),
        "jsonl": write.jsonl(rows),
        "parquet": write.parquet({"file_name": names, "predicted_class": TWELVE}),
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


def test_a_truncated_npz_file_is_rejected_with_a_remedy(small, write) -> None:
    message = small.rejection(write.npz(top1=np.array(TWELVE))[:-30]).message

    assert "incomplete or damaged" in message
    assert "numpy.savez" in message


def test_a_line_longer_than_a_block_is_rejected_with_the_line_before_it(write) -> None:
    names = [f"{number:05}.JPEG" for number in range(10_000)]
    layout = Layout(
        "large", pa.array(names).cast(pa.binary()), np.arange(10_000, dtype=np.int32), lambda _: None, imagenet_1k()
    )
    text = write.lines("file_name,top1", *(f"{name},1" for name in names)) + b"x" * (3 << 20) + b",1\n"

    with pytest.raises(InvalidUpload, match="longer than 1 MB") as caught:
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
