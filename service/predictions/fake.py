"""The in-memory implementation of the predictor, for tests: it needs no torch and no images."""

import hashlib
import zlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from errata.errors import ModelNotFound

from service.domain import LabelSpace, ModelInfo, Predictions
from service.taxonomy.imagenet_1k import imagenet_1k


def hashed_class(name: str, num_classes: int = 1000) -> int:
    """Return the class that FakePredictor predicts for an image: a hash of its name."""
    return zlib.crc32(name.encode()) % num_classes


class FakePredictor:
    """Predicts classes from the names of images."""

    def __init__(self, models: Sequence[str], batch_size: int, before_batch: Callable[[], None] = lambda: None) -> None:
        """Configure the predictor.

        Args:
            models: Known model IDs.
            batch_size: Number of images in one batch.
            before_batch: Called before each batch; it may wait.
        """
        self._models = models
        self._batch_size = batch_size
        self._before_batch = before_batch

    def load(self, model: str, label_space: LabelSpace | None = None) -> ModelInfo:
        """Describe a model; raise ModelNotFound for an unknown one."""
        if model not in self._models:
            raise ModelNotFound(f"Unknown model {model!r:.80}. Expected one of {', '.join(self._models)}.")
        return ModelInfo(model, "hash", weights_sha256="0" * 64, transform="none")

    def images_digest(self, dataset: str, names: Sequence[str]) -> str:
        """Return a digest of the names, because the predictions depend only on them."""
        return hashlib.sha256("\n".join(names).encode()).hexdigest()

    def predict(
        self, model: str, dataset: str, names: Sequence[str], label_space: LabelSpace | None = None
    ) -> Iterator[Predictions]:
        """Yield the predictions of the named images, in that order."""
        num_classes = (label_space or imagenet_1k()).num_classes
        self.load(model)
        for start in range(0, len(names), self._batch_size):
            self._before_batch()
            classes = [hashed_class(name, num_classes) for name in names[start : start + self._batch_size]]
            yield Predictions(np.array(classes, dtype=np.int16), np.full(len(classes), 0.5, dtype=np.float16))
