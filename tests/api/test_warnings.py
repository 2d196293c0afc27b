"""Input checks: rows in the wrong order, and another class numbering."""

import io

import numpy as np
import pytest
from errata import Client, pb
from errata.enums import RowOrder

from service.evidence.labels import original_labels, validation_name
from service.report.messages.input_checks import PERMUTED_CLASSES, reordered_rows


def make_classes() -> np.ndarray:
    """Return a class for each validation image in the order of file names; 80 % are correct."""
    classes = np.array(original_labels(), dtype=np.int64)
    classes[::5] = (classes[::5] + 7) % 1000
    return classes


def sort_by_path(classes: np.ndarray) -> np.ndarray:
    """Return the same rows sorted by wnid/file (WordNet ids have the order of classes, files that of their numbers)."""
    targets = original_labels().tolist()
    return classes[sorted(range(len(targets)), key=lambda image: (targets[image], validation_name(image + 1)))]


def npy(classes: np.ndarray) -> io.BytesIO:
    file = io.BytesIO()
    np.save(file, classes.astype(np.int16))
    return io.BytesIO(file.getvalue())


def csv(classes: np.ndarray) -> io.BytesIO:
    rows = (f"{validation_name(image)},{value}\n" for image, value in enumerate(classes.tolist(), start=1))
    return io.BytesIO(("file_name,top1\n" + "".join(rows)).encode())


ORDERS = {pb.ROW_ORDER_PATH: sort_by_path, pb.ROW_ORDER_FILE_NAME: lambda classes: classes}


@pytest.mark.parametrize("row_order", [pb.ROW_ORDER_UNSPECIFIED, *ORDERS])
def test_rows_in_the_requested_order_raise_no_warning(client: Client, row_order: int) -> None:
    rows = ORDERS[row_order or pb.ROW_ORDER_PATH](make_classes())

    analysis = client.upload(npy(rows), "imagenet-real", row_order=row_order)

    assert list(analysis.warnings) == []
    assert analysis.summary.top1_accuracy_all_images == pytest.approx(0.8)


@pytest.mark.parametrize("row_order", [pb.ROW_ORDER_UNSPECIFIED, *ORDERS])
def test_rows_in_the_other_order_raise_a_warning(client: Client, row_order: int) -> None:
    other = pb.ROW_ORDER_PATH if row_order == pb.ROW_ORDER_FILE_NAME else pb.ROW_ORDER_FILE_NAME

    analysis = client.upload(npy(ORDERS[other](make_classes())), "imagenet-real", row_order=row_order)

    assert reordered_rows(RowOrder(row_order)) in analysis.warnings
    assert PERMUTED_CLASSES not in analysis.warnings
    assert analysis.summary.top1_accuracy_all_images < 0.05
    assert list(client.get(analysis.name).warnings) == list(analysis.warnings)


def test_another_class_numbering_raises_a_warning(client: Client) -> None:
    numbers = np.random.default_rng(1).permutation(1000)

    analysis = client.upload(csv(numbers[make_classes()]), "imagenet-real")

    assert list(analysis.warnings) == [PERMUTED_CLASSES]
    assert analysis.summary.top1_accuracy_all_images < 0.05


@pytest.mark.parametrize("kind", ["good", "guessing", "constant"])
def test_plausible_predictions_raise_no_warning(client: Client, kind: str) -> None:
    classes = {
        "good": make_classes(),
        "guessing": np.random.default_rng(2).integers(0, 1000, 50_000),
        "constant": np.full(50_000, 7),
    }[kind]

    assert list(client.upload(csv(classes), "imagenet-real").warnings) == []
