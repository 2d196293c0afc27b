"""Blocks of float32 scores, computed with torch."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from service.evidence.encoder import Embeddings
from service.evidence.score_blocks import BLOCK, Scores


def has_gpu() -> bool:
    """Return whether torch can use a GPU."""
    return torch.cuda.is_available()


class TorchScoreBlocks:
    """Computes scores on a device of torch. The embeddings of the images stay on the device."""

    def __init__(self, images: Embeddings, device: str) -> None:
        self._images = torch.from_numpy(images).to(device)

    def multiply(self, chunk: Embeddings) -> Iterator[tuple[slice, Scores]]:
        """Yield the rows of each block of images and its scores."""
        # TensorFloat-32 rounds factors to 11 bits. Its errors exceed `rounding_error`.
        torch.set_float32_matmul_precision("highest")
        columns = torch.from_numpy(chunk).to(self._images.device).T
        for start in range(0, len(self._images), BLOCK):
            rows = slice(start, min(start + BLOCK, len(self._images)))
            yield rows, _TorchScores(self._images[rows] @ columns)


class _TorchScores:
    def __init__(self, scores: torch.Tensor) -> None:
        self._scores = scores

    def rows_at_least(self, limits: NDArray[np.float32]) -> NDArray[np.intp]:
        is_candidate = self._scores.amax(dim=1) >= self._on_device(limits)
        return _to_indices(torch.nonzero(is_candidate)[:, 0])

    def kth_largest(self, rows: NDArray[np.intp], k: int) -> NDArray[np.float32]:
        largest = torch.topk(self._scores[self._on_device(rows)], k, dim=1).values
        return np.asarray(largest[:, -1].cpu().numpy())

    def positions_at_least(
        self, rows: NDArray[np.intp], limits: NDArray[np.float32]
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        is_candidate = self._scores[self._on_device(rows)] >= self._on_device(limits)[:, None]
        positions, columns = torch.nonzero(is_candidate, as_tuple=True)  # in row-major order
        return _to_indices(positions), _to_indices(columns)

    def _on_device(self, array: NDArray[np.float32] | NDArray[np.intp]) -> torch.Tensor:
        return torch.from_numpy(array).to(self._scores.device)


def _to_indices(tensor: torch.Tensor) -> NDArray[np.intp]:
    return np.asarray(tensor.cpu().numpy(), dtype=np.intp)
