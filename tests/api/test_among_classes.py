"""The accuracy among the classes of a data set, for any data set that does not have all classes of its label space."""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from service.bootstrap.build import Inputs, build_evidence
from service.evidence.built_in import BUILT_IN
from service.evidence.bundle import Bundle

from .conftest import Running, start_service

ROWS = 12
PRESENT = {"imagenet-r": (1, 6, 107), "imagenet-v2-part": (2, 10, 100), "fruit": (0, 2, 5)}  # classes with images
CLASSES = {"imagenet-r": sorted(BUILT_IN["imagenet-r"].classes), "fruit": PRESENT["fruit"]}  # of the data sets


def build_imagenet_r(folder: Path) -> Bundle:
    for wordnet_id in ("n01443537", "n01498041", "n01910747"):
        (folder / "images" / wordnet_id).mkdir(parents=True)
        for number in range(ROWS // 3):
            (folder / "images" / wordnet_id / f"{number}.jpg").touch()
    return build_evidence("imagenet-r", Inputs(images=folder / "images"), folder / "bundle")


def build_imagenet_v2(folder: Path) -> Bundle:
    for number in range(ROWS):
        class_folder = folder / "images" / str(PRESENT["imagenet-v2-part"][number % 3])
        class_folder.mkdir(parents=True, exist_ok=True)
        (class_folder / f"{number}.jpeg").touch()
    return build_evidence("imagenet-v2-part", Inputs(images=folder / "images"), folder / "bundle")


def build_fruit(folder: Path) -> Bundle:
    names = ("apple", "pear", "plum", "fig", "date", "kiwi", "lime")
    (folder / "classes.csv").write_text("name\n" + "\n".join(names) + "\n")
    rows = [f"{number:02}.jpg,{names[PRESENT['fruit'][number % 3]]}" for number in range(ROWS)]
    (folder / "labels.csv").write_text("file_name,labels\n" + "\n".join(rows) + "\n")
    inputs = Inputs(classes=folder / "classes.csv", labels=folder / "labels.csv")
    return build_evidence("fruit", inputs, folder / "bundle")


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    builders = (build_imagenet_r, build_imagenet_v2, build_fruit)
    return {bundle.dataset: bundle for bundle in (build(tmp_path_factory.mktemp("data")) for build in builders)}


@pytest.fixture(scope="module")
def service(bundles: dict[str, Bundle], data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    evidence = {name: [str(bundle.path)] for name, bundle in bundles.items()}
    with start_service(data_dir, tmp_path_factory.mktemp("archive"), evidence=evidence) as running:
        yield running


def best_of(row: Sequence[float], classes: Sequence[int]) -> int:
    return max(classes, key=lambda index: row[index])


@pytest.mark.parametrize("name", CLASSES)
def test_accuracy_among_the_classes_equals_a_plain_loop(
    service: Running, bundles: dict[str, Bundle], name: str
) -> None:
    bundle = bundles[name]
    size = bundle.label_space.num_classes
    order = sorted(range(ROWS), key=lambda row: (bundle.all_targets[row], bundle.names[row].as_py()))  # by path
    targets = [int(bundle.all_targets[row]) for row in order]
    scores = np.random.default_rng(7).random((ROWS, size)).astype(np.float32)
    scores[np.arange(ROWS), targets] += np.arange(ROWS) % 2  # every second image is correct among the classes
    scores[::3, next(index for index in range(size) if index not in CLASSES[name])] += 5
    probabilities = scores / scores.sum(axis=1, keepdims=True)
    file = io.BytesIO()
    np.savez_compressed(file, top1=probabilities.argmax(axis=1), probs=probabilities)

    summary = service.client.upload(io.BytesIO(file.getvalue()), name).summary

    among = [best_of(row, CLASSES[name]) for row in probabilities.tolist()]
    of_all = [best_of(row, range(size)) for row in probabilities.tolist()]
    assert among != of_all, "the test would prove nothing"
    expected = sum(best == target for best, target in zip(among, targets, strict=True)) / ROWS
    assert summary.top1_accuracy_among_classes == pytest.approx(expected)
    assert summary.top1_accuracy_all_images == pytest.approx(
        sum(best == target for best, target in zip(of_all, targets, strict=True)) / ROWS
    )


def test_a_part_of_a_data_set_with_all_classes_has_no_accuracy_among_its_classes(service: Running) -> None:
    file = io.BytesIO()
    probabilities = np.full((ROWS, 1000), 0.001, dtype=np.float32)
    np.savez_compressed(file, top1=probabilities.argmax(axis=1), probs=probabilities)

    summary = service.client.upload(io.BytesIO(file.getvalue()), "imagenet-v2-part", accept_implausible=True).summary

    assert not summary.HasField("top1_accuracy_among_classes")
