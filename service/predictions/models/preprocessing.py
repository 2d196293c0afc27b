"""How images become a model's input: one by one on the CPU, in threads, then a batch at a time where the model runs."""

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

NEEDED = ("input_size", "mean", "std", "interpolation", "crop_pct")  # a default for any of them would be a guess
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "box", "hamming", "lanczos")
CROP_MODES = ("center", "squash", "border")
MAX_SIDE = 2048  # pixels
MAX_NUMBER = 1e6  # of a mean or deviation; NaN, infinity, and integers that no float holds are above it
MAX_RESIZED = 4096  # pixels of the shorter side before the crop


@dataclass(frozen=True)
class Preprocessing:
    """A model's own transform, in two steps."""

    single: Callable[[Image.Image], torch.Tensor]  # RGB image -> (3, H, W)
    batch: torch.nn.Module  # (N, 3, H, W) of those -> the model's input
    description: str


class Normalize(torch.nn.Module):
    """Turns bytes into floats with a mean and a standard deviation per channel."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1) * 255)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return float32 (N, 3, H, W) for uint8 (N, 3, H, W)."""
        return images.float().sub_(self.mean).div_(self.std)


def timm_preprocessing(model: str, given: Mapping[str, Any]) -> Preprocessing:
    """Return the transform that a config in timm's `pretrained_cfg` form describes; raise ModelRefused for gaps."""
    missing = [key for key in NEEDED if given.get(key) is None]
    if missing:
        raise ModelRefused(
            f"{model}: expected a transform with {', '.join(NEEDED)}, got none of {', '.join(missing)}: give a "
            "config.json beside the weights, with timm's pretrained_cfg"
        )
    _check(model, given)
    config = resolve_data_config(pretrained_cfg=dict(given))
    transform = create_transform(**config, is_training=False, use_prefetcher=True)  # ends in uint8

    height, width = config["input_size"][1:]
    shorter = max(height, width) / config["crop_pct"]

    def single(image: Image.Image) -> torch.Tensor:
        _check_resized(image, shorter)
        return torch.as_tensor(transform(image))

    description = (
        f"resize {config['crop_pct']:.3f} {config['crop_mode']} {config['interpolation']}, {height}x{width}, "
        f"mean {tuple(config['mean'])}, std {tuple(config['std'])}"
    )
    return Preprocessing(single, Normalize(tuple(config["mean"]), tuple(config["std"])), description)


def pretrained_config(module: torch.nn.Module) -> dict[str, Any]:
    """Return what timm knows of a model that it has made: its pretrained_cfg."""
    config: Any = module.pretrained_cfg
    return dict(config)


def torchvision_preprocessing(model: str, transform: object) -> Preprocessing:
    """Return the transform of torchvision's weights; raise ModelRefused for one that isn't a classifier's."""
    if not isinstance(transform, ImageClassification):
        raise ModelRefused(
            f"{model}: expected a classifier's transform, got {type(transform).__name__}: use a classifier's weights"
        )

    def single(image: Image.Image) -> torch.Tensor:
        size, way = transform.resize_size, transform.interpolation
        _check_resized(image, max(size))
        resized = functional.resize(image, size, interpolation=way, antialias=transform.antialias)
        pixels: torch.Tensor = functional.pil_to_tensor(functional.center_crop(resized, transform.crop_size))
        return pixels

    batch = Normalize(tuple(transform.mean), tuple(transform.std))
    return Preprocessing(single, batch, " ".join(repr(transform).split()))


def _check_resized(image: Image.Image, shorter: float) -> None:
    """Raise BadImage if an image would be too large with a shorter side of this many pixels."""
    pixels = shorter**2 * max(image.size) / min(image.size)
    if pixels > MAX_PIXELS:
        raise UnreadableImage(f"expected at most {MAX_PIXELS} pixels after resizing, got {pixels:.0f}")


def _check(model: str, given: Mapping[str, Any]) -> None:
    size = given["input_size"]
    sides_fit = _numbers(size, 3, int) and size[0] == 3 and all(1 <= side <= MAX_SIDE for side in size[1:])
    wanted = {
        "input_size": (f"[3, height, width] of at most {MAX_SIDE}", sides_fit),
        "mean": ("three numbers", _numbers(given["mean"], 3, (int, float))),
        "std": (
            "three numbers over 0",
            _numbers(given["std"], 3, (int, float)) and all(value > 0 for value in given["std"]),
        ),
        "interpolation": (f"one of {', '.join(INTERPOLATIONS)}", given["interpolation"] in INTERPOLATIONS),
        "crop_pct": (
            "a number from 0.01 to 2 that leaves at most "
            f"{MAX_RESIZED} pixels (input_size / crop_pct) of the resized image's side",
            _numbers([given["crop_pct"]], 1, (int, float))
            and 0.01 <= given["crop_pct"] <= 2
            and (not sides_fit or max(size[1:]) / given["crop_pct"] <= MAX_RESIZED),
        ),
        "crop_mode": (f"one of {', '.join(CROP_MODES)}", (given.get("crop_mode") or "center") in CROP_MODES),
    }
    for key, (expected, holds) in wanted.items():
        if not holds:
            raise ModelRefused(f"{model}: expected {key} to be {expected}, got {given.get(key)!r:.80}")


def _numbers(value: object, count: int, kind: type[int] | tuple[type[int], type[float]]) -> bool:
    return isinstance(value, list | tuple) and len(value) == count and all(_is_number(item, kind) for item in value)


def _is_number(value: object, kind: type[int] | tuple[type[int], type[float]]) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool) and abs(value) <= MAX_NUMBER
