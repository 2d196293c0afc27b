"""Similarities of classes from confusions and from names."""

import random

import numpy as np
import pytest

from service.domain import LabelSource, create_label_space
from service.evidence.class_similarity import confusion_similarities, text_similarities
from service.evidence.inputs import LabelInputs
from service.evidence.labels import pack_labels

CLASSES = 5


def test_confusions_equal_a_slow_count() -> None:
    draw = random.Random(0)
    labels = [list(dict.fromkeys(draw.choices(range(CLASSES), k=draw.choice([1, 1, 2])))) for _ in range(200)]
    problematic = [draw.random() < 0.1 for _ in labels]
    targets = [draw.choice([row[0], row[0], (row[0] + 1) % CLASSES]) for row in labels]
    predicted = [draw.choice([-1, target, *range(CLASSES)]) for target in targets]
    images = LabelInputs(
        names=np.array([f"{number}.png".encode() for number in range(200)]),
        all_targets=np.array(targets, dtype=np.int16),
        rows=np.arange(200, dtype=np.int32),
        labels=pack_labels([dict.fromkeys(row, LabelSource.CORRECT) for row in labels]),
        problematic=np.array(problematic),
    )

    result = {(a, b): value for a, b, value in confusion_similarities(images, np.array(predicted, np.int16), CLASSES)}

    counted = [number for number in range(200) if not problematic[number]]
    effective = {n: targets[n] if targets[n] in labels[n] else labels[n][0] for n in counted}
    sizes = [sum(effective[n] == class_ for n in counted) for class_ in range(CLASSES)]
    for a in range(CLASSES):
        for b in range(a + 1, CLASSES):
            confused = [n for n in counted if {effective[n], predicted[n]} == {a, b} and predicted[n] not in labels[n]]
            assert result.get((a, b), 0) == pytest.approx(len(confused) / (sizes[a] + sizes[b]))
    assert all(a < b for a, b in result)


class _Vectors:
    """An encoder with a common component in all vectors."""

    def embed_images(self, paths: list[str]) -> np.ndarray:
        raise NotImplementedError

    def embed_texts(self, texts: list[str]) -> np.ndarray:
        assert texts == [f"A photo of a {name}" for name in ("red cat", "dog", "car", "bus")]
        vectors = np.array([[5, 1, 0.2], [5, 1, -0.2], [5, -1, 0.2], [5, -1, -0.2]])
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_names_are_similar_without_their_common_component() -> None:
    rows = [
        {"id": name, "name": name, "synonyms": [], "superclasses": [], "groups": [], "synset": ""}
        for name in ("Red_Cat", "dog", "car", "bus")
    ]
    space = create_label_space("mine", rows)

    result = {(a, b): value for a, b, value in text_similarities(_Vectors(), space)}

    assert result == {(0, 1): pytest.approx(0.923, abs=0.001), (2, 3): pytest.approx(0.923, abs=0.001)}
