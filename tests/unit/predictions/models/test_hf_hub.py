"""Models of the source hf-hub, from a local fake hub: only safetensors within the limits are loaded."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import timm
import torch
from errata.errors import ModelNotFound, ModelRefused, Unavailable
from huggingface_hub import constants
from safetensors.torch import save
from unit.predictions.hub_server import FakeHub, serving
from unit.predictions.label_spaces import label_space

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


def test_other_arguments_with_the_same_weights_have_other_settings(hub: FakeHub) -> None:
    """Otherwise the cached predictions of the first model would be used."""
    first = source.load("org/small", ModelPolicy(), imagenet_1k()).info
    config = json.dumps(CONFIG | {"model_args": {"act_layer": "relu"}}).encode()
    hub.repositories["org/other"] = hub.repositories["org/small"] | {"config.json": config}

    second = source.load("org/other", ModelPolicy(), imagenet_1k()).info

    assert second.weights_sha256 == first.weights_sha256 and second.settings_sha256 != first.settings_sha256


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
        (json.dumps(CONFIG | {"num_classes": 21_841}), "21841 outputs. The label space has 1000 classes"),
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

    with pytest.raises(ModelRefused, match=r"2000 outputs. The label space has 1000 classes"):
        source.load("org/small", ModelPolicy(), imagenet_1k())


def with_ten_outputs(hub: FakeHub, **config: object) -> None:
    small = timm.create_model("test_vit", pretrained=False, num_classes=10)
    weights = save({name: value.contiguous() for name, value in small.state_dict().items()})
    change(hub, config_json=json.dumps(CONFIG | {"num_classes": 10} | config).encode(), model_safetensors=weights)


def test_label_names_assign_the_outputs_to_the_classes_of_a_label_space(hub: FakeHub) -> None:
    """The outputs are in reverse order, named by ID or name; class 0 has no output."""
    names = [f"id-{number}" if number % 2 else f"Name {number}" for number in range(10, 1, -1)]
    with_ten_outputs(hub, label_names=[*names, None])

    loaded = source.load("org/small", ModelPolicy(), label_space(11))

    images = torch.rand((2, 3, 160, 160))
    normalized, network, mapped = loaded.module
    raw = network(normalized(images))
    scores = mapped(raw)
    assert scores[:, 2:].tolist() == raw[:, :9].flip(1).tolist()
    assert scores[:, :2].tolist() == [[-torch.inf] * 2] * 2
    assert ", 9 of 10 outputs mapped" in loaded.info.transform


def test_outputs_without_names_are_rejected_for_another_label_space(hub: FakeHub) -> None:
    """Also if there are as many outputs as classes: a model of ImageNet may have the classes of the label space."""
    with_ten_outputs(hub)
    for space in (label_space(10), label_space(1000)):
        with pytest.raises(ModelRefused, match=r"config\.json does not name the classes .* Write label_names in it"):
            source.load("org/small", ModelPolicy(), space)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([f"id-{number}" for number in range(9)], "has 9 entries, but the model has 10 outputs"),
        (["no such class", *range(9)], r"Output 0 has the entry 'no such class'\. Expected a class index from 0 to 9"),
        ([1, 1, *range(2, 10)], r"Class 1 has the outputs 0 and 1"),
        ({"0": "id-0"}, "Expected an array"),
    ],
)
def test_unusable_label_names_are_rejected(hub: FakeHub, names: object, message: str) -> None:
    with_ten_outputs(hub, label_names=names)

    with pytest.raises(ModelRefused, match=f"label_names in config.json of hf-hub:org/small.*{message}"):
        source.load("org/small", ModelPolicy(), label_space(10))


def test_a_pretrained_model_of_timm_is_rejected_for_another_label_space(hub: FakeHub) -> None:
    with pytest.raises(ModelRefused, match="predicts ImageNet-1k classes, but the data set has 1000 other classes"):
        timm_source.load("test_vit", ModelPolicy(), label_space(1000))


def test_an_unreachable_hub_raises_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect("http://127.0.0.1:1", tmp_path / "cache", monkeypatch)

    with pytest.raises(Unavailable) as caught:
        timm_source.load("test_vit", ModelPolicy(), imagenet_1k())
    assert caught.value.retry_after == 30.0
