"""Images of every mode become RGB, with the same values for models, encoders, and pages."""

import io
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from unit.predictions.pictures.pictures import decode, encode

from service import image_formats
from service.image_formats import DEEP_MODES, EXTENSIONS, FORMATS, decoding_suffix, to_rgb
from service.predictions.models.images import ImageFolder, UnreadableImage
from service.predictions.pictures.decoder import make_jpeg
from service.predictions.pictures.messages import PictureRequest

RAMP = np.arange(0, 65536, 16).reshape(64, 64)


def test_every_extension_belongs_to_a_format() -> None:
    Image.init()

    assert {Image.registered_extensions()[extension] for extension in EXTENSIONS} == set(FORMATS)


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_a_new_decoding_changes_the_keys_of_formats_with_deep_images(
    monkeypatch: pytest.MonkeyPatch, extension: str
) -> None:
    format = Image.registered_extensions()[extension]
    modes = set()
    for mode in DEEP_MODES:
        with suppress(OSError, KeyError, ValueError):
            modes.add(Image.open(io.BytesIO(encode(Image.new(mode, (4, 4)), format))).mode)
    names = [f"a{extension}", f"a{extension.upper()}"]
    before = [decoding_suffix(name) for name in names]
    monkeypatch.setattr(image_formats, "DECODING", "3")

    are_changed = [decoding_suffix(name) != suffix for name, suffix in zip(names, before, strict=True)]

    assert are_changed == [bool(modes & {*DEEP_MODES})] * 2


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_images_with_8_bits_are_converted_as_pillow_does(mode: str) -> None:
    image = Image.effect_noise((16, 16), 90).convert("RGB").convert(mode)

    assert to_rgb(image).tobytes() == image.convert("RGB").tobytes()


@pytest.mark.parametrize(("mode", "format"), [("I;16", "PNG"), ("I;16", "TIFF"), ("I;16B", "TIFF"), ("I", "PPM")])
def test_16_bit_integers_are_divided_by_257(mode: str, format: str) -> None:
    dtype = {"I;16": "<u2", "I;16B": ">u2", "I": "<i4"}[mode]
    for values in (RAMP, RAMP // 16 + 20_000):  # the whole range, and a part of it
        content = encode(Image.frombytes(mode, (64, 64), values.astype(dtype).tobytes()), format)
        with Image.open(io.BytesIO(content)) as image:
            gray = np.asarray(to_rgb(image))

        assert np.array_equal(gray, np.repeat(np.rint(values / 257).astype(np.uint8)[:, :, None], 3, axis=2))


@pytest.mark.parametrize("values", [RAMP * 30 - 70_000, (RAMP / 65536).astype(np.float32)], ids=["integers", "floats"])
def test_values_without_a_defined_range_are_scaled_by_their_extremes(values: np.ndarray) -> None:
    dtype = np.float32 if values.dtype == np.float32 else np.int32

    gray = np.asarray(to_rgb(Image.fromarray(values.astype(dtype))), dtype=float)

    expected = (values - values.min()) / (values.max() - values.min()) * 255
    assert np.abs(gray - expected[:, :, None]).max() <= 1


def test_the_largest_values_are_finite() -> None:
    values = np.array([[np.finfo(np.float32).max, np.finfo(np.float32).min]], np.float32)

    assert np.asarray(to_rgb(Image.fromarray(values)))[0, :, 0].tolist() == [255, 0]


def test_models_and_pages_see_the_same_deep_image(tmp_path: Path) -> None:
    content = encode(Image.fromarray((RAMP // 4 + 9000).astype(np.uint16)), "PNG")
    (tmp_path / "a.png").write_bytes(content)

    of_model = np.asarray(ImageFolder(tmp_path).open("a.png"), dtype=int)
    of_page = np.asarray(decode(make_jpeg(content, PictureRequest(2048, 95, is_thumbnail=False))), dtype=int)

    assert of_model.min() == 35 and of_model.max() == 99
    assert np.abs(of_model - of_page).max() <= 3  # of JPEG


def test_models_get_the_pixels_of_an_image_without_its_orientation(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    (tmp_path / "a.jpg").write_bytes(encode(Image.new("RGB", (40, 20)), "JPEG", exif=exif))

    assert ImageFolder(tmp_path).open("a.jpg").size == (40, 20)


def test_an_image_with_a_value_that_is_not_finite_is_unreadable(tmp_path: Path) -> None:
    values = np.zeros((8, 8), np.float32)
    values[3, 4] = np.nan
    (tmp_path / "a.tif").write_bytes(encode(Image.fromarray(values), "TIFF"))

    with pytest.raises(UnreadableImage, match="values that are not finite"):
        ImageFolder(tmp_path).open("a.tif")
