"""CLIP encoder of open_clip (needs the `clip` extra). The default is ViT-L/14 at 336 px with OpenAI's weights.

ERRATA_CLIP_MODEL and ERRATA_CLIP_WEIGHTS select another encoder: the name of an architecture in open_clip, and a tag or
local file of pretrained weights. A local file also needs ERRATA_CLIP_ACTIVATION. Encoders are created without
arguments, so clip_weights.py reads these variables when the model is loaded.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import open_clip
import torch
from errata.errors import InvalidEvidence
from numpy.typing import NDArray
from open_clip.factory import load_state_dict
from PIL import Image

from service.cpu import available_cores
from service.evidence.clip_weights import ClipWeights, select_weights
from service.evidence.inputs import EncoderInfo
from service.image_formats import FORMATS, to_rgb
from service.prefetch import prefetch

BATCH = 64  # images or texts
MAX_ASPECT = 1000  # ratio of the sides; the shorter one is scaled to 336 pixels, so a longer image needs gigabytes


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
        """Return the normalized embeddings of image files, (n, d). Threads decode images while the model runs.

        Raises:
            InvalidEvidence: If an image cannot be read. The message names the first such image.
        """
        model, transform, _ = self._loaded
        embeddings = []
        with _decoded(paths, transform) as take:
            while images := take(self._batch):
                embeddings.append(self._run(model.encode_image, torch.stack(images)))
        return _to_numpy(embeddings)

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the normalized embeddings of texts, (n, d)."""
        model, _, tokenize = self._loaded
        batches = [texts[start : start + self._batch] for start in range(0, len(texts), self._batch)]
        return _to_numpy([self._run(model.encode_text, tokenize(list(batch))) for batch in batches])

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
            resized = [] if selected.configuration else _resized_embeddings(model, file)
        except Exception as error:  # torch, pickle, and safetensors raise many types for damaged or other weights
            raise InvalidEvidence(
                f"Cannot load the CLIP weights {file.name} into {selected.architecture}: {error!s:.200}. Expected a "
                "state dictionary of this architecture, as .safetensors or from torch.save.",
                field="encoder",
            ) from error
        if resized:
            raise InvalidEvidence(
                f"The CLIP weights {file.name} have another resolution or context length than {selected.architecture} "
                f"({'; '.join(resized)}). Set ERRATA_CLIP_MODEL to the architecture of the weights.",
                field="encoder",
            )
        return _Loaded(model.eval(), transform, open_clip.get_tokenizer(selected.architecture))

    def _run(self, encode: Callable[[torch.Tensor], torch.Tensor], batch: torch.Tensor) -> torch.Tensor:
        """Return normalized embeddings on the device. A GPU may still be computing them."""
        on_gpu = self._device == "cuda"
        if on_gpu:
            batch = batch.pin_memory()  # otherwise, the copy waits until the GPU has finished the previous batch
        with torch.inference_mode(), torch.autocast("cuda") if on_gpu else nullcontext():
            embeddings = encode(batch.to(self._device, non_blocking=True)).float()
            normalized: torch.Tensor = embeddings / embeddings.norm(dim=1, keepdim=True)
            return normalized

    @property
    def _device(self) -> str:
        return "cuda" if torch.cuda.is_available() else "cpu"


def _resized_embeddings(model: Any, file: Path) -> list[str]:
    """Return the position embeddings whose size differs in a file of weights: open_clip interpolates them silently."""
    expected, actual = (
        {
            name.removeprefix("text."): len(tensor)  # custom text towers have the prefix, their older files do not
            for name, tensor in state.items()
            if name.endswith("positional_embedding")
        }
        for state in (model.state_dict(), load_state_dict(str(file)))
    )
    return [
        f"{name}: expected {expected[name]:,} positions, got {actual[name]:,}"
        for name in sorted(expected.keys() & actual.keys())
        if expected[name] != actual[name]
    ]


@contextmanager
def _decoded(
    paths: Sequence[str], transform: Callable[[Image.Image], torch.Tensor]
) -> Iterator[Callable[[int], list[torch.Tensor]]]:
    """Yield a function that returns the next transformed images. At most three batches are in memory."""
    threads = torch.get_num_threads()
    try:
        # Each decoding thread would start one thread per core, but an image is too small for several threads.
        with prefetch(
            paths, lambda path: transform(_open(path)), available_cores(), lambda: torch.set_num_threads(1)
        ) as take:
            yield take
    finally:
        torch.set_num_threads(threads)  # later threads would inherit the value that the decoding threads set


def _to_numpy(embeddings: Sequence[torch.Tensor]) -> NDArray[np.float32]:
    return np.asarray(torch.cat(list(embeddings)).cpu().numpy(), dtype=np.float32)


def _open(path: str) -> Image.Image:
    try:
        if not os.path.isfile(path):  # a pipe would block its thread, so the build would not end
            raise ValueError("no regular file")
        with open(path, "rb") as file, Image.open(file, formats=FORMATS) as image:  # Pillow maps files by path
            if max(image.size) > MAX_ASPECT * min(image.size):
                raise ValueError(f"a side is more than {MAX_ASPECT} times as long as the other one")
            return to_rgb(image)
    except Exception as error:  # Pillow's formats raise many types for damaged files, AVIF also RuntimeError
        raise InvalidEvidence(f"Cannot read the image {path}: {error!s:.120}.", field="images") from error
