"""CLIP encoder of open_clip (needs the `clip` extra). The default is ViT-L/14 at 336 px with OpenAI's weights.

ERRATA_CLIP_MODEL and ERRATA_CLIP_WEIGHTS select another encoder: the name of an architecture in open_clip, and a tag or
local file of pretrained weights. This module reads them when it loads the model, because encoders are created without
arguments.
"""

import os
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import open_clip
import torch
from errata.errors import InvalidEvidence
from numpy.typing import NDArray
from PIL import Image

ARCHITECTURE = "ViT-L-14-336"
WEIGHTS = "openai"
BATCH = 64  # images or texts


class OpenClip:
    """Embeds images and texts with a CLIP model. Loads the model on first use."""

    def __init__(self, architecture: str = "", weights: str = "", batch: int = BATCH) -> None:
        self._architecture = architecture
        self._weights = weights
        self._batch = batch
        self._loaded: tuple[Any, Any, Any] | None = None

    def embed_images(self, paths: Sequence[str]) -> NDArray[np.float32]:
        """Return the normalized embeddings of image files, (n, d)."""
        model, transform, _ = self._load()
        embeddings = []
        for start in range(0, len(paths), self._batch):
            images = [transform(_open(path)) for path in paths[start : start + self._batch]]
            embeddings.append(self._run(model.encode_image, torch.stack(images)))
        return np.concatenate(embeddings)

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the normalized embeddings of texts, (n, d)."""
        model, _, tokenize = self._load()
        batches = [texts[start : start + self._batch] for start in range(0, len(texts), self._batch)]
        return np.concatenate([self._run(model.encode_text, tokenize(list(batch))) for batch in batches])

    def _load(self) -> tuple[Any, Any, Any]:
        if self._loaded is None:
            architecture = self._architecture or os.environ.get("ERRATA_CLIP_MODEL") or ARCHITECTURE
            weights = self._weights or os.environ.get("ERRATA_CLIP_WEIGHTS") or WEIGHTS
            model, _, transform = open_clip.create_model_and_transforms(
                architecture, pretrained=weights, device=self._device
            )
            self._loaded = (model.eval(), transform, open_clip.get_tokenizer(architecture))
        return self._loaded

    def _run(self, encode: Any, batch: torch.Tensor) -> NDArray[np.float32]:
        on_gpu = self._device == "cuda"
        with torch.inference_mode(), torch.autocast("cuda") if on_gpu else nullcontext():
            embeddings = encode(batch.to(self._device)).float()
        return np.asarray((embeddings / embeddings.norm(dim=1, keepdim=True)).cpu().numpy(), dtype=np.float32)

    @property
    def _device(self) -> str:
        return "cuda" if torch.cuda.is_available() else "cpu"


def _open(path: str) -> Image.Image:
    try:
        with open(path, "rb") as file, Image.open(file) as image:  # Pillow memory-maps bitmaps that it opens by path
            return image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InvalidEvidence(f"Cannot read the image {path}: {error!s:.120}.", field="images") from error
