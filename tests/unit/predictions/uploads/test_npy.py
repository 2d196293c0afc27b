"""npy: classes or scores, in either row order. Pickles are rejected."""

import math
from pathlib import Path

import numpy as np
import pytest
from errata.errors import InvalidRow, InvalidUpload, TruncatedUpload, UnsupportedFormat
from pickle_trap import Trap

from service.domain import RowOrder

TWELVE = np.arange(100, 112)


@pytest.mark.parametrize("kind", ["u1", "u2", "i2", "u4", "<i4", ">i4", "u8", "<i8", ">i8"])
@pytest.mark.parametrize("order", [RowOrder.PATH, RowOrder.FILE_NAME])
def test_classes_of_any_integer_type_go_to_their_images(small, write, kind, order) -> None:
    result = small.parse(write.npy(TWELVE.astype(kind)), order)

    assert result.format == "npy"
    assert {image: result.predictions.top1[image] for image in range(12)} == dict(
        zip(small.order(order), TWELVE.tolist(), strict=True)
    )


def test_rows_have_path_order_unless_the_request_has_another_order(small, write) -> None:
    content = write.npy(TWELVE)

    assert small.top1(content, RowOrder.UNSPECIFIED) == small.top1(content, RowOrder.PATH)
    assert small.top1(content, RowOrder.FILE_NAME) == TWELVE.tolist()
    assert small.top1(content, RowOrder.PATH) != TWELVE.tolist()


@pytest.mark.parametrize("kind", ["<f2", "<f4", ">f4", "<f8", ">f8"])
def test_the_highest_score_counts_and_the_first_of_equal_ones(small, write, kind) -> None:
    scores = np.zeros((12, 1000), dtype=kind)
    for row in range(12):
        scores[row, [7 * row, 7 * row + 1]] = 12.5  # two that are equal
        scores[row, 999] = np.inf if row == 11 else -np.inf

    result = small.parse(write.npy(scores), RowOrder.FILE_NAME).predictions

    assert result.top1.tolist() == [*(7 * row for row in range(11)), 999]
    assert result.probability is None  # the softmax of infinity is undefined


def test_rows_that_are_distributions_give_probabilities(small, write) -> None:
    scores = np.full((12, 1000), 0.5 / 999, dtype=np.float32)
    scores[np.arange(12), TWELVE] = 0.5

    result = small.parse(write.npy(scores), RowOrder.FILE_NAME).predictions

    assert result.top1.tolist() == TWELVE.tolist()
    assert result.probability.tolist() == [0.5] * 12


@pytest.mark.parametrize(
    ("low", "high"),
    [
        pytest.param(0.1, 0.1 + 1e-12, id="closer than float32 distinguishes"),
        pytest.param(1e300, 1e301, id="beyond float32"),
        pytest.param(1e-301, 1e-300, id="below float32"),
    ],
)
def test_scores_in_double_precision_are_compared_in_double_precision(small, write, low, high) -> None:
    scores = np.full((12, 1000), -1.0)
    scores[:, 3], scores[:, 700] = low, high

    assert small.top1(write.npy(scores)) == [700] * 12


@pytest.mark.parametrize("bad", [1000, -1, 70_000, -(2**63), 2**63 - 1])
def test_an_invalid_class_is_rejected_with_its_row(small, write, expected_error, bad) -> None:
    classes = TWELVE.copy()
    classes[[4, 9]] = bad

    error = small.rejection(write.npy(classes))

    assert isinstance(error, InvalidRow)
    assert error.reason == "INVALID_ROW"
    assert expected_error.lines(error) == [5, 10]


def test_an_unsigned_class_past_all_signed_ones_is_rejected(small, write, expected_error) -> None:
    classes = TWELVE.astype(np.uint64)
    classes[3] = 2**64 - 1

    assert expected_error.lines(small.rejection(write.npy(classes))) == [4]


def test_twelve_wrong_rows_are_ten_named_and_two_counted(small, write, expected_error) -> None:
    error = small.rejection(write.npy(TWELVE + 900))

    assert expected_error.lines(error) == list(range(1, 11))
    assert expected_error.count(error, 12)


@pytest.mark.parametrize(
    ("array", "problem"),
    [
        pytest.param(np.arange(11), "has shape (11,). Expected (12,), one row", id="a row too few"),
        pytest.param(np.arange(13), "has shape (13,). Expected (12,), one row", id="a row too many"),
        pytest.param(np.arange(10), "has shape (10,). Expected (12,), one row", id="only the judged"),
        pytest.param(np.array(3), "has shape (). Expected (12, 1000), one row", id="no dimension"),
        pytest.param(np.zeros(0, int), "has shape (0,). Expected (12,), one row", id="nothing"),
        pytest.param(np.zeros((11, 5), int), "has shape (11, 5). Expected (12,), one row", id="a row of top 5 too few"),
        pytest.param(
            np.zeros((12, 999), "f4"), "has shape (12, 999). Expected (12, 1000), one column", id="a class too few"
        ),
        pytest.param(
            np.zeros((11, 1000), "f4"),
            "has shape (11, 1000). Expected (12, 1000), one row",
            id="a row of scores too few",
        ),
        pytest.param(
            np.zeros((1000, 12), "f4"), "has shape (1000, 12). Expected (12, 1000), one row", id="classes first"
        ),
        pytest.param(
            np.zeros((12, 1000, 1), "f4"),
            "has shape (12, 1000, 1). Expected (12, 1000), one row",
            id="three dimensions",
        ),
        *(
            pytest.param(
                np.zeros(12, dtype), f"has shape (12,) and type {name}. Expected integer class indices.", id=name
            )
            for dtype, name in (
                ("f8", "float64"),
                ("bool", "bool"),
                ("U4", "<U4"),
                ([("a", "i4")], "[('a', '<i4')]"),
                ("M8[s]", "datetime64[s]"),
            )
        ),
        *(
            pytest.param(
                np.zeros((12, 1000), dtype), f"has shape (12, 1000) and type {dtype}. Expected floating-point", id=dtype
            )
            for dtype in ("int32", "complex128")
        ),
        pytest.param(
            np.asfortranarray(np.zeros((12, 1000), "f4")),
            "is stored in Fortran order. Expected C order.",
            id="columns first",
        ),
    ],
)
def test_another_shape_or_type_is_rejected_with_the_shape_of_the_array(small, write, array, problem) -> None:
    error = small.rejection(write.npy(array))

    assert isinstance(error, InvalidUpload)
    assert error.reason == "INVALID_UPLOAD"
    assert error.message.startswith(f"The array {problem}")


def test_rows_with_nan_are_named_and_counted(small, write, expected_error) -> None:
    scores = np.zeros((12, 1000), dtype=np.float32)
    scores[1:, 17] = np.nan

    error = small.rejection(write.npy(scores))

    assert error.reason == "INVALID_ROW"
    assert expected_error.lines(error) == list(range(2, 12))
    assert expected_error.count(error, 11)


def test_a_row_without_any_score_is_rejected(small, write, expected_error) -> None:
    scores = np.zeros((12, 1000), dtype=np.float32)
    scores[3], scores[5] = -np.inf, np.nan

    error = small.rejection(write.npy(scores))

    assert "row 4: All scores are minus infinity" in error.message
    assert expected_error.lines(error) == [4, 6]


@pytest.mark.parametrize("is_fortran", [False, True])
def test_a_vector_of_zeros_and_ones_is_no_list_of_classes(small, write, is_fortran) -> None:
    vectors = np.eye(12, dtype=np.int64)[:, :7]

    error = small.rejection(write.npy(np.asfortranarray(vectors) if is_fortran else vectors))

    assert "row 1: The list of classes has a class twice" in error.message


@pytest.mark.parametrize("cut", [1, 8, 95, 96, 97, 150, 200])
def test_a_file_that_ends_too_early_is_rejected(small, write, cut) -> None:
    error = small.rejection(write.npy(TWELVE)[:-cut])

    assert isinstance(error, InvalidUpload)
    if cut <= 96:  # 12 rows of 8 bytes; a cut in the header is reported as a damaged header
        assert isinstance(error, TruncatedUpload)
        assert error.reason == "TRUNCATED_UPLOAD"


@pytest.mark.parametrize("shape", [(12,), (12, 5), (12, 1000)])
@pytest.mark.parametrize("rest", ["array", "byte"])
def test_bytes_after_the_array_are_rejected(small, write, shape, rest) -> None:
    """Given the labels and then the predictions in one file, the labels are not read as the predictions."""
    array = np.zeros(shape, dtype=np.float32) if shape[-1] == 1000 else np.arange(np.prod(shape)).reshape(shape)
    assert len(small.top1(write.npy(array))) == 12

    error = small.rejection(write.npy(array) + (write.npy(TWELVE) if rest == "array" else b"\n"))

    assert type(error) is InvalidUpload
    assert error.message.endswith("bytes follow the array. Save one array per file.")


def test_a_header_that_promises_more_than_there_is_takes_no_memory_for_it(small, write) -> None:
    head = write.npy_header("{'descr': '<i8', 'fortran_order': False, 'shape': (1000000000000,)}")

    assert small.rejection(head + bytes(96)).reason == "INVALID_UPLOAD"


@pytest.mark.parametrize(
    "header",
    [
        "",
        "nonsense",
        "((((",
        "'''",
        "[" * 3000,
        "-" * 5000 + "1",
        "{['a']: 1}",
        "{1: 2}",
        "{'descr': '<i8', 'fortran_order': False, 'shape': (12,)",
        "{'descr': '<i8', 'fortran_order': False, 'shape': (12,), 3: 1}",
        "{'descr': '<i8,,', 'fortran_order': False, 'shape': (12,)}",
        "{'descr': '({', 'fortran_order': False, 'shape': (12,)}",
        "{'descr': [('a',)], 'fortran_order': False, 'shape': (12,)}",
        "{'descr': '<i8', 'fortran_order': 3, 'shape': (12,)}",
        "{'descr': '<i8', 'fortran_order': False, 'shape': 12}",
        "{'descr': '<i8', 'fortran_order': False, 'shape': (-12,)}",
        "{'descr': 'V0', 'fortran_order': False, 'shape': (12,)}",
        "__import__('os').getcwd()",
    ],
)
def test_an_invalid_npy_header_is_rejected(small, write, header) -> None:
    error = small.rejection(write.npy_header(header) + bytes(96))

    assert isinstance(error, InvalidUpload)


def test_a_pickle_is_rejected_and_never_run(small, write, tmp_path: Path) -> None:
    """Given an array of objects that make a file when they are unpickled, nothing is made."""
    file = tmp_path / "made"
    content = write.npy(np.array([Trap(file)] * 12, dtype=object), allow_pickle=True)
    trap = tmp_path / "trap.npy"
    trap.write_bytes(content)
    np.load(trap, allow_pickle=True)
    assert file.exists(), "the trap doesn't work, so the test would prove nothing"
    file.unlink()

    error = small.rejection(content)

    assert isinstance(error, UnsupportedFormat)
    assert error.reason == "UNSUPPORTED_FORMAT"
    assert "pickle" in error.message
    assert not file.exists()


def test_a_pickle_inside_of_records_is_rejected(small, write) -> None:
    array = np.zeros(12, dtype=[("a", "i4"), ("b", object)])

    assert small.rejection(write.npy(array, allow_pickle=True)).reason == "UNSUPPORTED_FORMAT"


@pytest.mark.parametrize("kind", ["<f2", "<f4", ">f4", "<f8", ">f8", "bfloat16"])
def test_logits_give_the_softmax_as_the_probability(small, write, kind) -> None:
    """Given logits that all types represent exactly, the probability of the best class is that of a plain loop."""
    logits = np.full((12, 1000), -8.0)
    logits[:, 3] = 2
    logits[np.arange(12), TWELVE] = np.arange(12) / 4 + 4
    array = (
        (logits.astype("<f4").view("<u4") >> 16).astype("<u2").view("V2") if kind == "bfloat16" else logits.astype(kind)
    )

    upload = small.parse(write.npy(array), RowOrder.FILE_NAME)

    expected = [math.exp(max(row)) / sum(math.exp(score) for score in row) for row in logits.tolist()]
    assert upload.predictions.top1.tolist() == TWELVE.tolist()
    assert upload.predictions.probability.tolist() == pytest.approx(expected, abs=2e-3)
    assert upload.assumptions == ("The scores are logits, so the probabilities are their softmax.",)


def test_scores_that_are_neither_probabilities_nor_logits_give_no_probabilities(small, write) -> None:
    """Scores of a sigmoid."""
    scores = np.full((12, 1000), 0.25, dtype=np.float32)
    scores[np.arange(12), TWELVE] = 0.75

    upload = small.parse(write.npy(scores), RowOrder.FILE_NAME)

    assert upload.predictions.top1.tolist() == TWELVE.tolist()
    assert upload.predictions.probability is None
    assert "neither probabilities nor logits" in upload.assumptions[0]


@pytest.mark.parametrize("is_fortran", [False, True])
@pytest.mark.parametrize("count", [1, 5, 99])
def test_the_first_of_the_top_classes_counts(small, write, is_fortran, count) -> None:
    top = np.tile(TWELVE[:, None], (1, count)) + np.arange(count)

    upload = small.parse(write.npy(np.asfortranarray(top) if is_fortran else top), RowOrder.FILE_NAME)

    assert upload.predictions.top1.tolist() == TWELVE.tolist()
    assert bool(upload.assumptions) == (count > 1)


def test_the_row_order_is_an_assumption_unless_the_request_has_one(small, write) -> None:
    content = write.npy(TWELVE)

    assert small.parse(content).assumptions == ("The rows are in the order --row-order path.",)
    assert small.parse(content, RowOrder.PATH).assumptions == ()
