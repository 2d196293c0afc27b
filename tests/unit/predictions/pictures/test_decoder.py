"""The decoder: sizes, color modes, metadata, and files that are not images."""

import io
import itertools

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError
from unit.predictions.pictures.pictures import decode, encode, png_of_size

from service.predictions.pictures import decoder
from service.predictions.pictures.decoder import make_jpeg
from service.predictions.pictures.messages import PictureRequest

THUMBNAIL = PictureRequest(100, 80, is_thumbnail=True)
EXACT = PictureRequest(2048, 95, is_thumbnail=False)


def colors(content: bytes, *, request: PictureRequest = EXACT) -> np.ndarray:
    return np.asarray(decode(make_jpeg(content, request)), dtype=int)


@pytest.mark.parametrize(("size", "expected"), [((800, 400), (100, 50)), ((300, 900), (33, 100)), ((10, 20), (10, 20))])
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM"])
def test_a_picture_fits_its_size_and_is_not_enlarged(size, expected, format: str) -> None:
    picture = decode(make_jpeg(encode(Image.new("RGB", size, "red"), format), THUMBNAIL))

    assert (picture.size, picture.mode) == (expected, "RGB")
    assert np.abs(np.asarray(picture, dtype=int) - (255, 0, 0)).max() < 8


@pytest.mark.parametrize(
    ("image", "format", "expected"),
    [
        (Image.new("L", (8, 8), 100), "PNG", (100, 100, 100)),
        (Image.new("1", (8, 8), 1), "PNG", (255, 255, 255)),
        (Image.new("LA", (8, 8), (100, 0)), "PNG", (100, 100, 100)),
        (Image.new("RGBA", (8, 8), (0, 0, 255, 0)), "PNG", (0, 0, 255)),
        (Image.new("RGB", (8, 8), (0, 128, 0)).quantize(), "GIF", (0, 128, 0)),
        (Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", (255, 0, 0)),
        (Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "TIFF", (255, 0, 0)),
    ],
    ids=lambda value: getattr(value, "mode", None),
)
def test_every_color_mode_becomes_rgb(image: Image.Image, format: str, expected: tuple[int, ...]) -> None:
    assert np.abs(colors(encode(image, format)) - expected).max() < 8


@pytest.mark.parametrize(
    ("values", "format"),
    [
        (np.linspace(0, 65535, 64 * 64).astype(np.uint16), "PNG"),
        (np.linspace(0, 65535, 64 * 64).astype(np.uint16), "TIFF"),
        (np.linspace(0, 65535, 64 * 64).astype(np.int32), "PPM"),
        (np.linspace(-5, 100_000, 64 * 64).astype(np.int32), "TIFF"),
        (np.linspace(0, 1, 64 * 64).astype(np.float32), "TIFF"),
    ],
)
def test_deep_images_use_their_whole_range(values: np.ndarray, format: str) -> None:
    """Pillow would show values above 255 as white."""
    gray = colors(encode(Image.fromarray(values.reshape(64, 64)), format))[:, :, 0].mean(axis=1)

    assert gray[0] < 10 and gray[-1] > 245
    assert abs(gray[32] - 128) < 10
    assert all(low <= high + 1 for low, high in itertools.pairwise(gray))


def test_a_deep_image_without_contrast_is_dark_and_one_that_is_not_finite_is_refused() -> None:
    assert colors(encode(Image.fromarray(np.full((8, 8), 7, np.int32)), "TIFF")).max() == 0
    for value in (np.nan, np.inf, -np.inf):
        for place in (0, 9):
            values = np.arange(64, dtype=np.float32)
            values[place] = value
            with pytest.raises(ValueError, match="not finite"):
                make_jpeg(encode(Image.fromarray(values.reshape(8, 8)), "TIFF"), EXACT)


def test_an_animation_shows_its_first_frame() -> None:
    frames = [Image.new("RGB", (16, 16), color) for color in ("red", "green", "blue")]
    for format in ("GIF", "WEBP"):
        content = encode(frames[0], format, save_all=True, append_images=frames[1:])

        assert np.abs(colors(content) - (255, 0, 0)).max() < 8


def test_orientation_is_ignored_and_metadata_are_removed() -> None:
    """Models get the pixels as they are stored. The position of a photographer is private."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "taken by Jane Roe"
    content = encode(Image.new("RGB", (40, 20)), "JPEG", exif=exif, comment=b"Jane Roe", icc_profile=b"Jane Roe" * 9)
    assert b"Jane Roe" in content

    picture = make_jpeg(content, EXACT)

    assert decode(picture).size == (40, 20)
    assert b"Jane Roe" not in picture and not decode(picture).getexif()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xd8\xff not an image",
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        b"<!doctype html><script>alert(1)</script>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"%PDF-1.7\n",
        encode(Image.new("RGB", (8, 8)), "ICO"),
    ],
    ids=["empty", "magic", "svg", "html", "eps", "pdf", "ico"],
)
def test_other_formats_are_refused_before_they_are_decoded(content: bytes) -> None:
    with pytest.raises(UnidentifiedImageError):
        make_jpeg(content, THUMBNAIL)


@pytest.mark.parametrize(
    "content",
    [
        encode(Image.new("RGB", (64, 64)), "JPEG")[:200],
        encode(Image.effect_noise((64, 64), 90), "PNG")[:2000],
        encode(Image.effect_noise((64, 64), 90), "GIF")[:500],
        encode(Image.effect_noise((64, 64), 90), "WEBP")[:500],
        encode(Image.effect_noise((64, 64), 90), "TIFF")[:500],
    ],
    ids=["jpeg", "png", "gif", "webp", "tiff"],
)
def test_truncated_files_are_refused(content: bytes) -> None:
    with pytest.raises(OSError):  # noqa: PT011 - the message depends on the format
        make_jpeg(content, THUMBNAIL)


def test_the_content_determines_the_format_and_the_name_does_not() -> None:
    """A file of two formats has only the pixels of one left."""
    polyglot = encode(Image.new("RGB", (8, 8)), "GIF") + b"<script>alert(1)</script>"

    assert b"script" not in make_jpeg(polyglot, THUMBNAIL)


def test_an_image_with_too_many_pixels_is_refused_by_its_header(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image.Image, "load", lambda *_: pytest.fail("the image was decoded"))

    for width, height in ((8192, 4097), (1, 1 << 30), (60_000, 1_000)):
        with pytest.raises((ValueError, Image.DecompressionBombError), match="pixels"):
            make_jpeg(png_of_size(width, height), THUMBNAIL)


def test_the_largest_permitted_image_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder, "MAX_PIXELS", 5000)

    assert decode(make_jpeg(encode(Image.new("RGB", (100, 50))), THUMBNAIL)).size == (100, 50)
    with pytest.raises(ValueError, match="5,000"):
        make_jpeg(encode(Image.new("RGB", (100, 51))), THUMBNAIL)


def test_a_large_jpeg_is_decoded_at_a_fraction_of_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    convert = Image.Image.convert
    monkeypatch.setattr(
        Image.Image, "convert", lambda image, *args: (sizes.append(image.size), convert(image, *args))[1]
    )

    make_jpeg(encode(Image.new("RGB", (1600, 800)), "JPEG"), THUMBNAIL)

    assert sizes == [(200, 100)]


def test_colors_of_pictures_have_the_full_resolution() -> None:
    stripes = np.zeros((32, 32, 3), np.uint8)
    stripes[:, ::2] = (255, 0, 0)
    content = encode(Image.fromarray(stripes))

    assert np.abs(colors(content) - stripes).max() < 40 < np.abs(colors(content, request=THUMBNAIL) - stripes).max()


def test_a_picture_with_the_same_content_has_the_same_bytes() -> None:
    content = encode(Image.effect_noise((300, 200), 50), "PNG")

    assert make_jpeg(content, THUMBNAIL) == make_jpeg(io.BytesIO(content).read(), THUMBNAIL)
