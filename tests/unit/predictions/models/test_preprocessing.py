"""Transforms in two steps equal the library's own transforms, and incomplete ones are rejected."""

import numpy as np
import pytest
import torch
import torchvision
from errata.errors import ModelRefused
from PIL import Image
from timm.data.config import resolve_data_config
from timm.data.transforms_factory import create_transform
from torchvision.transforms._presets import ImageClassification

from service.predictions.models.images import UnreadableImage
from service.predictions.models.preprocessing import Normalize, timm_preprocessing, torchvision_preprocessing

CONFIG = {
    "input_size": (3, 96, 128),
    "mean": (0.1, 0.2, 0.3),
    "std": (0.4, 0.5, 0.6),
    "interpolation": "bicubic",
    "crop_pct": 0.9,
}


@pytest.fixture(params=[(200, 150), (150, 300), (96, 128), (20, 30)], ids=str)
def image(request: pytest.FixtureRequest) -> Image.Image:
    width, height = request.param
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise)


@pytest.mark.parametrize("crop_mode", ["center", "squash", "border"])
def test_timms_transform_in_two_steps_equals_the_original(image: Image.Image, crop_mode: str) -> None:
    config = CONFIG | {"crop_mode": crop_mode}
    prepared = timm_preprocessing("m", config)

    result = prepared.batch(prepared.single(image)[None])[0]

    own = create_transform(**resolve_data_config(pretrained_cfg=config), is_training=False)(image)
    torch.testing.assert_close(result, own, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["ResNet50_Weights.IMAGENET1K_V2", "ViT_L_16_Weights.IMAGENET1K_SWAG_E2E_V1"])
def test_torchvisions_transform_in_two_steps_equals_the_original(image: Image.Image, name: str) -> None:
    own = torchvision.models.get_weight(name).transforms()
    prepared = torchvision_preprocessing("m", own)

    result = prepared.batch(prepared.single(image)[None])[0]

    torch.testing.assert_close(result, own(image), rtol=0, atol=1e-5)


def test_an_image_without_pixels_after_the_resize_is_unreadable() -> None:
    prepared = timm_preprocessing("m", CONFIG | {"crop_mode": "border", "input_size": (3, 32, 32)})

    with pytest.raises(UnreadableImage, match="500 x 5 pixels, and cannot be resized"):
        prepared.single(Image.new("RGB", (500, 5)))


def test_each_channel_is_normalized_separately() -> None:
    pixels = torch.tensor([255, 0, 51], dtype=torch.uint8).view(1, 3, 1, 1)

    result = Normalize((0.5, 0.5, 0.1), (0.5, 0.25, 0.1))(pixels)

    assert result.flatten().tolist() == pytest.approx([1.0, -2.0, 1.0])  # (1 - .5)/.5, (0 - .5)/.25, (.2 - .1)/.1


def test_the_transform_is_described() -> None:
    assert timm_preprocessing("m", CONFIG).description == (
        "resize 0.900 center bicubic, 96x128, mean (0.1, 0.2, 0.3), std (0.4, 0.5, 0.6)"
    )


@pytest.mark.parametrize("key", list(CONFIG))
def test_an_incomplete_transform_is_rejected(key: str) -> None:
    with pytest.raises(ModelRefused, match=f"{key} missing. Put a config.json"):
        timm_preprocessing("m", {name: value for name, value in CONFIG.items() if name != key})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("input_size", [1, 28, 28]),
        ("input_size", [3, 0, 224]),
        ("input_size", [3, 224]),
        ("input_size", [3, 224, 1_000_000]),
        ("input_size", "224"),
        ("mean", [0.5]),
        ("mean", [0.5, 0.5, "0.5"]),
        ("mean", [0.5, 0.5, 10**400]),  # too large for a float
        ("mean", [0.5, 0.5, float("nan")]),
        ("std", [0.5, 0, 0.5]),
        ("std", [0.5, 0.5, float("inf")]),
        ("std", 0.5),
        ("interpolation", "cubic"),
        ("interpolation", ["bicubic"]),
        ("crop_pct", 0),
        ("crop_pct", "0.9"),
        ("crop_mode", "random"),
    ],
)
def test_an_invalid_transform_is_rejected(key: str, value: object) -> None:
    with pytest.raises(ModelRefused, match=f"Expected {key} to be"):
        timm_preprocessing("m", CONFIG | {key: value})


def test_a_transform_that_enlarges_images_without_bound_is_rejected() -> None:
    config = CONFIG | {"input_size": [3, 224, 224]}
    timm_preprocessing("m", config | {"crop_pct": 0.0547})

    with pytest.raises(ModelRefused, match="at most 4096 pixels"):
        timm_preprocessing("m", config | {"crop_pct": 0.0546})


@pytest.mark.parametrize("size", [(300, 3), (3, 300)])
def test_an_image_that_would_be_too_large_when_resized_is_unreadable(size: tuple[int, int]) -> None:
    resized = 1024  # of the shorter side: 105 million pixels
    image = Image.new("RGB", size)
    timms = timm_preprocessing("m", CONFIG | {"input_size": [3, resized, resized], "crop_pct": 1.0})
    torchvisions = torchvision_preprocessing("m", ImageClassification(crop_size=224, resize_size=resized))

    for preparation in (timms, torchvisions):
        with pytest.raises(UnreadableImage, match=r"has 104857600 pixels. Expected at most 67,108,864"):
            preparation.single(image)


def test_the_transform_of_another_task_is_rejected() -> None:
    other = torchvision.models.segmentation.FCN_ResNet50_Weights.DEFAULT.transforms()

    with pytest.raises(ModelRefused, match=r"transform SemanticSegmentation.*weights of a classifier"):
        torchvision_preprocessing("m", other)


@pytest.mark.parametrize("share", [1e-300, 0, -1, 2.5, "0.9", True])
def test_a_share_of_the_image_that_no_crop_has_is_rejected(share: object) -> None:
    with pytest.raises(ModelRefused, match=r"crop_pct to be a number from 0\.01 to 2"):
        timm_preprocessing("m", CONFIG | {"crop_pct": share})
