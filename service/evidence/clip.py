"""CLIP through open_clip (needs the `clip` extra): the real encoder, ViT-L/14 at 336 px with OpenAI's weights.

ERRATA_CLIP_MODEL and ERRATA_CLIP_WEIGHTS choose another: open_clip's name of an architecture, and the tag of pretrained
weights or the path of a local file of them. They are read here, when the model is loaded, since an encoder is made
without arguments. torch lives here.
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
BATCH = 64  # images or texts that run at once


class OpenClip:
    """Embeds images and texts with a CLIP model; the model is loaded when it is first asked."""

    def __init__(self, architecture: str = "", weights: str = "", batch: int = BATCH) -> None:
        self._named = (architecture, weights)
        self._batch = batch
        self._loaded: tuple[Any, Any, Any] | None = None

    def embed_images(self, paths: Sequence[str]) -> NDArray[np.float32]:
        """Return the normalized embeddings of image files, (n, d)."""
        model, transform, _ = self._load()
        result = []
        for start in range(0, len(paths), self._batch):
            images = [transform(_open(path)) for path in paths[start : start + self._batch]]
            result.append(self._run(model.encode_image, torch.stack(images)))
        return np.concatenate(result)

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the normalized embeddings of prompts, (n, d)."""
        model, _, tokenize = self._load()
        batches = [texts[start : start + self._batch] for start in range(0, len(texts), self._batch)]
        return np.concatenate([self._run(model.encode_text, tokenize(list(batch))) for batch in batches])

    def _load(self) -> tuple[Any, Any, Any]:
        if self._loaded is None:
            architecture = self._named[0] or os.environ.get("ERRATA_CLIP_MODEL") or ARCHITECTURE
            weights = self._named[1] or os.environ.get("ERRATA_CLIP_WEIGHTS") or WEIGHTS
            model, _, transform = open_clip.create_model_and_transforms(
                architecture, pretrained=weights, device=self._device
            )
            self._loaded = (model.eval(), transform, open_clip.get_tokenizer(architecture))
        return self._loaded

    def _run(self, encode: Any, batch: torch.Tensor) -> NDArray[np.float32]:
        on_gpu = self._device == "cuda"
        with torch.inference_mode(), torch.autocast("cuda") if on_gpu else nullcontext():
            result = encode(batch.to(self._device)).float()
        return np.asarray((result / result.norm(dim=1, keepdim=True)).cpu().numpy(), dtype=np.float32)

    @property
    def _device(self) -> str:
        return "cuda" if torch.cuda.is_available() else "cpu"


def _open(path: str) -> Image.Image:
    try:
        with open(path, "rb") as file, Image.open(file) as image:  # by its path, Pillow maps bitmaps
            return image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InvalidEvidence(f"expected an image at {path}, got {error!s:.120}", field="images") from error
