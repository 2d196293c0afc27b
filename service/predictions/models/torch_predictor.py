"""The torch predictor: loads a model from its source and runs it on images, batch by batch."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
import structlog
import torch
from errata.errors import ImagesMissing

from service.cpu import available_cores
from service.domain import LabelSpace, ModelInfo, Predictions
from service.predictions.model_id import ModelId, parse_model_id
from service.predictions.model_policy import FOLDER_SOURCES, ModelPolicy
from service.predictions.models.batch_size import AdaptiveBatchSize
from service.predictions.models.device import choose_device
from service.predictions.models.images import ImageFolder, UnreadableImage
from service.predictions.models.loaded_model import LoadedModel
from service.predictions.models.precomputed import stored_predictions
from service.predictions.models.runner import Runner, TopPredictions
from service.predictions.models.sources import SOURCES
from service.predictions.models.weights_cache import delete_old_weights
from service.prefetch import prefetch
from service.taxonomy.imagenet_1k import imagenet_1k

MODEL_SUFFIXES = (".onnx", ".pth", ".safetensors")
MAX_LOGGED = 10  # maximum number of unreadable images that one call logs by name
_log = structlog.get_logger()


@dataclass(frozen=True)
class _ActiveModel:
    """The model that was loaded last, on its device."""

    model_id: str
    label_space: LabelSpace
    fingerprint: tuple[object, ...]  # state of the model's files, which may change under the same model ID
    loaded: LoadedModel
    runner: Runner
    adaptive_size: AdaptiveBatchSize | None  # None on a GPU, where only memory limits the batches

    @property
    def batch_size(self) -> int:
        return self.runner.limit if self.adaptive_size is None else min(self.adaptive_size.size, self.runner.limit)


@dataclass(frozen=True)
class _PendingBatch:
    """A batch that the device is computing."""

    is_readable: list[bool]  # whether each image is readable
    top: TopPredictions | None  # predictions for the readable images; None if there are none


class TorchPredictor:
    """Runs models with torch on one device. The model that was loaded last stays in memory."""

    def __init__(
        self, images: Mapping[str, Path], policy: ModelPolicy, batch_size: int, threads: int, device: str
    ) -> None:
        """Configure the predictor.

        Args:
            images: Folder or .tar file with the images of each data set.
            policy: Which models are allowed.
            batch_size: Maximum number of images in one batch.
            threads: Number of CPU threads; 0: all available cores.
            device: Name of the torch device; empty: the first GPU, or the CPU.

        Raises:
            InvalidSetting: The device does not exist.
        """
        self._images = {dataset: ImageFolder(path) for dataset, path in images.items()}
        self._policy = policy
        self._batch_size = batch_size
        self._threads = threads or available_cores()
        self._device = choose_device(device)
        self._active: _ActiveModel | None = None

    def load(self, model: str, label_space: LabelSpace | None = None) -> ModelInfo:
        """Load a model for a label space (None: ImageNet-1k) and describe it.

        Raises:
            ErrataError: An error of the model's source.
        """
        return self._activate(model, label_space).loaded.info

    def images_digest(self, dataset: str, names: Sequence[str]) -> str:
        """Return the SHA-256 of images: their order, names, locations, sizes, and times."""
        source = self._images.get(dataset)
        states = [[name, source.version(name) if source is not None else ""] for name in names]
        return hashlib.sha256(json.dumps(states).encode()).hexdigest()

    def predict(
        self, model: str, dataset: str, names: Sequence[str], label_space: LabelSpace | None = None
    ) -> Iterator[Predictions]:
        """Yield the predictions of the named images, in that order; class -1 and NaN for an unreadable image.

        Raises:
            ImagesMissing: The folder of the data set is missing or empty.
            ModelRefused: The outputs are not finite.
        """
        active = self._activate(model, label_space)
        if active.loaded.predictions is not None:
            yield from stored_predictions(active.loaded, names)
            return
        torch.set_num_threads(self._threads)  # a setting per thread; another thread may have loaded the model
        source = self._images.get(dataset)
        if source is None:
            raise ImagesMissing(f"This worker has no images of data set '{dataset}'. Set ERRATA_IMAGES on the worker.")
        unreadable = _UnreadableLog(dataset, len(source.images()))

        def prepare(name: str) -> torch.Tensor | UnreadableImage:
            try:
                return active.loaded.preprocess(source.open(name))
            except UnreadableImage as error:
                return error
            except MemoryError:
                return UnreadableImage(
                    "Preprocessing the image takes more memory than is available. Reduce the size of the image."
                )

        with prefetch(names, prepare, self._threads) as take:
            done, started = 0, perf_counter()
            previous: _PendingBatch | None = None
            while images := take(active.batch_size):
                unreadable.add(names[done : done + len(images)], images)
                pending = _start_batch(active.runner, images)
                if active.adaptive_size is not None:
                    active.adaptive_size.update(len(images), perf_counter() - started)
                if previous is not None:
                    yield _finish_batch(active.runner, previous)
                done, previous, started = done + len(images), pending, perf_counter()
            if previous is not None:
                yield _finish_batch(active.runner, previous)
        unreadable.log_rest()

    def _activate(self, model: str, label_space: LabelSpace | None) -> _ActiveModel:
        """Return the model on its device. Load it if another model is active or if its files have changed."""
        model_id, label_space = parse_model_id(model), label_space or imagenet_1k()
        fingerprint = _fingerprint(model_id, self._policy)
        active = self._active
        if active is None or (active.model_id, active.label_space, active.fingerprint) != (
            model,
            label_space,
            fingerprint,
        ):
            torch.set_num_threads(self._threads)
            self._policy.check(model_id)
            self._active = None  # frees the memory of the previous model before the next one is loaded
            loaded = SOURCES[model_id.source](model_id.rest, self._policy, label_space)
            loaded.module.to(device=self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            runner = Runner(loaded.info.model, loaded.module, self._device, self._batch_size)
            adaptive_size = AdaptiveBatchSize(self._batch_size) if self._device.type == "cpu" else None
            active = self._active = _ActiveModel(model, label_space, fingerprint, loaded, runner, adaptive_size)
            if self._policy.max_cache_bytes:
                delete_old_weights(self._policy.max_cache_bytes)
        return active


def _fingerprint(model_id: ModelId, policy: ModelPolicy) -> tuple[object, ...]:
    """Return the names, sizes, times, and inodes of a model's files in the operator's folder.

    A graph can have weights in files of any name, so all files beside it count, except other models.
    """
    if model_id.source not in FOLDER_SOURCES or policy.folder is None:
        return ()
    path = policy.folder / model_id.rest.partition("#")[0]
    entries = []
    try:
        for file in path.parent.iterdir():
            is_external = model_id.source == "onnx" and file.suffix not in MODEL_SUFFIXES
            if file.name.startswith(path.stem) or file.suffix == ".json" or is_external:
                stat = file.stat()
                entries.append((file.name, stat.st_size, stat.st_mtime_ns, stat.st_ino))
    except OSError:
        return ()  # the load of the model reports the error
    return tuple(sorted(entries))


class _UnreadableLog:
    """Logs unreadable images: the first ones by name, the others as a count."""

    def __init__(self, dataset: str, num_known: int) -> None:
        self._log = _log.bind(dataset=dataset, names_known=num_known)
        self._count = 0

    def add(self, names: Sequence[str], images: Sequence[torch.Tensor | UnreadableImage]) -> None:
        for name, image in zip(names, images, strict=True):
            if isinstance(image, UnreadableImage):
                self._count += 1
                if self._count <= MAX_LOGGED:
                    self._log.warning("image unreadable", image=name, reason=str(image))

    def log_rest(self) -> None:
        if self._count > MAX_LOGGED:
            self._log.warning("more images unreadable", count=self._count - MAX_LOGGED)


def _start_batch(runner: Runner, prepared: Sequence[torch.Tensor | UnreadableImage]) -> _PendingBatch:
    images = [image for image in prepared if not isinstance(image, UnreadableImage)]
    is_readable = [not isinstance(image, UnreadableImage) for image in prepared]
    return _PendingBatch(is_readable, runner.start(images) if images else None)


def _finish_batch(runner: Runner, pending: _PendingBatch) -> Predictions:
    top1 = np.full(len(pending.is_readable), -1, dtype=np.int16)
    probability = np.full(len(pending.is_readable), np.nan, dtype=np.float16)
    if pending.top is not None:
        predictions = runner.finish(pending.top)
        top1[pending.is_readable], probability[pending.is_readable] = predictions.top1, predictions.probability
    return Predictions(top1, probability)
