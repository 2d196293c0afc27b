"""A module and its device: batches go in, the best class of each image comes out."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import structlog
import torch
from errata.errors import ModelRefused

from service.domain import Predictions

_log = structlog.get_logger()


@dataclass(frozen=True)
class TopPredictions:
    """The best class of each image, still on the device and perhaps not yet computed."""

    classes: torch.Tensor  # (N,)
    probabilities: torch.Tensor  # (N,) float32


class Runner:
    """Runs a module; `limit` is the largest batch, halved whenever the device's memory doesn't hold one."""

    def __init__(self, model: str, module: torch.nn.Module, device: torch.device, limit: int) -> None:
        self._model = model
        self._module = module
        self._device = device
        self.limit = limit

    def start(self, images: Sequence[torch.Tensor]) -> TopPredictions:
        """Begin to run on N images (3, H, W); a GPU goes on while the next batch is made ready.

        Raise ModelRefused if the device's memory doesn't hold one image.
        """
        parts: list[TopPredictions] = []
        done = 0
        while done < len(images):
            some = images[done : done + self.limit]
            try:
                parts.append(self._forward(some))
            except torch.OutOfMemoryError as error:
                self._halve(len(some), error)
                continue
            done += len(some)
        return TopPredictions(
            torch.cat([part.classes for part in parts]), torch.cat([part.probabilities for part in parts])
        )

    def finish(self, best: TopPredictions) -> Predictions:
        """Wait for a batch; raise ModelRefused for outputs that aren't finite."""
        probabilities = best.probabilities.cpu().numpy()
        if not np.isfinite(probabilities).all():
            raise ModelRefused(f"{self._model}: expected finite outputs, got NaN or infinity")
        return Predictions(best.classes.cpu().numpy().astype(np.int16), probabilities.astype(np.float16))

    def _forward(self, images: Sequence[torch.Tensor]) -> TopPredictions:
        # decoders write (H, W, 3): batches of that order are channels-last for free
        batch = torch.stack([image.permute(1, 2, 0) for image in images]).permute(0, 3, 1, 2)
        on_gpu = self._device.type == "cuda"
        if on_gpu:
            batch = batch.pin_memory()
        with torch.inference_mode(), self._half_precision():
            scores = self._module(batch.to(self._device, non_blocking=on_gpu))
            best = scores.float().softmax(dim=1).max(dim=1)
        return TopPredictions(best.indices, best.values)

    def _half_precision(self) -> AbstractContextManager[object]:
        if self._device.type != "cuda":
            return nullcontext()
        kind = torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
        return torch.autocast("cuda", dtype=kind)

    def _halve(self, images: int, error: Exception) -> None:
        if images == 1:
            raise ModelRefused(f"{self._model}: the memory of {self._device} doesn't hold it with one image") from error
        self.limit = images // 2
        _log.warning("out of memory: smaller batches from here on", model=self._model, images=self.limit)
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
