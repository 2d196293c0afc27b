"""Parquet: columns of any suitable type are read, and errors name the right rows."""

import numpy as np
import pyarrow as pa
import pytest
from errata.errors import InvalidRow, InvalidUpload

from service.domain import RowOrder
from service.predictions.uploads import parquet

TWELVE = list(range(100, 112))


@pytest.mark.parametrize(
    "kind", [pa.int8(), pa.uint8(), pa.int16(), pa.uint16(), pa.int32(), pa.uint32(), pa.int64(), pa.uint64()], ids=str
)
def test_classes_of_any_integer_type_are_read(small, write, kind) -> None:
    result = small.parse(write.parquet({"file_name": small.names, "top1": pa.array(TWELVE, kind)}))

    assert result.format == "parquet"
    assert result.predictions.top1.tolist() == TWELVE


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())], ids=str)
def test_classes_of_any_text_type_are_read(small, write, classes, kind) -> None:
    values = [
        index if row % 3 == 0 else (index, wordnet, name)[row % 3] for row, (index, wordnet, name) in enumerate(classes)
    ]
    texts = pa.array([str(item) for item in values]).cast(kind)

    content = write.parquet({"file_name": small.names, "predicted_class": texts})

    assert small.top1(content) == [index for index, _, _ in classes]


@pytest.mark.parametrize(
    "kind",
    [pa.string(), pa.large_string(), pa.binary(), pa.large_binary(), pa.dictionary(pa.int32(), pa.string())],
    ids=str,
)
def test_file_names_of_any_text_type_are_read(small, write, kind) -> None:
    texts = pa.array(small.names).cast(kind)

    assert small.top1(write.parquet({"file_name": texts, "prediction": TWELVE})) == TWELVE


@pytest.mark.parametrize("kind", [pa.float16(), pa.float32(), pa.float64(), pa.int64()], ids=str)
def test_probabilities_of_any_number_type_are_read(small, write, kind) -> None:
    probabilities = np.array([0, 1] * 6) if kind == pa.int64() else np.arange(12) / 16
    probability = (
        pa.array(probabilities.astype(np.float16)) if kind == pa.float16() else pa.array(probabilities).cast(kind)
    )

    result = small.parse(
        write.parquet({"file_name": small.names, "top1": TWELVE, "predicted_probability": probability})
    ).predictions

    assert result.probability.tolist() == probabilities.tolist()


@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "zstd", "brotli", "lz4"])
def test_every_compression_and_many_row_groups_are_read(small, write, compression) -> None:
    columns = {"note": [[1]] * 12, "top1": TWELVE, "file_name": small.names}

    assert small.top1(write.parquet(columns, compression=compression, row_group_size=5)) == TWELVE


@pytest.mark.parametrize("bad", [1000, -1, 2**40, -(2**63)])
def test_an_invalid_class_is_rejected_with_its_row(small, write, expected_error, bad) -> None:
    error = small.rejection(
        write.parquet({"file_name": small.names, "top1": [*TWELVE[:4], bad, *TWELVE[5:]]}, row_group_size=3)
    )

    assert error.reason == "INVALID_ROW"
    assert expected_error.lines(error) == [5]


def test_an_unsigned_class_past_all_signed_ones_is_rejected(small, write, expected_error) -> None:
    top1 = pa.array([*TWELVE[:4], 2**64 - 1, *TWELVE[5:]], pa.uint64())

    assert expected_error.lines(small.rejection(write.parquet({"file_name": small.names, "top1": top1}))) == [5]


@pytest.mark.parametrize("bad", ["crane", "3.0", "", "-1", "1000", "nan"])
def test_an_invalid_class_text_is_rejected_with_its_row(small, write, expected_error, bad) -> None:
    error = small.rejection(write.parquet({"file_name": small.names, "top1": ["5"] * 11 + [bad]}))

    assert expected_error.lines(error) == [12]


@pytest.mark.parametrize("bad", [1.5, -0.1, float("nan"), float("inf")])
def test_an_invalid_probability_is_rejected_with_its_row(small, write, expected_error, bad) -> None:
    columns = {"file_name": small.names, "top1": TWELVE, "probability": [0.5] * 11 + [bad]}

    error = small.rejection(write.parquet(columns))

    assert error.reason == "INVALID_ROW"
    assert expected_error.lines(error) == [12]


@pytest.mark.parametrize(
    ("column", "values"),
    [
        pytest.param("file_name", list(range(12)), id="names as numbers"),
        pytest.param("file_name", [["a"]] * 12, id="names as lists"),
        pytest.param("file_name", [{"a": 1}] * 12, id="names as records"),
        pytest.param("top1", [3.0] * 12, id="classes as floats"),
        pytest.param("top1", [True] * 12, id="classes as booleans"),
        pytest.param("top1", [[True]] * 12, id="classes as lists of booleans"),
        pytest.param("top1", [[[3]]] * 12, id="classes as lists of lists"),
        pytest.param("top1", [{"label": 3}] * 12, id="classes as records"),
        pytest.param("top1", [b"3"] * 12, id="classes as bytes"),
        pytest.param("predicted_probability", [[0.5]] * 12, id="probabilities as lists"),
        pytest.param("predicted_probability", [True] * 12, id="probabilities as booleans"),
    ],
)
def test_a_column_of_another_type_is_rejected_by_its_name(small, write, column, values) -> None:
    columns = {"file_name": small.names, "top1": TWELVE, "predicted_probability": [0.5] * 12} | {column: values}

    error = small.rejection(write.parquet(columns))

    assert isinstance(error, InvalidUpload)
    assert error.reason == "INVALID_UPLOAD"
    assert f"Column {column!r}" in error.message


@pytest.mark.parametrize("column", ["file_name", "top1", "predicted_probability"])
def test_rows_without_a_value_are_named(small, write, expected_error, column) -> None:
    columns = {"file_name": list(small.names), "top1": list(TWELVE), "predicted_probability": [0.5] * 12}
    columns[column][3] = columns[column][10] = None

    error = small.rejection(write.parquet(columns, row_group_size=4))

    assert isinstance(error, InvalidUpload)
    assert expected_error.lines(error) == [4, 11]


def test_a_column_without_any_value_is_rejected(small, write) -> None:
    assert isinstance(small.rejection(write.parquet({"file_name": small.names, "top1": [None] * 12})), InvalidUpload)


@pytest.mark.parametrize("column", ["file_name", "top1", "predicted_probability"])
def test_text_that_is_not_utf8_is_rejected(small, write, column) -> None:
    damaged = pa.array([b"\xff"] * 12, pa.binary())
    text = pa.Array.from_buffers(pa.string(), 12, damaged.buffers())
    columns = {"file_name": small.names, "top1": TWELVE, "predicted_probability": [0.5] * 12} | {column: text}

    assert isinstance(small.rejection(write.parquet(columns)), InvalidUpload)


@pytest.mark.parametrize(
    "columns",
    [
        pytest.param(("file_name", "note"), id="no class"),
        pytest.param(("photo", "top1"), id="no name"),
        pytest.param(("file_name", "top1", "prediction"), id="two classes"),
    ],
)
def test_a_table_without_the_columns_is_rejected(small, write, columns) -> None:
    error = small.rejection(write.parquet(dict.fromkeys(columns, TWELVE)))

    assert error.reason == "INVALID_UPLOAD"
    assert [violation.field for violation in error.violations] == ["header"]


def test_a_table_without_rows_is_rejected(small, write) -> None:
    columns = {"file_name": pa.array([], pa.string()), "top1": pa.array([], pa.int16())}

    assert small.rejection(write.parquet(columns)).reason == "INVALID_UPLOAD"


@pytest.mark.parametrize("share", [0.01, 0.3, 0.6, 0.9, 0.99])
def test_a_file_that_ends_too_early_is_rejected(small, write, share) -> None:
    content = write.parquet({"file_name": small.names, "top1": TWELVE})

    assert isinstance(small.rejection(content[: int(share * len(content))]), InvalidUpload)


def test_the_first_ten_wrong_rows_are_named_and_the_rest_counted(small, write, expected_error) -> None:
    names = [*small.names, *(f"no-{number}" for number in range(37))]

    error = small.rejection(write.parquet({"file_name": names, "top1": [1] * 49}, row_group_size=4))

    assert expected_error.lines(error) == list(range(13, 23))
    assert expected_error.count(error, 37)


def test_columns_that_unpack_to_more_than_allowed_are_rejected(small, write) -> None:
    names = [f"{number:0200}" for number in range(20_000)]  # 4 MB

    error = small.rejection(
        write.parquet({"file_name": names, "top1": [1] * 20_000}, compression="zstd", use_dictionary=False)
    )

    assert error.reason == "TOO_LARGE"


@pytest.mark.parametrize("name", ["probs", "scores", "logits"])
@pytest.mark.parametrize("kind", [pa.float16(), pa.float32(), pa.float64()], ids=str)
@pytest.mark.parametrize("is_fixed", [False, True])
def test_the_best_of_a_list_of_scores_is_the_class(small, write, name, kind, is_fixed) -> None:
    scores = np.full((12, 1000), 0.5 / 999)
    scores[np.arange(12), TWELVE] = 0.5
    values = pa.array((np.log(scores) if name == "logits" else scores).ravel().astype(kind.to_pandas_dtype()))
    offsets = pa.array(range(0, 12_001, 1000), pa.int32())
    lists = pa.FixedSizeListArray.from_arrays(values, 1000) if is_fixed else pa.ListArray.from_arrays(offsets, values)

    upload = small.parse(write.parquet({"file_name": small.names, name: lists}, row_group_size=5))

    assert upload.predictions.top1.tolist() == TWELVE
    assert upload.predictions.probability.tolist() == pytest.approx([0.5] * 12, abs=4e-3)
    assert f"{name!r} as the predicted class" in upload.assumptions[0]


def test_scores_of_batches_without_probabilities_are_only_compared(small, write, monkeypatch) -> None:
    """Given probabilities in the first batch, and other scores in the next one, no image has a probability."""
    monkeypatch.setattr(parquet, "BATCH_SCORES", 6)
    scores = np.full((12, 1000), 0.5 / 999)
    scores[np.arange(12), TWELVE] = 0.5
    scores[8] *= 3

    upload = small.parse(write.parquet({"file_name": small.names, "scores": [*scores]}))

    assert upload.predictions.top1.tolist() == TWELVE
    assert upload.predictions.probability is None


def some_scores() -> dict[str, np.ndarray]:
    """Return scores of 12 images, and the softmax of the best one of each, if it is their probability."""
    logits = np.random.default_rng(3).random((12, 1000)).astype(np.float32) + 1
    one_negative = logits.copy()
    one_negative[9, 7] = -1
    distributions = logits / logits.sum(axis=1, keepdims=True)
    rounded = np.zeros((12, 1000), dtype=np.float32)
    rounded[np.arange(12), TWELVE] = 1.004
    return {
        "one negative logit": one_negative,
        "sigmoid": logits / 3,
        "distributions": distributions,
        "rounded distributions": rounded,
        "logits after distributions": np.concatenate([distributions[:6], one_negative[6:]]),
    }


@pytest.mark.parametrize("scores", some_scores().values(), ids=some_scores())
@pytest.mark.parametrize("batch", [1, 5, 100])
def test_lists_of_scores_have_the_probabilities_of_an_array_of_them(small, write, monkeypatch, scores, batch) -> None:
    monkeypatch.setattr(parquet, "BATCH_SCORES", batch)
    array = small.parse(write.npy(scores[small.order(RowOrder.PATH)]), RowOrder.PATH)

    upload = small.parse(write.parquet({"file_name": small.names, "scores": [*scores]}))

    expected = array.predictions.probability
    assert upload.predictions.top1.tolist() == array.predictions.top1.tolist()
    assert (upload.predictions.probability is None) == (expected is None)
    if expected is not None:
        assert upload.predictions.probability.tolist() == pytest.approx(expected.tolist(), rel=1e-3)
        assert max(expected) <= 1
    assert upload.assumptions[2:] == array.assumptions
    assert "The predicted class is the one with the highest score." in upload.assumptions


def test_the_probabilities_of_logits_are_their_softmax(small, write, monkeypatch) -> None:
    """Given logits of which only one is negative, in the second batch."""
    monkeypatch.setattr(parquet, "BATCH_SCORES", 6)
    logits = some_scores()["one negative logit"].astype(np.float64)
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)

    upload = small.parse(write.parquet({"file_name": small.names, "scores": [*logits]}))

    assert upload.predictions.probability.tolist() == pytest.approx(softmax.max(axis=1).tolist(), rel=1e-3)
    assert upload.assumptions[-1] == "The scores are logits, so the probabilities are their softmax."


def test_a_column_of_probabilities_takes_the_place_of_the_softmax(small, write) -> None:
    logits = [*some_scores()["one negative logit"]]

    upload = small.parse(write.parquet({"file_name": small.names, "logits": logits, "score": [0.5] * 12}))

    assert upload.predictions.probability.tolist() == [0.5] * 12
    assert "softmax" not in " ".join(upload.assumptions)


@pytest.mark.parametrize("bad", [[0.5] * 999, [0.5] * 1001, [], [float("nan")] * 1000])
def test_a_wrong_list_of_scores_is_rejected_with_its_row(small, write, expected_error, bad) -> None:
    scores = [[0.001] * 1000 for _ in range(12)]
    scores[7] = bad

    assert expected_error.lines(small.rejection(write.parquet({"file_name": small.names, "probs": scores}))) == [8]


@pytest.mark.parametrize(
    ("values", "probability"),
    [
        ([[index, 3, 4] for index in TWELVE], None),
        ([[str(index), "tench"] for index in TWELVE], None),
        ([[{"label": str(index), "score": 0.5}, {"label": "tench", "score": 0.25}] for index in TWELVE], 0.5),
        ([[{"score": 0.5, "label": str(index)}] for index in TWELVE], 0.5),
    ],
    ids=["numbers", "names", "labels with scores", "one label"],
)
def test_the_first_class_of_a_list_counts(small, write, values, probability) -> None:
    upload = small.parse(write.parquet({"file_name": small.names, "prediction": values}))

    assert upload.predictions.top1.tolist() == TWELVE
    assert (upload.predictions.probability is None) == (probability is None)
    if probability is not None:
        assert upload.predictions.probability.tolist() == [probability] * 12


def test_an_empty_list_of_classes_is_rejected_with_its_row(small, write, expected_error) -> None:
    values = [[index] for index in TWELVE]
    values[4] = []

    assert expected_error.lines(small.rejection(write.parquet({"file_name": small.names, "topk": values}))) == [5]


def test_numbers_of_images_are_read(small, write) -> None:
    images = small.order(RowOrder.PATH)

    top1 = small.top1(write.parquet({"index": list(range(12)), "pred": TWELVE}))

    assert [top1[image] for image in images] == TWELVE


def test_a_vector_of_zeros_and_ones_is_no_list_of_classes(small, write) -> None:
    vectors = np.eye(1000, dtype=np.int64)[TWELVE].tolist()

    error = small.rejection(write.parquet({"file_name": small.names, "top1": vectors}))

    assert isinstance(error, InvalidRow)
    assert "zeros and ones" in error.message


@pytest.mark.parametrize("length", [1000, 1200])
def test_lists_of_zeros_and_ones_are_no_lists_of_classes(small, write, length) -> None:
    """Also if a model has more outputs than the data set has classes."""
    vectors = np.eye(length, dtype=int)[TWELVE].tolist()

    error = small.rejection(write.parquet({"file_name": small.names, "predictions": vectors}))

    assert "The list of classes has a class twice" in error.message
