"""ImageNet-A: images named wnid/file, and the accuracy among the classes of the data set."""

import io
from pathlib import Path

import numpy as np
import pytest

from service.bootstrap.build import Inputs, build_evidence
from service.evidence.bundle import Bundle
from service.taxonomy.wordnet import load_taxonomy

from .conftest import Running, start_service

CLASSES = (6, 11, 13, 107, 988)
FILES = ("0.01_cat.jpg", "0.02_dog.jpg", "0.1_same.jpg")  # the same names in every class


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Fifteen images of five classes."""
    folder = tmp_path_factory.mktemp("imagenet-a")
    for index in CLASSES:
        (folder / "images" / load_taxonomy().wordnet_id(index)).mkdir(parents=True)
        for name in FILES:
            (folder / "images" / load_taxonomy().wordnet_id(index) / name).write_bytes(b"not decoded here")
    return build_evidence("imagenet-a", Inputs(images=folder / "images"), folder / "bundle")


@pytest.fixture(scope="module")
def service(bundle: Bundle, data_dir: Path, tmp_path_factory: pytest.TempPathFactory):
    with start_service(
        data_dir, tmp_path_factory.mktemp("archive"), evidence={"imagenet-a": [str(bundle.path)]}
    ) as running:
        yield running


@pytest.fixture(scope="module")
def images() -> list[tuple[str, int]]:
    """Return the name and class of each image, sorted by path."""
    named = {f"{load_taxonomy().wordnet_id(index)}/{name}": index for index in CLASSES for name in FILES}
    return sorted(named.items())


@pytest.fixture(scope="module")
def probs(images: list[tuple[str, int]]) -> np.ndarray:
    """Return probabilities in which a class outside the five sometimes has the highest value."""
    rng = np.random.default_rng(3)
    scores = rng.random((len(images), 1000)) * 0.1
    for row, (_, target) in enumerate(images):
        first = target if row % 3 else CLASSES[(CLASSES.index(target) + 1) % 5]
        scores[row, first] = 1
        if row % 2:
            scores[row, 500] = 2
    return (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)


def npz(**arrays: np.ndarray) -> io.BytesIO:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return io.BytesIO(file.getvalue())


def among_classes(images: list[tuple[str, int]], probs: np.ndarray) -> float:
    """Return the share of images whose class has the highest value of the five, computed row by row."""
    right = 0
    for (_, target), row in zip(images, probs.tolist(), strict=True):
        best = max(CLASSES, key=lambda index: row[index])
        right += best == target
    return right / len(images)


def test_the_catalog_lists_imagenet_a(service: Running, bundle: Bundle) -> None:
    listed = service.client.dataset("imagenet-a")

    assert (listed.num_images, listed.num_judged) == (15, 15)
    assert listed.default_evidence == f"datasets/imagenet-a/evidence/{bundle.digest}"


def test_accuracy_among_the_classes_equals_a_plain_loop(
    service: Running, images: list[tuple[str, int]], probs: np.ndarray
) -> None:
    top1 = probs.argmax(axis=1)

    analysis = service.client.upload(npz(top1=top1, probs=probs), "imagenet-a")

    of_all = sum(best == target for best, (_, target) in zip(top1.tolist(), images, strict=True)) / len(images)
    expected = among_classes(images, probs)
    assert expected != of_all, "the test would prove nothing"
    assert analysis.summary.top1_accuracy_among_classes == pytest.approx(expected)
    assert analysis.summary.top1_accuracy_all_images == pytest.approx(of_all)
    assert analysis.summary.groups["all"].top1_accuracy == pytest.approx(of_all)
    assert service.client.get(analysis.name).summary == analysis.summary


def test_accuracy_among_the_classes_is_computed_from_an_array_of_scores(
    service: Running, images: list[tuple[str, int]], probs: np.ndarray
) -> None:
    file = io.BytesIO()
    np.save(file, np.log(probs))

    analysis = service.client.upload(io.BytesIO(file.getvalue()), "imagenet-a")

    assert analysis.summary.top1_accuracy_among_classes == pytest.approx(among_classes(images, probs))


def test_accuracy_among_the_classes_is_unset_without_scores(
    service: Running, images: list[tuple[str, int]], probs: np.ndarray
) -> None:
    top1 = probs.argmax(axis=1)
    rows = "".join(f"{name},{best}\n" for (name, _), best in zip(images, top1.tolist(), strict=True))

    uploads = [io.BytesIO(("file_name,top1\n" + rows).encode()), npz(top1=top1)]

    for upload in uploads:
        assert not service.client.upload(upload, "imagenet-a").summary.HasField("top1_accuracy_among_classes")


def test_accuracy_among_the_classes_survives_a_restart_and_a_reanalysis(
    bundle: Bundle, start, images: list[tuple[str, int]], probs: np.ndarray
) -> None:
    served = {"evidence": {"imagenet-a": [str(bundle.path)]}}
    with start(**served) as service:
        analysis = service.client.upload(npz(top1=probs.argmax(axis=1), probs=probs), "imagenet-a")

    with start(**served) as service:
        reanalysis = service.client.reanalyze(analysis.name)
        assert service.client.get(analysis.name).summary == analysis.summary
        assert reanalysis.summary == analysis.summary
        assert reanalysis.predictions_digest == analysis.predictions_digest
        assert reanalysis.summary.HasField("top1_accuracy_among_classes")


def test_images_with_the_same_base_name_are_distinguished(service: Running, images: list[tuple[str, int]]) -> None:
    """Predictions that are correct only for the files of one class."""
    rows = "".join(f"{name},{CLASSES[0]}\n" for name, _ in reversed(images))

    analysis = service.client.upload(io.BytesIO(("file_name,top1\n" + rows).encode()), "imagenet-a")

    verdicts = [*service.client.verdicts(analysis.name)]
    assert [(verdict.file_name, verdict.target) for verdict in verdicts] == images
    assert {verdict.target for verdict in verdicts if verdict.error_type == "correct"} == {CLASSES[0]}
    assert not any(verdict.problematic for verdict in verdicts)
