"""A worker process with a slow model that predicts by a hash.

SECONDS: an image; MODEL: a further model. A model that ends in lite2 ends its process at its first image, as a crash of
the GPU would.
"""

import asyncio
import os
import signal
import time
from collections.abc import Iterator, Sequence

from service.bootstrap.work import run_worker
from service.domain import LabelSpace, ModelInfo, Predictions
from service.predictions.fake import FakePredictor
from service.settings import read_settings
from service.telemetry import configure_logging


class Slow:
    """Predicts batches of one image."""

    def __init__(self, seconds: float) -> None:
        models = [f"demo:efficientnet_lite{size}" for size in (0, 1, 2)]
        self._hash = FakePredictor([*models, os.environ.get("MODEL", "")], 1)
        self._seconds = seconds

    def load(self, model: str, label_space: LabelSpace | None = None) -> ModelInfo:
        return self._hash.load(model, label_space)

    def images_digest(self, dataset: str, names: Sequence[str]) -> str:
        return self._hash.images_digest(dataset, names)

    def predict(
        self, model: str, dataset: str, names: Sequence[str], label_space: LabelSpace | None = None
    ) -> Iterator[Predictions]:
        for name in names:
            time.sleep(self._seconds)
            if model.endswith("lite2"):
                os.kill(os.getpid(), signal.SIGKILL)
            yield from self._hash.predict(model, dataset, [name], label_space)


if __name__ == "__main__":
    seconds = float(os.environ.pop("SECONDS"))
    settings = read_settings()
    configure_logging(settings.log_level, "json")
    asyncio.run(run_worker(settings, Slow(seconds)))
