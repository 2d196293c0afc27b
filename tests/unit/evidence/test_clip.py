"""OpenClip with a tiny model of open_clip."""

import json
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from errata.errors import InvalidEvidence

from service.evidence.encoder import CachedEncoder, load_encoder, validate_embeddings

NAME = "errata-tiny"
CONFIG = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "patch_size": 16, "head_width": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}
TEXTS = ["A photo of a dog", "A photo of a paper towel", "A photo of a sea snake", "A photo of a 'hood"]


@pytest.fixture(scope="module")
def weights(open_clip: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights of a tiny model, in a local file, under a name that open_clip knows."""
    import torch

    folder = tmp_path_factory.mktemp("clip")
    (folder / f"{NAME}.json").write_text(json.dumps(CONFIG))
    open_clip.add_model_config(folder / f"{NAME}.json")
    torch.manual_seed(0)
    torch.save(open_clip.create_model(NAME).state_dict(), folder / "weights.pt")
    return folder / "weights.pt"


@pytest.fixture(scope="module")
def images(open_clip: Any, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Small pictures: JPEG and PNG, wide and high, color, gray and with transparency."""
    from PIL import Image

    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    result = []
    for number, (mode, suffix, shape) in enumerate(
        [("RGB", "jpg", (40, 60)), ("L", "jpg", (50, 33)), ("RGBA", "png", (32, 32)), ("RGB", "png", (90, 31))] * 2
    ):
        channels = {"RGB": (3,), "L": (), "RGBA": (4,)}[mode]
        path = folder / f"{number}.{suffix}"
        Image.fromarray(rng.integers(0, 256, (*shape, *channels), dtype=np.uint8), mode=None).save(path)
        result.append(str(path))
    return result


def encoder(weights: Path, batch: int = 64) -> Any:
    from service.evidence.clip import OpenClip

    return OpenClip(NAME, str(weights), "gelu", batch=batch)


def by_hand(open_clip: Any, weights: Path, paths: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return what the model itself gives for the images and TEXTS, one after another, normalized in float64."""
    import torch
    from PIL import Image

    model, _, transform = open_clip.create_model_and_transforms(NAME)
    model.load_state_dict(torch.load(weights, weights_only=True))
    model.eval()
    tokenize = open_clip.get_tokenizer(NAME)
    with torch.no_grad():
        images = [model.encode_image(transform(Image.open(path).convert("RGB"))[None])[0].numpy() for path in paths]
        texts = [model.encode_text(tokenize([text]))[0].numpy() for text in TEXTS]
    return tuple(
        np.array([vector.astype(float) / np.linalg.norm(vector.astype(float)) for vector in item])
        for item in (images, texts)
    )


def test_embeddings_agree_with_the_model(open_clip: Any, weights: Path, images: list[str]) -> None:
    expected_images, expected_texts = by_hand(open_clip, weights, images)

    result = encoder(weights)

    for actual, expected in (
        (result.embed_images(images), expected_images),
        (result.embed_texts(TEXTS), expected_texts),
    ):
        assert actual.dtype == np.float32
        assert actual.shape == (len(expected), 24)
        assert np.allclose(actual, expected, atol=1e-3 if on_gpu() else 1e-5)
        assert np.linalg.norm(expected[0] - expected[1]) > 1e-3  # they differ, so the order is the order given


def test_a_16_bit_image_has_the_embedding_of_its_8_bits(weights: Path, tmp_path: Path) -> None:
    from PIL import Image

    gray = np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)
    Image.fromarray(gray).save(tmp_path / "8.png")
    Image.fromarray(gray.astype(np.uint16) * 257).save(tmp_path / "16.png")

    shallow, deep = encoder(weights, 1).embed_images([str(tmp_path / "8.png"), str(tmp_path / "16.png")])

    assert deep.tobytes() == shallow.tobytes()


def on_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


@pytest.mark.parametrize("batch", [1, 3])
def test_embeddings_do_not_depend_on_the_batch_size(weights: Path, images: list[str], batch: int) -> None:
    whole, parts = encoder(weights), encoder(weights, batch)

    assert np.allclose(parts.embed_images(images), whole.embed_images(images), atol=1e-5)
    assert np.allclose(parts.embed_texts(TEXTS), whole.embed_texts(TEXTS), atol=1e-5)


def test_embeddings_are_normalized(weights: Path, images: list[str], tmp_path: Path) -> None:
    result = encoder(weights)
    answer = result.embed_texts(TEXTS)

    assert validate_embeddings(answer, len(TEXTS), 24, "texts").tobytes() == answer.tobytes()
    cached = CachedEncoder(result, tmp_path, lambda what, done, total: None)
    assert cached.texts(TEXTS).shape == (len(TEXTS), 24)
    assert cached.images(images).shape == (len(images), 24)


def test_other_weights_have_another_cache(open_clip: Any, weights: Path, tmp_path: Path) -> None:
    import torch

    torch.manual_seed(1)
    torch.save(open_clip.create_model(NAME).state_dict(), tmp_path / "other.pt")

    for file in (weights, tmp_path / "other.pt"):
        CachedEncoder(encoder(file), tmp_path / "cache", lambda what, done, total: None).texts(TEXTS)

    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_weights_are_loaded_on_first_use(open_clip: Any) -> None:
    result = load_encoder("service.evidence.clip:OpenClip")

    assert type(result).__name__ == "OpenClip"


def test_environment_selects_the_model_and_its_weights(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ERRATA_CLIP_MODEL", NAME)
    monkeypatch.setenv("ERRATA_CLIP_WEIGHTS", str(weights))
    monkeypatch.setenv("ERRATA_CLIP_ACTIVATION", "gelu")

    by_name = load_encoder("service.evidence.clip:OpenClip")
    assert np.array_equal(by_name.embed_texts(TEXTS), encoder(weights).embed_texts(TEXTS))


def test_unreadable_image_is_rejected_by_name(weights: Path, images: list[str], tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(Path(images[0]).read_bytes()[:200])

    with pytest.raises(InvalidEvidence, match=r"broken\.jpg"):
        encoder(weights).embed_images([images[1], str(broken)])


def test_an_image_that_pillow_refuses_with_any_error_is_rejected_by_name(
    weights: Path, images: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    def convert(self: Image.Image, mode: str) -> Image.Image:
        raise RuntimeError("Decoding of color planes failed")  # as Pillow's AVIF plugin

    monkeypatch.setattr(Image.Image, "convert", convert)
    with pytest.raises(InvalidEvidence, match=r"Cannot read the image .*0\.jpg: Decoding of color planes failed"):
        encoder(weights).embed_images(images[:1])


def test_a_format_that_starts_another_program_is_rejected(weights: Path, tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (8, 8)).save(tmp_path / "image.jpg", format="EPS")

    with pytest.raises(InvalidEvidence, match=r"Cannot read the image .*image\.jpg: cannot identify image file"):
        encoder(weights).embed_images([str(tmp_path / "image.jpg")])


def test_an_image_too_long_to_scale_is_rejected_by_name(weights: Path, tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (30_000, 1)).save(tmp_path / "line.png")

    with pytest.raises(InvalidEvidence, match=r"line\.png: a side is more than 1000 times as long"):
        encoder(weights).embed_images([str(tmp_path / "line.png")])


def test_a_pipe_is_rejected_by_name(weights: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")

    with pytest.raises(InvalidEvidence, match=r"pipe\.jpg: no regular file"):
        encoder(weights).embed_images([str(tmp_path / "pipe.jpg")])


def test_the_first_unreadable_image_is_named(weights: Path, images: list[str], tmp_path: Path) -> None:
    paths = [*images]
    for name, place in (("first.jpg", 3), ("second.jpg", 5)):
        (tmp_path / name).write_bytes(b"no image")
        paths.insert(place, str(tmp_path / name))
    before = threading.active_count()

    with pytest.raises(InvalidEvidence, match=r"first\.jpg") as error:
        encoder(weights, batch=2).embed_images(paths)

    assert error.value.violations[0].field == "images"
    assert threading.active_count() == before


def test_images_are_decoded_while_the_model_runs(
    weights: Path, images: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from service.evidence import clip

    decoded = [threading.Event() for _ in images]
    waits: list[bool] = []
    result = encoder(weights, batch=2)
    open_image, encode = clip._open, result._loaded.model.encode_image

    def opening(path: str) -> Any:
        decoded[images.index(path)].set()
        return open_image(path)

    def encoding(batch: Any) -> Any:
        waits.append(decoded[3].wait(30))  # an image of the next batch
        return encode(batch)

    monkeypatch.setattr(clip, "_open", opening)
    monkeypatch.setattr(result._loaded.model, "encode_image", encoding)
    result.embed_images(images)

    assert waits == [True] * 4


def test_decoding_leaves_the_number_of_threads_of_torch(weights: Path, images: list[str]) -> None:
    import torch

    threads: list[int] = []
    encoder(weights).embed_images(images)
    later = threading.Thread(target=lambda: threads.append(torch.get_num_threads()))
    later.start()
    later.join()

    assert threads == [torch.get_num_threads()]
