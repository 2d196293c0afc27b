"""Predictions files that are registered in place of a model: every format is read and looked up by image."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from errata.errors import InvalidRow, InvalidUpload
from pyarrow import parquet
from security.parquet_cases import nested_groups
from unit.predictions.label_spaces import label_space

from service.predictions.models.loaded_model import LoadedModel
from service.predictions.models.precomputed import load_precomputed, stored_predictions
from service.taxonomy.imagenet_1k import imagenet_1k

MODEL = "mlflow:models://prod/net/1"
ROWS = [("b.jpg", 0, 0.5), ("a.jpg", 999, 0.25), ("c.jpg", 7, 1.0)]  # probabilities that 16 bits hold exactly


def csv_of(path: Path) -> None:
    rows = "".join(f"{name},{top1},{probability}\n" for name, top1, probability in ROWS)
    path.write_text(f"file_name,predicted_class,predicted_probability\n{rows}")


def packed_csv_of(path: Path) -> None:
    csv_of(path)
    path.write_bytes(gzip.compress(path.read_bytes()))


def jsonl_of(path: Path) -> None:
    keys = ("file_name", "predicted_class", "predicted_probability")
    path.write_text("".join(json.dumps(dict(zip(keys, row, strict=True))) + "\n" for row in ROWS))


def packed_jsonl_of(path: Path) -> None:
    jsonl_of(path)
    path.write_bytes(gzip.compress(path.read_bytes()))


def parquet_of(path: Path) -> None:
    names, top1, probability = zip(*ROWS, strict=True)
    table = pa.table({"file_name": names, "predicted_class": top1, "predicted_probability": probability})
    parquet.write_table(table, path)


FORMATS: dict[str, Callable[[Path], None]] = {
    "predictions.csv": csv_of,
    "predictions.csv.gz": packed_csv_of,
    "predictions.jsonl": jsonl_of,
    "predictions.jsonl.gz": packed_jsonl_of,
    "predictions.parquet": parquet_of,
}


def top1_of(loaded: LoadedModel, *names: str) -> list[int]:
    return [top1 for piece in stored_predictions(loaded, names) for top1 in piece.top1.tolist()]


def written(folder: Path, text: str, name: str = "predictions.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.processes
@pytest.mark.parametrize("name", sorted(FORMATS))
def test_each_format_gives_the_predictions_in_the_requested_order(tmp_path: Path, name: str) -> None:
    FORMATS[name](tmp_path / name)

    loaded = load_precomputed(MODEL, tmp_path / name, imagenet_1k())

    (piece,) = stored_predictions(loaded, ["a.jpg", "b.jpg", "c.jpg", "a.jpg"])
    assert piece.top1.tolist() == [999, 0, 7, 999]
    assert piece.probability is not None
    assert piece.probability.tolist() == [0.25, 0.5, 1.0, 0.25]
    assert loaded.info.model == MODEL


def test_an_image_without_a_row_has_no_class_and_no_probability(tmp_path: Path) -> None:
    csv_of(tmp_path / "predictions.csv")

    (piece,) = stored_predictions(
        load_precomputed(MODEL, tmp_path / "predictions.csv", imagenet_1k()), ["nosuch.jpg", "a.jpg", ""]
    )

    assert piece.top1.tolist() == [-1, 999, -1]
    assert piece.probability is not None
    assert np.isnan(piece.probability).tolist() == [True, False, True]


def test_a_name_with_a_folder_matches_the_full_path_or_the_file_name(tmp_path: Path) -> None:
    path = written(tmp_path, "file_name,predicted_class\na.jpg,1\nn01/b.jpg,2\nb.jpg,3\n")

    loaded = load_precomputed(MODEL, path, imagenet_1k())

    assert top1_of(loaded, "x/y/a.jpg", "n01/b.jpg", "n02/b.jpg") == [1, 2, 3]


def test_a_row_that_can_mean_several_images_is_rejected(tmp_path: Path) -> None:
    loaded = load_precomputed(MODEL, written(tmp_path, "file_name,top1\n1.jpg,1\n2.jpg,2\n"), imagenet_1k())

    with pytest.raises(InvalidUpload, match=r"'1\.jpg' can mean several images: 'cat/1\.jpg', 'dog/1\.jpg'\."):
        top1_of(loaded, "cat/1.jpg", "cat/2.jpg", "dog/1.jpg")


def test_scores_that_are_no_probabilities_are_left_out(tmp_path: Path) -> None:
    path = written(tmp_path, "file_name,top1,score\na,1,0.5\nb,2,12.5\n")

    (piece,) = stored_predictions(load_precomputed(MODEL, path, imagenet_1k()), ["a", "b"])

    assert piece.top1.tolist() == [1, 2]
    assert piece.probability is not None and np.isnan(piece.probability).all()


def test_a_class_may_be_an_index_an_id_or_a_name(tmp_path: Path) -> None:
    """Class 0 is the tench, n01440764; class 207 the golden retriever, n02099601."""
    path = written(tmp_path, "file_name,predicted_class\na,0\nb,n01440764\nc,tench\nd,golden retriever\ne,n02099601\n")

    assert top1_of(load_precomputed(MODEL, path, imagenet_1k()), *"abcde") == [0, 0, 0, 207, 207]


def test_all_requested_names_get_a_prediction(tmp_path: Path) -> None:
    many = 12_345
    path = written(tmp_path, "file_name,top1\n" + "".join(f"{row}.jpg,{row % 1000}\n" for row in range(many)))
    requested = list(reversed(range(many)))

    top1 = top1_of(load_precomputed(MODEL, path, imagenet_1k()), *(f"{row}.jpg" for row in requested))

    assert top1 == [row % 1000 for row in requested]


def test_other_predictions_have_another_digest(tmp_path: Path) -> None:
    first = load_precomputed(MODEL, written(tmp_path, "file_name,top1\na,1\n"), imagenet_1k())
    same = load_precomputed(MODEL, written(tmp_path, "file_name,top1\na,1\n"), imagenet_1k())
    other = load_precomputed(MODEL, written(tmp_path, "file_name,top1\na,2\n"), imagenet_1k())

    assert first.info == same.info
    assert first.info.weights_sha256 != other.info.weights_sha256


BAD = {
    "a class too high": ("b,1000", 3),
    "a negative class": ("b,-1", 3),
    "no class": ("b,", 3),
    "a name of nothing": ("b,no such thing", 3),
    "a column too many": ("b,1,2", 3),
    "a fraction": ("b,1.5", 3),
    "an image that came before": ("a,1", 3),
}


@pytest.mark.parametrize("bad", sorted(BAD))
def test_an_invalid_row_is_reported_with_its_line(tmp_path: Path, bad: str) -> None:
    row, line = BAD[bad]
    path = written(tmp_path, f"file_name,predicted_class\na,1\n{row}\nc,3\n")

    with pytest.raises(InvalidRow) as error_info:
        load_precomputed(MODEL, path, imagenet_1k())

    assert [violation.line for violation in error_info.value.violations] == [line]
    assert MODEL in error_info.value.message
    assert f"Line {line}" in error_info.value.message


def test_bad_rows_of_jsonl_are_named_by_their_lines(tmp_path: Path) -> None:
    good = json.dumps({"file_name": "a", "predicted_class": 1})
    bad = json.dumps({"file_name": "b", "predicted_class": 1000})
    path = written(tmp_path, f"{good}\nno json\n{bad}\n", "predictions.jsonl")

    with pytest.raises(InvalidRow) as error_info:
        load_precomputed(MODEL, path, imagenet_1k())

    assert sorted(violation.line or 0 for violation in error_info.value.violations) == [2, 3]


def test_of_many_bad_rows_all_are_counted_and_ten_are_named(tmp_path: Path) -> None:
    path = written(tmp_path, "file_name,predicted_class\n" + "".join(f"{row},x\n" for row in range(25)))

    with pytest.raises(InvalidRow, match=r"Invalid rows in predictions.csv: 25\.") as error_info:
        load_precomputed(MODEL, path, imagenet_1k())

    assert [violation.line for violation in error_info.value.violations] == list(range(2, 12))


@pytest.mark.processes
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("predictions.csv", ""),
        ("predictions.csv", "file_name,predicted_class\n"),
        ("predictions.csv", "file_name,predicted_class\n\n\n"),
        ("predictions.jsonl", ""),
        ("predictions.jsonl", "\n\n"),
        ("predictions.parquet", ""),
        ("predictions.csv", "photo,answer\na,1\n"),
        ("predictions.parquet", "file_name,predicted_class\na,1\n"),
        ("predictions.csv.gz", ""),
    ],
)
def test_a_file_without_predictions_is_rejected(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(InvalidUpload):
        load_precomputed(MODEL, written(tmp_path, text, name), imagenet_1k())


@pytest.mark.processes
def test_a_parquet_file_without_rows_is_rejected(tmp_path: Path) -> None:
    names, top1 = pa.array([], type=pa.string()), pa.array([], type=pa.int64())
    parquet.write_table(pa.table({"file_name": names, "predicted_class": top1}), tmp_path / "predictions.parquet")

    with pytest.raises(InvalidUpload):
        load_precomputed(MODEL, tmp_path / "predictions.parquet", imagenet_1k())


@pytest.mark.processes
def test_a_name_that_is_not_utf8_is_rejected(tmp_path: Path) -> None:
    names, top1 = pa.array([b"\xff\xfe.jpg"], type=pa.binary()), pa.array([1])
    parquet.write_table(pa.table({"file_name": names, "predicted_class": top1}), tmp_path / "predictions.parquet")

    with pytest.raises(InvalidUpload):
        load_precomputed(MODEL, tmp_path / "predictions.parquet", imagenet_1k())


@pytest.mark.processes
def test_a_parquet_file_that_crashes_its_parser_is_rejected_and_this_process_lives(tmp_path: Path) -> None:
    with (tmp_path / "predictions.parquet").open("wb") as file:
        nested_groups(file, 100_000)

    with pytest.raises(InvalidUpload, match="SIGSEGV"):
        load_precomputed(MODEL, tmp_path / "predictions.parquet", imagenet_1k())


@pytest.mark.parametrize("probability", ["nothing", "2", "-0.1", "inf", "nan"])
def test_an_invalid_probability_is_rejected(tmp_path: Path, probability: str) -> None:
    path = written(tmp_path, f"file_name,predicted_class,predicted_probability\na,1,{probability}\n")

    with pytest.raises(InvalidUpload):
        load_precomputed(MODEL, path, imagenet_1k())


@pytest.mark.parametrize("num_classes", [2, 10, 1500, 32_767])
def test_predictions_for_a_label_space_name_its_classes(tmp_path: Path, num_classes: int) -> None:
    last = num_classes - 1
    path = written(tmp_path, f"file_name,top1\na,{last}\nb,id-{last}\nc,Name {last}\nd,synonym 1\ne,0\n")
    unknown = written(tmp_path, f"file_name,top1\na,{num_classes}\n", "unknown.csv")

    assert top1_of(load_precomputed(MODEL, path, label_space(num_classes)), *"abcde") == [last, last, last, 1, 0]
    with pytest.raises(
        InvalidRow, match=f"Unknown class '{num_classes}'. Expected a class index from 0 to {last}, an ID"
    ):
        load_precomputed(MODEL, unknown, label_space(num_classes))
