"""The real predictor: loads a model from its source and runs it over images, batch by batch."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
import structlog
import torch
from errata.errors import ImagesMissing

from service.domain import ModelInfo, Predictions
from service.predictions.model_id import ModelId, parse_model_id
from service.predictions.model_policy import FOLDER_SOURCES, ModelPolicy
from service.predictions.models.batch_size import AdaptiveBatchSize
from service.predictions.models.device import available_cores, choose_device
from service.predictions.models.images import ImageFolder, UnreadableImage
from service.predictions.models.loaded_model import LoadedModel
from service.predictions.models.precomputed import stored_predictions
from service.predictions.models.prefetch import prefetch
from service.predictions.models.runner import Runner, TopPredictions
from service.predictions.models.sources import SOURCES

NAMED = 10  # images that can't be had whose names are logged, a call
_log = structlog.get_logger()


@dataclass(frozen=True)
class _ActiveModel:
    """The model that was loaded last, on its device."""

    asked: str
    stamp: tuple[object, ...]  # of its files, where they may change under the same name
    loaded: LoadedModel
    runner: Runner
    pace: AdaptiveBatchSize | None  # None: a GPU's batches are as large as its memory allows

    @property
    def batch_size(self) -> int:
        return self.runner.limit if self.pace is None else min(self.pace.size, self.runner.limit)


@dataclass(frozen=True)
class _PendingBatch:
    """A batch that the device works on: which of its images can be had, and what is found for those."""

    there: list[bool]
    best: TopPredictions | None  # None: no image can be had


class TorchPredictor:
    """Runs models with torch on one device; keeps the model that it loaded last."""

    def __init__(
        self, images: Mapping[str, Path], policy: ModelPolicy, batch_size: int, threads: int, device: str
    ) -> None:
        self._images = {dataset: ImageFolder(path) for dataset, path in images.items()}
        self._policy = policy
        self._batch_size = batch_size
        self._threads = threads or available_cores()
        self._device_name = device
        self._held: _ActiveModel | None = None

    def load(self, model: str) -> ModelInfo:
        """Make a model ready and describe it; raise what its source raises, and InvalidSetting for the device."""
        return self._hold(model).loaded.info

    def predict(self, model: str, dataset: str, names: Sequence[str]) -> Iterator[Predictions]:
        """Yield the predictions of the named images, in that order: class -1 and NaN for one that can't be had.

        Raise ImagesMissing if the data set's folder isn't there or is empty, ModelRefused for outputs that aren't
        finite.
        """
        held = self._hold(model)
        if held.loaded.known is not None:
            yield from stored_predictions(held.loaded, names)
            return
        torch.set_num_threads(self._threads)  # of this thread, which may not be the one that loaded
        source = self._images.get(dataset)
        if source is None:
            raise ImagesMissing(f"this worker has no images of {dataset}: set ERRATA_IMAGES")
        missing = _Missing(dataset, len(source.locations))

        def make(name: str) -> torch.Tensor | UnreadableImage:
            try:
                return held.loaded.prepare(source.open(name))
            except UnreadableImage as error:
                return error
            except MemoryError:
                return UnreadableImage("it takes more memory to prepare than there is")

        with prefetch(names, make, self._threads) as take:
            done, started = 0, perf_counter()
            before: _PendingBatch | None = None
            while some := take(held.batch_size):
                missing.tell(names[done : done + len(some)], some)
                begun = _begin(held.runner, some)
                if held.pace is not None:
                    held.pace.took(len(some), perf_counter() - started)
                if before is not None:
                    yield _end(held.runner, before)
                done, before, started = done + len(some), begun, perf_counter()
            if before is not None:
                yield _end(held.runner, before)
        missing.end()

    def _hold(self, model: str) -> _ActiveModel:
        asked = parse_model_id(model)
        stamp = _stamp(asked, self._policy)
        if self._held is None or (self._held.asked, self._held.stamp) != (model, stamp):
            torch.set_num_threads(self._threads)
            device = choose_device(self._device_name)
            self._policy.check(asked)
            self._held = None  # room for the next one
            loaded = SOURCES[asked.source](asked.rest, self._policy)
            loaded.module.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            runner = Runner(loaded.info.model, loaded.module, device, self._batch_size)
            self._held = _ActiveModel(
                model, stamp, loaded, runner, AdaptiveBatchSize(self._batch_size) if device.type == "cpu" else None
            )
        return self._held


def _stamp(asked: ModelId, policy: ModelPolicy) -> tuple[object, ...]:
    """Return what changes when a model in the operator's folder does: its files, and what JSON lies beside them."""
    if asked.source not in FOLDER_SOURCES or policy.folder is None:
        return ()
    path = policy.folder / asked.rest.partition("#")[0]
    result = []
    try:
        for item in path.parent.iterdir():
            if item.name.startswith(path.stem) or item.suffix == ".json":
                stat = item.stat()
                result.append((item.name, stat.st_size, stat.st_mtime_ns, stat.st_ino))
    except OSError:
        return ()  # whoever loads it says what is wrong
    return tuple(sorted(result))


class _Missing:
    """Tells the log which images can't be had: the first by name, the rest as a number."""

    def __init__(self, dataset: str, known: int) -> None:
        self._log = _log.bind(dataset=dataset, names_known=known)
        self._count = 0

    def tell(self, names: Sequence[str], made: Sequence[torch.Tensor | UnreadableImage]) -> None:
        for name, each in zip(names, made, strict=True):
            if isinstance(each, UnreadableImage):
                self._count += 1
                if self._count <= NAMED:
                    self._log.warning("an image can't be had", image=name, why=str(each))

    def end(self) -> None:
        if self._count > NAMED:
            self._log.warning("more images can't be had", count=self._count - NAMED)


def _begin(runner: Runner, made: Sequence[torch.Tensor | UnreadableImage]) -> _PendingBatch:
    images = [item for item in made if not isinstance(item, UnreadableImage)]
    return _PendingBatch(
        [not isinstance(item, UnreadableImage) for item in made], runner.start(images) if images else None
    )


def _end(runner: Runner, begun: _PendingBatch) -> Predictions:
    top1 = np.full(len(begun.there), -1, dtype=np.int16)
    probability = np.full(len(begun.there), np.nan, dtype=np.float16)
    if begun.best is not None:
        result = runner.finish(begun.best)
        top1[begun.there], probability[begun.there] = result.top1, result.probability
    return Predictions(top1, probability)
