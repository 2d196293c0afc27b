"""Preprocessing by the image processor of transformers that a preprocessor_config.json describes."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from errata.errors import ModelRefused
from PIL import Image
from transformers import AutoImageProcessor

from service.predictions.models.images import UnreadableImage
from service.predictions.models.preprocessing import MAX_RESIZED, Preprocessing, check_resized
from service.predictions.models.transformers_files import (
    CONFIG,
    PREPROCESSOR,
    read_object,
    remove_code,
    write_object,
)
from service.storage import temporary_folder

EXAMPLES = ((64, 64), (97, 61))  # sizes of the images that are preprocessed when a model is loaded
SIZE_KEYS = ("size", "crop_size", "pad_size")
MAX_DESCRIPTION = 1000  # characters


@dataclass(frozen=True)
class ImageProcessor:
    """A transform, and its result for a black image."""

    preprocessing: Preprocessing
    example: torch.Tensor  # (3, H, W) float32


def read_image_processor(model: str, folder: Path, config: dict[str, Any]) -> ImageProcessor:
    """Return the transform that the preprocessor_config.json in a folder describes.

    Args:
        model: Model ID.
        folder: The folder.
        config: The config.json of the model. It determines the type of the image
            processor if an old file does not name it.

    Raises:
        ModelRefused: The file is missing or invalid, or the transform does not make tensors of one shape.
    """
    raw = remove_code(read_object(model, folder / PREPROCESSOR))
    shorter_side = _check_sizes(model, raw)
    with temporary_folder() as clean:
        write_object(clean / PREPROCESSOR, raw)
        write_object(clean / CONFIG, config)
        try:
            processor = AutoImageProcessor.from_pretrained(clean, local_files_only=True, trust_remote_code=False)
        except Exception as error:  # the errors of transformers have no common class
            raise _refused(model, error) from error

    def single(image: Image.Image) -> torch.Tensor:
        check_resized(image, shorter_side)
        pixels: torch.Tensor = processor(images=image, return_tensors="pt")["pixel_values"][0]
        return pixels.float()

    try:
        examples = [single(Image.new("RGB", size)) for size in EXAMPLES]
    except UnreadableImage as error:
        raise ModelRefused(f"{model}: {PREPROCESSOR} enlarges images too much: {error!s:.200}") from error
    except Exception as error:  # the errors of transformers have no common class
        raise _refused(model, error) from error
    shapes = {tuple(example.shape) for example in examples}
    if len(shapes) != 1 or examples[0].ndim != 3 or len(examples[0]) != 3:
        raise ModelRefused(
            f"{model}: The image processor makes tensors of the shapes {sorted(shapes)} from images of two sizes. "
            f"Expected one shape (3, height, width). Set size and crop_size in {PREPROCESSOR}."
        )
    preprocessing = Preprocessing(single, torch.nn.Identity(), _describe(processor, raw))
    return ImageProcessor(preprocessing, examples[0])


def _check_sizes(model: str, raw: dict[str, Any]) -> float:
    """Return the largest shorter side of a proportional resize in pixels; raise ModelRefused for invalid sizes."""
    sides = [side for key in SIZE_KEYS for side in _numbers(raw.get(key))]
    crop = raw.get("crop_pct") or 1
    is_valid = isinstance(crop, int | float) and 0.01 <= crop <= 2 and all(1 <= side <= MAX_RESIZED for side in sides)
    if not is_valid or max(sides, default=1) / crop > MAX_RESIZED:
        raise ModelRefused(
            f"{model}: {PREPROCESSOR} has the sizes {sides!r:.80} and crop_pct {crop!r:.20}. Expected sizes from 1 to "
            f"{MAX_RESIZED} pixels, also after division by crop_pct."
        )
    keeps_aspect = any("edge" in str(raw.get(key)) or isinstance(raw.get(key), int) for key in SIZE_KEYS)
    return float(max(sides, default=1) / crop) if keeps_aspect else 1.0


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict | list):
        for entry in value.values() if isinstance(value, dict) else value:
            yield from _numbers(entry)
    elif isinstance(value, int | float):
        yield value


def _describe(processor: object, raw: dict[str, Any]) -> str:
    values = {key: value for key, value in sorted(raw.items()) if key != "image_processor_type"}
    return f"{type(processor).__name__} {json.dumps(values)}"[:MAX_DESCRIPTION]


def _refused(model: str, error: Exception) -> ModelRefused:
    return ModelRefused(
        f"{model}: {PREPROCESSOR} describes no image processor of transformers that prepares one image: "
        f"{type(error).__name__}: {error!s:.200}. Save it with save_pretrained."
    )
