"""The real predictor: loads a model from its source and runs it over images, batch by batch."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from service.domain import ModelInfo, Predictions
from service.errors import ImagesMissing, ModelRefused
from service.predictions.model_id import parse_model_id
from service.predictions.models import demo, file, timm
from service.predictions.models.images import FolderImages
from service.predictions.models.loaded import LoadedModel


class TorchPredictor:
    """Runs models with torch on one device; keeps the model that it loaded last."""

    def __init__(
        self, images: Mapping[str, Path], models: Path | None, batch_size: int, threads: int, device: str
    ) -> None:
        self._images = {dataset: FolderImages(folder) for dataset, folder in images.items()}
        self._sources: Mapping[str, Callable[[str], LoadedModel]] = {
            "demo": demo.load,
            "timm": timm.load,
            "file": lambda rest: file.load(rest, models),
        }
        self._batch_size = batch_size
        self._threads = threads or os.cpu_count() or 1
        self._device_name = device
        self._loaded: LoadedModel | None = None

    def load(self, model: str) -> ModelInfo:
        """Make a model ready and describe it."""
        if self._loaded is None or self._loaded.info.model != model:
            torch.set_num_threads(self._threads)
            parsed = parse_model_id(model)
            self._loaded = None  # room for the next one
            loaded = self._sources[parsed.source](parsed.rest)
            loaded.module.to(device=self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            self._loaded = loaded
        return self._loaded.info

    def predict(self, model: str, dataset: str, names: Sequence[str]) -> Iterator[Predictions]:
        """Yield the predictions of the named images, in that order."""
        self.load(model)
        assert self._loaded is not None, "this is a bug: load() keeps the model"
        loaded = self._loaded
        source = self._images.get(dataset)
        if source is None:
            raise ImagesMissing(f"this worker has no images of {dataset}: set ERRATA_IMAGES")

        def prepare(name: str) -> torch.Tensor:
            return loaded.transform(source.open(name))

        with ThreadPoolExecutor(self._threads) as pool:
            for start in range(0, len(names), self._batch_size):
                images = torch.stack(list(pool.map(prepare, names[start : start + self._batch_size])))
                yield self._run(loaded, images)

    @property
    def _device(self) -> torch.device:
        return torch.device(self._device_name or ("cuda" if torch.cuda.is_available() else "cpu"))

    def _run(self, loaded: LoadedModel, images: torch.Tensor) -> Predictions:
        with torch.inference_mode():
            images = images.to(device=self._device, memory_format=torch.channels_last)
            probabilities = loaded.module(images).float().softmax(dim=1)
            best = probabilities.max(dim=1)
        if not bool(torch.isfinite(best.values).all()):
            raise ModelRefused(f"{loaded.info.model}: expected finite outputs, got NaN or infinity")
        return Predictions(
            top1=best.indices.cpu().numpy().astype(np.int16), probability=best.values.cpu().numpy().astype(np.float16)
        )
