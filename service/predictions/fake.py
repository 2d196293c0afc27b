"""A predictor without torch: the class of an image is a hash of its name. The real predictor's twin, for tests."""

import zlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from errata.errors import ModelNotFound

from service.domain import NUM_CLASSES, ModelInfo, Predictions


def hashed_class(name: str) -> int:
    """Return the class that the twin predicts for an image of this name."""
    return zlib.crc32(name.encode()) % NUM_CLASSES


class FakePredictor:
    """Predicts from names alone; `before_batch` is called before each batch and may wait."""

    def __init__(self, models: Sequence[str], batch_size: int, before_batch: Callable[[], None] = lambda: None) -> None:
        self._models = models
        self._batch_size = batch_size
        self._before_batch = before_batch

    def load(self, model: str) -> ModelInfo:
        """Describe a model; raise ModelNotFound for one that isn't among its own."""
        if model not in self._models:
            raise ModelNotFound(f"expected one of {', '.join(self._models)}, got {model!r:.80}")
        return ModelInfo(model, "hash", weights_sha256="0" * 64, transform="none")

    def predict(self, model: str, dataset: str, names: Sequence[str]) -> Iterator[Predictions]:
        """Yield the predictions of the named images, in that order."""
        self.load(model)
        for start in range(0, len(names), self._batch_size):
            self._before_batch()
            some = [hashed_class(name) for name in names[start : start + self._batch_size]]
            yield Predictions(np.array(some, dtype=np.int16), np.full(len(some), 0.5, dtype=np.float16))
