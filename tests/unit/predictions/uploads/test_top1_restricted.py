"""The best class among those of the data set, from npy and npz scores."""

import io
from dataclasses import replace

import numpy as np
import pytest
from errata.errors import ErrataError

from service.domain import RowOrder
from service.predictions.uploads import Upload, parse_upload

OWN = (0, 1, 281, 999)
SCORES = np.random.default_rng(11).random((12, 1000)).astype(np.float32)
NUMBERS = np.arange(1000)


def own_classes() -> np.ndarray:
    return np.isin(NUMBERS, OWN)


def parse(small, content: bytes, order: RowOrder = RowOrder.PATH, mask: np.ndarray | None = None) -> Upload:
    layout = replace(small.layout, classes=own_classes() if mask is None else mask)
    return parse_upload(io.BytesIO(content), layout, order, 1 << 20)


def best_of_own(row: np.ndarray) -> int:
    """Return the first of the data set's classes with the highest score."""
    return max(sorted(OWN), key=lambda index: (row[index], -index))


def files(write, scores: np.ndarray) -> dict[str, bytes]:
    return {"npy": write.npy(scores), "npz": write.npz(top1=scores.argmax(axis=1), probs=scores)}


@pytest.mark.parametrize("order", [RowOrder.PATH, RowOrder.FILE_NAME])
@pytest.mark.parametrize("form", ["npy", "npz"])
@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_the_best_of_the_data_sets_classes_is_assigned_to_its_image(small, write, form, order, kind) -> None:
    scores = SCORES.astype(kind)

    result = parse(small, files(write, scores)[form], order).predictions

    expected = {image: row for row, image in enumerate(small.order(order))}
    assert [result.top1_restricted[image] for image in range(12)] == [
        best_of_own(scores[expected[image]]) for image in range(12)
    ]
    assert [result.top1[image] for image in range(12)] == [
        max(NUMBERS, key=lambda index, row=scores[expected[image]]: (row[index], -index)) for image in range(12)
    ]


@pytest.mark.parametrize("form", ["npy", "npz"])
def test_the_first_class_wins_a_tie(small, write, form) -> None:
    scores = np.zeros((12, 1000), dtype=np.float32)
    scores[:, [281, 999, 5]] = 1, 1, 2

    result = parse(small, files(write, scores)[form]).predictions

    assert result.top1_restricted.tolist() == [281] * 12
    assert result.top1.tolist() == [5] * 12


@pytest.mark.parametrize("form", ["npy", "npz"])
def test_scores_that_are_logits_rank_as_well(small, write, form) -> None:
    scores = SCORES * 40 - 80

    result = parse(small, files(write, scores)[form], RowOrder.FILE_NAME).predictions

    assert result.top1_restricted.tolist() == [best_of_own(row) for row in scores]
    softmax = [np.exp(row - max(row)).max() / np.exp(row - max(row)).sum() for row in scores.astype(np.float64)]
    assert result.probability.tolist() == pytest.approx(softmax, rel=2e-3)


def test_classes_without_scores_rank_nothing(small, write) -> None:
    top1 = SCORES.argmax(axis=1)
    rows = small.rows(top1.tolist())

    for content in (write.npy(top1), write.npz(top1=top1), write.csv(rows), write.jsonl(rows)):
        assert parse(small, content, RowOrder.UNSPECIFIED).predictions.top1_restricted is None


@pytest.mark.parametrize("form", ["npy", "npz"])
def test_a_data_set_of_all_classes_has_no_restricted_ranking(small, write, form) -> None:
    assert small.parse(files(write, SCORES)[form]).predictions.top1_restricted is None


@pytest.mark.parametrize("form", ["npy", "npz"])
def test_restricted_prediction_in_a_data_set_of_one_class_is_correct(small, write, form) -> None:
    result = parse(small, files(write, SCORES)[form], mask=NUMBERS == 340).predictions

    assert result.top1_restricted.tolist() == [340] * 12


@pytest.mark.parametrize("form", ["npy", "npz"])
def test_nan_in_a_class_outside_the_data_set_is_rejected(small, write, form) -> None:
    scores = SCORES.copy()
    scores[4, 500] = np.nan

    with pytest.raises(ErrataError) as caught:
        parse(small, files(write, scores)[form])

    assert [violation.line for violation in caught.value.violations] == [5]


def test_the_other_order_is_the_same_rows_on_other_images(small, write) -> None:
    result = parse(small, write.npy(SCORES), RowOrder.FILE_NAME)

    assert result.reordered is not None
    assert result.predictions.top1_restricted.tolist() == [best_of_own(row) for row in SCORES]
    for image, row in zip(small.order(RowOrder.PATH), SCORES, strict=True):
        assert result.reordered.top1_restricted[image] == best_of_own(row)
        assert result.reordered.top1[image] == row.argmax()
