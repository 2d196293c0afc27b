"""CLIP encoder of open_clip (needs the `clip` extra). The default is ViT-L/14 at 336 px with OpenAI's weights.

ERRATA_CLIP_MODEL and ERRATA_CLIP_WEIGHTS select another encoder: the name of an architecture in open_clip, and a tag or
local file of pretrained weights. A local file also needs ERRATA_CLIP_ACTIVATION. clip_weights.py reads them when the
model is loaded, because encoders are created without arguments.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import open_clip
import torch
from errata.errors import InvalidEvidence
from numpy.typing import NDArray
from PIL import Image

from service.evidence.clip_weights import ClipWeights, select_weights
from service.evidence.inputs import EncoderInfo

BATCH = 64  # images or texts


class _Loaded(NamedTuple):
    """A model with its transform of images and its tokenizer."""

    model: Any
    transform: Any
    tokenize: Any


class OpenClip:
    """Embeds images and texts with a CLIP model. Loads the model on first use."""

    def __init__(self, architecture: str = "", weights: str = "", activation: str = "", *, batch: int = BATCH) -> None:
        """Configure the encoder. clip_weights.select_weights describes the arguments, except for the batch size."""
        self._names = (architecture, weights, activation)
        self._batch = batch

    def embed_images(self, paths: Sequence[str]) -> NDArray[np.float32]:
        """Return the normalized embeddings of image files, (n, d)."""
        embeddings = []
        for start in range(0, len(paths), self._batch):
            images = [self._loaded.transform(_open(path)) for path in paths[start : start + self._batch]]
            embeddings.append(self._run(self._loaded.model.encode_image, torch.stack(images)))
        return np.concatenate(embeddings)

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the normalized embeddings of texts, (n, d)."""
        model, tokenize = self._loaded.model, self._loaded.tokenize
        batches = [texts[start : start + self._batch] for start in range(0, len(texts), self._batch)]
        return np.concatenate([self._run(model.encode_text, tokenize(list(batch))) for batch in batches])

    def describe(self) -> EncoderInfo:
        """Return the architecture, the digest of the weights, the activation function, and the version of open_clip."""
        return self._weights.describe()

    @cached_property
    def _weights(self) -> ClipWeights:
        return select_weights(*self._names)

    @cached_property
    def _loaded(self) -> _Loaded:
        selected = self._weights
        file = selected.find_file()
        try:
            model, _, transform = open_clip.create_model_and_transforms(
                selected.architecture,
                pretrained=selected.weights,
                device=self._device,
                force_quick_gelu=selected.activation == "quick_gelu",
            )
        except Exception as error:  # torch, pickle, and safetensors raise many types for damaged or other weights
            raise InvalidEvidence(
                f"Cannot load the CLIP weights {file.name} into {selected.architecture}: {error!s:.200}. Expected a "
                "state dictionary of this architecture, as .safetensors or from torch.save.",
                field="encoder",
            ) from error
        return _Loaded(model.eval(), transform, open_clip.get_tokenizer(selected.architecture))

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
