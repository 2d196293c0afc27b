"""One suite for all encoders: unit vectors, in the order of the inputs, independent of the batches."""

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from missing_tools import skip_or_fail

from service.evidence.encoder import CachedEncoder, Encoder, HashEncoder, validate_embeddings

TEXTS = ("A photo of a dog", "A photo of a paper towel", "A photo of a sea snake")


def tiny_clip(folder: Path) -> Encoder:
    """Create a CLIP model of a few thousand parameters, and load it with the production code."""
    if find_spec("open_clip") is None:
        skip_or_fail("open_clip is not installed: pip install errata-service[clip]")
    import open_clip
    import torch

    from service.evidence.clip import OpenClip

    config: dict[str, Any] = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "patch_size": 16, "head_width": 16},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
    }
    (folder / "errata-port.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder / "errata-port.json")
    torch.save(open_clip.create_model("errata-port").state_dict(), folder / "weights.pt")
    return OpenClip("errata-port", str(folder / "weights.pt"), "gelu")


MAKERS: dict[str, Callable[[Path], Encoder]] = {"hash": lambda _: HashEncoder(), "open_clip": tiny_clip}


@pytest.fixture(params=sorted(MAKERS))
def encoder(request: pytest.FixtureRequest, tmp_path: Path) -> Encoder:
    return MAKERS[request.param](tmp_path)


@pytest.fixture
def images(tmp_path: Path) -> list[str]:
    from PIL import Image

    paths = []
    for number in range(5):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 30 + number, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        paths.append(str(tmp_path / f"{number}.png"))
    return paths


def test_embeddings_are_unit_vectors_of_one_space(encoder: Encoder, images: list[str]) -> None:
    image_vectors, text_vectors = encoder.embed_images(images), encoder.embed_texts(TEXTS)

    assert image_vectors.shape == (5, text_vectors.shape[1])
    assert len(text_vectors) == 3
    for result in (image_vectors, text_vectors):
        assert result.dtype == np.float32
        assert np.linalg.norm(result, axis=1) == pytest.approx(np.ones(len(result)), abs=1e-5)
    assert validate_embeddings(image_vectors, 5, text_vectors.shape[1], "images").tobytes() == image_vectors.tobytes()


def test_each_embedding_depends_only_on_its_own_input(encoder: Encoder, images: list[str]) -> None:
    whole = encoder.embed_images(images)

    for row, image in enumerate(images):
        (alone,) = encoder.embed_images([image])
        assert alone == pytest.approx(whole[row], abs=1e-4)
    assert encoder.embed_texts(TEXTS[::-1]) == pytest.approx(encoder.embed_texts(TEXTS)[::-1], abs=1e-4)
    assert np.abs(whole[0] - whole[1]).max() > 1e-3


def test_embeddings_are_cached(encoder: Encoder, images: list[str], tmp_path: Path) -> None:
    def cached() -> CachedEncoder:
        return CachedEncoder(encoder, tmp_path / "cache", lambda what, done, total: None)

    first = cached().images(images)
    before = sorted((tmp_path / "cache").rglob("*.npy"))

    assert cached().images(images).tobytes() == first.tobytes()
    assert sorted((tmp_path / "cache").rglob("*.npy")) == before
