"""Runs a module on a device: predicts the best class of each image of a batch."""

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
    """The best class of each image, on the device. A GPU may still be computing it."""

    classes: torch.Tensor  # (N,)
    probabilities: torch.Tensor  # (N,) float32


class Runner:
    """Runs a module in batches of at most `limit` images. `limit` is halved when a batch needs too much memory."""

    def __init__(self, model: str, module: torch.nn.Module, device: torch.device, limit: int) -> None:
        self._model = model
        self._module = module
        self._device = device
        self.limit = limit

    def start(self, images: Sequence[torch.Tensor]) -> TopPredictions:
        """Start the module on images; a GPU computes while the caller prepares the next batch.

        Args:
            images: N images of shape (3, H, W).

        Raises:
            ModelRefused: The memory of the device is too small for one image.
        """
        parts: list[TopPredictions] = []
        done = 0
        while done < len(images):
            batch = images[done : done + self.limit]
            try:
                parts.append(self._forward(batch))
            except torch.OutOfMemoryError as error:
                self._halve_limit(len(batch), error)
                continue
            done += len(batch)
        return TopPredictions(
            torch.cat([part.classes for part in parts]), torch.cat([part.probabilities for part in parts])
        )

    def finish(self, top: TopPredictions) -> Predictions:
        """Wait for a batch and return its predictions; raise ModelRefused for outputs that are not finite."""
        probabilities = top.probabilities.cpu().numpy()
        if not np.isfinite(probabilities).all():
            raise ModelRefused(
                f"{self._model}: The outputs contain NaN or infinity. Check the weights and the normalization."
            )
        return Predictions(top.classes.cpu().numpy().astype(np.int16), probabilities.astype(np.float16))

    def _forward(self, images: Sequence[torch.Tensor]) -> TopPredictions:
        # Decoders write (H, W, 3). Stacking images in this order makes the batch channels-last without another copy.
        batch = torch.stack([image.permute(1, 2, 0) for image in images]).permute(0, 3, 1, 2)
        on_gpu = self._device.type == "cuda"
        if on_gpu:
            batch = batch.pin_memory()
        with torch.inference_mode(), self._half_precision():
            scores = self._module(batch.to(self._device, non_blocking=on_gpu))
            top = scores.float().softmax(dim=1).max(dim=1)
        return TopPredictions(top.indices, top.values)

    def _half_precision(self) -> AbstractContextManager[object]:
        if self._device.type != "cuda":
            return nullcontext()
        dtype = torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
        return torch.autocast("cuda", dtype=dtype)

    def _halve_limit(self, images: int, error: Exception) -> None:
        if images == 1:
            raise ModelRefused(
                f"{self._model}: The memory of {self._device} is too small for the model and one image. Run it on a "
                "device with more memory."
            ) from error
        self.limit = images // 2
        _log.warning("out of memory: smaller batches from here on", model=self._model, images=self.limit)
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
