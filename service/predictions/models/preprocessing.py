"""Preprocessing of images. Threads process single images on the CPU; the device of the model processes batches."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from errata.errors import ModelRefused
from PIL import Image
from timm.data.config import resolve_data_config
from timm.data.transforms_factory import create_transform
from torchvision.transforms import functional
from torchvision.transforms._presets import ImageClassification

from service.predictions.image_files import MAX_PIXELS
from service.predictions.models.images import UnreadableImage

REQUIRED_KEYS = ("input_size", "mean", "std", "interpolation", "crop_pct")  # any default would be a guess
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "box", "hamming", "lanczos")
CROP_MODES = ("center", "squash", "border")
MAX_SIDE = 2048  # pixels
MAX_NUMBER = 1e6  # limit of all numbers; excludes NaN, infinity, and integers too large for a float
MAX_RESIZED = 4096  # maximum shorter side before the crop, in pixels


@dataclass(frozen=True)
class Preprocessing:
    """A model's own transform, in two steps."""

    single: Callable[[Image.Image], torch.Tensor]  # RGB image -> (3, H, W)
    batch: torch.nn.Module  # (N, 3, H, W) -> input of the model
    description: str


class Normalize(torch.nn.Module):
    """Converts bytes to floats, normalized with a mean and a standard deviation per channel."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1) * 255)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return float32 (N, 3, H, W) for uint8 (N, 3, H, W)."""
        return images.float().sub_(self.mean).div_(self.std)


def timm_preprocessing(model: str, config: Mapping[str, Any]) -> Preprocessing:
    """Return the transform that a config in the form of timm's `pretrained_cfg` describes.

    Raises:
        ModelRefused: A key is missing, or has an invalid value.
    """
    missing = [key for key in REQUIRED_KEYS if config.get(key) is None]
    if missing:
        raise ModelRefused(
            f"{model}: The preprocessing is unknown: {', '.join(missing)} missing. Put a config.json with timm's "
            "pretrained_cfg beside the weights."
        )
    _check_config(model, config)
    data_config = resolve_data_config(pretrained_cfg=dict(config))
    transform = create_transform(**data_config, is_training=False, use_prefetcher=True)  # returns uint8

    height, width = data_config["input_size"][1:]
    shorter_side = max(height, width) / data_config["crop_pct"]

    def single(image: Image.Image) -> torch.Tensor:
        check_resized(image, shorter_side)
        try:
            return torch.as_tensor(transform(image))
        except ValueError as error:  # a very elongated image has no pixels left
            raise UnreadableImage(
                f"The image has {image.width} x {image.height} pixels, and cannot be resized: {error!s:.120}."
            ) from error

    mean, std = tuple(data_config["mean"]), tuple(data_config["std"])
    description = (
        f"resize {data_config['crop_pct']:.3f} {data_config['crop_mode']} {data_config['interpolation']}, "
        f"{height}x{width}, mean {mean}, std {std}"
    )
    return Preprocessing(single, Normalize(mean, std), description)


def pretrained_config(module: torch.nn.Module) -> dict[str, Any]:
    """Return the pretrained_cfg of a model that timm created."""
    config: Any = module.pretrained_cfg
    return dict(config)


def torchvision_preprocessing(model: str, transform: object) -> Preprocessing:
    """Return the transform of torchvision's weights; raise ModelRefused unless it is that of a classifier."""
    if not isinstance(transform, ImageClassification):
        raise ModelRefused(
            f"{model}: The weights have the transform {type(transform).__name__}. Choose the weights of a classifier."
        )

    def single(image: Image.Image) -> torch.Tensor:
        size, interpolation = transform.resize_size, transform.interpolation
        check_resized(image, max(size))
        resized = functional.resize(image, size, interpolation=interpolation, antialias=transform.antialias)
        pixels: torch.Tensor = functional.pil_to_tensor(functional.center_crop(resized, transform.crop_size))
        return pixels

    batch = Normalize(tuple(transform.mean), tuple(transform.std))
    return Preprocessing(single, batch, " ".join(repr(transform).split()))


def check_resized(image: Image.Image, shorter_side: float) -> None:
    """Raise UnreadableImage if an image would be too large after a resize of its shorter side to this many pixels."""
    pixels = shorter_side**2 * max(image.size) / min(image.size)
    if pixels > MAX_PIXELS:
        raise UnreadableImage(f"The resized image has {pixels:.0f} pixels. Expected at most {MAX_PIXELS:,} pixels.")


def _check_config(model: str, config: Mapping[str, Any]) -> None:
    size = config["input_size"]
    is_size_valid = _are_numbers(size, 3, int) and size[0] == 3 and all(1 <= side <= MAX_SIDE for side in size[1:])
    checks = {
        "input_size": (f"[3, height, width] of at most {MAX_SIDE}", is_size_valid),
        "mean": ("three numbers", _are_numbers(config["mean"], 3, (int, float))),
        "std": (
            "three positive numbers",
            _are_numbers(config["std"], 3, (int, float)) and all(value > 0 for value in config["std"]),
        ),
        "interpolation": (f"one of {', '.join(INTERPOLATIONS)}", config["interpolation"] in INTERPOLATIONS),
        "crop_pct": (
            f"a number from 0.01 to 2, with input_size / crop_pct of at most {MAX_RESIZED} pixels",
            _are_numbers([config["crop_pct"]], 1, (int, float))
            and 0.01 <= config["crop_pct"] <= 2
            and (not is_size_valid or max(size[1:]) / config["crop_pct"] <= MAX_RESIZED),
        ),
        "crop_mode": (f"one of {', '.join(CROP_MODES)}", (config.get("crop_mode") or "center") in CROP_MODES),
    }
    for key, (expected, is_valid) in checks.items():
        if not is_valid:
            raise ModelRefused(f"{model}: Expected {key} to be {expected}, got {config.get(key)!r:.80}.")


def _are_numbers(value: object, count: int, kind: type[int] | tuple[type[int], type[float]]) -> bool:
    return isinstance(value, list | tuple) and len(value) == count and all(_is_number(number, kind) for number in value)


def _is_number(value: object, kind: type[int] | tuple[type[int], type[float]]) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool) and abs(value) <= MAX_NUMBER
