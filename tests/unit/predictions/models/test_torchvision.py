"""Models of the source torchvision: names, weights, and transforms, with weights in a local cache."""

from pathlib import Path

import pytest
import torch
import torchvision as library
from errata.errors import ModelNotFound, ModelRefused, Unavailable
from PIL import Image

from service.predictions.model_policy import ModelPolicy
from service.predictions.models import torchvision
from service.predictions.models.loaded_model import weights_digest
from service.taxonomy.imagenet_1k import imagenet_1k

FILE = "squeezenet1_1-b8a52dc0.pth"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def module(cache: Path) -> torch.nn.Module:
    torch.manual_seed(0)
    model = library.models.squeezenet1_1(weights=None).eval()
    torch.save(model.state_dict(), cache / FILE)
    return model


@pytest.mark.parametrize("rest", ["squeezenet1_1", "squeezenet1_1/IMAGENET1K_V1", "squeezenet1_1/DEFAULT"])
def test_a_model_has_the_full_name_of_its_weights(module: torch.nn.Module, rest: str) -> None:
    loaded = torchvision.load(rest, ModelPolicy(), imagenet_1k())

    assert loaded.info.model == "torchvision:squeezenet1_1/IMAGENET1K_V1"
    assert loaded.info.weights_sha256 == weights_digest(module)
    assert "resize_size=[256]" in loaded.info.transform


def test_scores_are_those_of_torchvision_with_the_transform_of_the_weights(module: torch.nn.Module) -> None:
    image = Image.effect_noise((300, 250), 60).convert("RGB")
    transform = library.models.SqueezeNet1_1_Weights.DEFAULT.transforms()

    loaded = torchvision.load("squeezenet1_1", ModelPolicy(), imagenet_1k())

    result = loaded.module(loaded.preprocess(image)[None])
    torch.testing.assert_close(result, module(transform(image)[None]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ("resnet51", "Similar names: .*resnet50"),
        ("fcn_resnet50", "has no classifier"),  # segments
        ("quantized_resnet50", "has no classifier"),
        ("resnet50/IMAGENET1K_V3", "Expected one of IMAGENET1K_V1, IMAGENET1K_V2"),
    ],
)
def test_unknown_torchvision_models_are_not_found(rest: str, message: str) -> None:
    with pytest.raises(ModelNotFound, match=message):
        torchvision.load(rest, ModelPolicy(), imagenet_1k())


def test_a_broken_file_in_the_cache_is_rejected_and_named(cache: Path) -> None:
    (cache / FILE).write_bytes(b"not what it was")

    with pytest.raises(ModelRefused, match=FILE):
        torchvision.load("squeezenet1_1", ModelPolicy(), imagenet_1k())


def test_a_payload_in_the_cache_never_runs(cache: Path, tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple:
            return (open, (str(tmp_path / "it-ran"), "w"))

    torch.save({"features.0.weight": Payload()}, cache / FILE)

    with pytest.raises(ModelRefused, match="cannot be read"):
        torchvision.load("squeezenet1_1", ModelPolicy(), imagenet_1k())
    assert not (tmp_path / "it-ran").exists()


def test_a_failed_download_of_weights_raises_unavailable(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTPS_PROXY", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    with pytest.raises(Unavailable, match="download of the weights failed"):
        torchvision.load("squeezenet1_1", ModelPolicy(), imagenet_1k())


def test_the_limit_on_parameters_applies() -> None:
    with pytest.raises(ModelRefused, match="has 1,235,496 parameters"):  # as torchvision's documentation says
        torchvision.load("squeezenet1_1", ModelPolicy(max_parameters=1_000_000), imagenet_1k())
