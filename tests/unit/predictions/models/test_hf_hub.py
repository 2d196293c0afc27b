"""Models of the source hf-hub, from a local fake hub: only safetensors within the limits are loaded."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import timm
from errata.errors import ModelNotFound, ModelRefused, Unavailable
from huggingface_hub import constants
from safetensors.torch import save
from unit.predictions.hub_server import FakeHub, serving

from service.predictions.model_policy import ModelPolicy
from service.predictions.models import hf_hub as source
from service.predictions.models import timm as timm_source
from service.predictions.models.loaded_model import weights_digest
from service.taxonomy.imagenet_1k import imagenet_1k

TRANSFORM = {
    "input_size": [3, 160, 160],
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
    "interpolation": "bicubic",
    "crop_pct": 0.95,
    "num_classes": 1000,
}
CONFIG = {"architecture": "test_vit", "num_classes": 1000, "pretrained_cfg": TRANSFORM}


def connect(url: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: dict) -> Iterator[FakeHub]:
    files = {"config.json": json.dumps(CONFIG).encode(), "model.safetensors": save(state)}
    with serving(FakeHub(repositories={"org/small": files, "timm/test_vit.r160_in1k": files})) as running:
        connect(running.url, tmp_path / "cache", monkeypatch)
        yield running


def change(hub: FakeHub, **files: bytes | None) -> None:
    """Put other files in the repository; None takes one away."""
    changed = {**hub.repositories["org/small"], **{name.replace("_", "."): value for name, value in files.items()}}
    hub.repositories["org/small"] = {name: content for name, content in changed.items() if content is not None}


@pytest.mark.parametrize("revision", ["", "@main", "@" + "a" * 40])
def test_a_model_is_loaded_with_its_own_transform(hub: FakeHub, state: dict, revision: str) -> None:
    loaded = source.load(f"org/small{revision}", ModelPolicy(), imagenet_1k())

    own = timm.create_model("test_vit", pretrained=False)
    own.load_state_dict(state)
    assert loaded.info.weights_sha256 == weights_digest(own)
    assert loaded.info.model == f"hf-hub:org/small{revision}"
    assert loaded.info.transform == ("resize 0.950 center bicubic, 160x160, mean (0.5, 0.5, 0.5), std (0.5, 0.5, 0.5)")


def test_a_cached_commit_is_loaded_without_the_hub(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = source.load("org/small@" + "a" * 40, ModelPolicy(), imagenet_1k())
    connect("http://127.0.0.1:1", tmp_path / "cache", monkeypatch)

    assert source.load("org/small@" + "a" * 40, ModelPolicy(), imagenet_1k()).info == first.info


def test_weights_over_the_cap_are_never_fetched(hub: FakeHub) -> None:
    with pytest.raises(ModelRefused, match="at most 1,000 bytes"):
        source.load("org/small", ModelPolicy(max_download_bytes=1000), imagenet_1k())
    assert hub.fetched == ["config.json"]


def test_timms_own_models_have_the_same_cap(hub: FakeHub) -> None:
    with pytest.raises(ModelRefused, match="at most 1,000 bytes"):
        timm_source.load("test_vit", ModelPolicy(max_download_bytes=1000), imagenet_1k())
    assert hub.fetched == []


def test_models_of_timm_have_their_full_names(hub: FakeHub, state: dict) -> None:
    loaded = timm_source.load("test_vit", ModelPolicy(), imagenet_1k())

    own = timm.create_model("test_vit", pretrained=False)
    own.load_state_dict(state)
    assert loaded.info.model == "timm:test_vit.r160_in1k"
    assert loaded.info.architecture == "test_vit.r160_in1k"
    assert loaded.info.weights_sha256 == weights_digest(own)


def test_timms_own_weights_that_are_truncated_are_rejected(hub: FakeHub, state: dict) -> None:
    files = hub.repositories["timm/test_vit.r160_in1k"]
    hub.repositories["timm/test_vit.r160_in1k"] = {**files, "model.safetensors": save(state)[:-1000]}

    with pytest.raises(ModelRefused, match="truncated"):
        timm_source.load("test_vit", ModelPolicy(), imagenet_1k())


def test_a_repository_with_only_pickles_is_rejected_and_they_are_not_downloaded(hub: FakeHub) -> None:
    change(hub, model_safetensors=None)
    hub.repositories["org/small"] = {**hub.repositories["org/small"], "pytorch_model.bin": b"a pickle"}

    with pytest.raises(ModelRefused, match=r"has no model\.safetensors"):
        source.load("org/small", ModelPolicy(), imagenet_1k())
    assert hub.fetched == ["config.json"]


@pytest.mark.parametrize("rest", ["org/nowhere", "org/small@nowhere", "org/small@" + "c" * 40])
def test_a_missing_model_is_not_found_on_the_hub(hub: FakeHub, rest: str) -> None:
    with pytest.raises(ModelNotFound):
        source.load(rest, ModelPolicy(), imagenet_1k())


def test_truncated_weights_are_rejected(hub: FakeHub, state: dict) -> None:
    change(hub, model_safetensors=save(state)[:-1000])

    with pytest.raises(ModelRefused, match="truncated"):
        source.load("org/small", ModelPolicy(), imagenet_1k())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "message"),
    [
        (b"{", "JSON"),
        (b"[]", "the form that timm writes"),
        (json.dumps(CONFIG | {"architecture": "bert"}), "an architecture of timm"),
        (json.dumps(CONFIG | {"architecture": None}), "an architecture of timm"),
        (json.dumps(CONFIG | {"architecture": "hf-hub:org/other"}), "an architecture of timm"),
        (json.dumps(CONFIG | {"num_classes": 21_841}), "21841 outputs. Expected 1000"),
        (json.dumps(CONFIG | {"pretrained_cfg": {"num_classes": 1000}}), "preprocessing is unknown"),
        (json.dumps(CONFIG | {"model_args": {"checkpoint_path": "/etc/passwd"}}), "only change the shape"),
        (json.dumps(CONFIG | {"model_args": {"pretrained": True}}), "only change the shape"),
        (json.dumps(CONFIG | {"model_args": {"no_such_argument": 1}}), "cannot create test_vit"),
        (json.dumps(CONFIG | {"model_args": {"embed_dim": 32}}), "do not match the architecture"),
    ],
)
def test_an_unusable_config_is_rejected(hub: FakeHub, config: str | bytes, message: str) -> None:
    change(hub, config_json=config if isinstance(config, bytes) else config.encode())

    with pytest.raises(ModelRefused, match=message):
        source.load("org/small", ModelPolicy(), imagenet_1k())


def test_weights_with_more_outputs_than_their_config_are_rejected(hub: FakeHub) -> None:
    big = timm.create_model("test_vit", pretrained=False, num_classes=2000)
    change(hub, model_safetensors=save({name: value.contiguous() for name, value in big.state_dict().items()}))

    with pytest.raises(ModelRefused, match=r"2000 outputs. Expected 1000"):
        source.load("org/small", ModelPolicy(), imagenet_1k())


def test_an_unreachable_hub_raises_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect("http://127.0.0.1:1", tmp_path / "cache", monkeypatch)

    with pytest.raises(Unavailable) as caught:
        timm_source.load("test_vit", ModelPolicy(), imagenet_1k())
    assert caught.value.retry_after == 30.0
