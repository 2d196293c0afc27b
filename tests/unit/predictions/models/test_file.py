"""Models of the source file: safe weights formats are loaded, and all other files are rejected."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from errata.errors import InvalidModelId, ModelNotFound, ModelRefused
from PIL import Image
from safetensors.torch import save_file
from unit.predictions.label_spaces import label_space

from service.predictions.model_policy import ModelPolicy
from service.predictions.models import file
from service.predictions.models.loaded_model import weights_digest
from service.taxonomy.imagenet_1k import imagenet_1k

SMALL = "test_vit"


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_a_file_of_weights_is_loaded_in_either_safe_form(folder, policy, state, suffix) -> None:
    path = folder / f"weights.{suffix}"
    save_file(state, path) if suffix == "safetensors" else torch.save(state, path)

    loaded = file.load(f"weights.{suffix}#{SMALL}", policy, imagenet_1k())

    own = timm.create_model(SMALL, pretrained=False)
    own.load_state_dict(state)
    assert loaded.info.weights_sha256 == weights_digest(own)
    assert loaded.info.model == f"file:weights.{suffix}#{SMALL}"
    assert not loaded.module.training


def test_a_config_beside_the_weights_names_the_architecture(folder, policy, state) -> None:
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"architecture": SMALL}))

    assert file.load("model.safetensors", policy, imagenet_1k()).info.architecture == SMALL


def test_a_config_named_after_the_weights_takes_precedence(folder, policy, state) -> None:
    save_file(state, folder / "a.safetensors")
    (folder / "a.config.json").write_text(json.dumps({"architecture": SMALL}))
    (folder / "config.json").write_text(json.dumps({"architecture": "test_resnet"}))

    assert file.load("a.safetensors", policy, imagenet_1k()).info.architecture == SMALL


def test_a_config_beside_the_weights_gives_the_transform(folder, policy, state) -> None:
    save_file(state, folder / "model.safetensors")
    transform = {"input_size": [3, 160, 160], "mean": [0, 0, 0], "std": [1, 1, 1]}
    transform |= {"interpolation": "bilinear", "crop_pct": 1.0}
    (folder / "config.json").write_text(json.dumps({"architecture": SMALL, "pretrained_cfg": transform}))

    loaded = file.load("model.safetensors", policy, imagenet_1k())

    assert loaded.info.transform == ("resize 1.000 center bilinear, 160x160, mean (0, 0, 0), std (1, 1, 1)")


def test_a_config_with_an_incomplete_transform_is_rejected_with_the_missing_keys(folder, policy, state) -> None:
    save_file(state, folder / "model.safetensors")
    half = {"input_size": [3, 160, 160], "interpolation": "bilinear", "crop_pct": 1.0}
    (folder / "config.json").write_text(json.dumps({"architecture": SMALL, "pretrained_cfg": half}))

    with pytest.raises(ModelRefused, match="mean, std missing"):
        file.load("model.safetensors", policy, imagenet_1k())


def test_a_checkpoint_with_a_state_dict_inside_is_loaded(folder, policy, state) -> None:
    torch.save({"state_dict": state, "epoch": 3}, folder / "checkpoint.pth")

    assert file.load(f"checkpoint.pth#{SMALL}", policy, imagenet_1k()).info.architecture == SMALL


def test_weights_of_another_architecture_are_rejected(folder, policy, state) -> None:
    save_file(state, folder / "weights.safetensors")

    with pytest.raises(ModelRefused, match="do not match the architecture"):
        file.load("weights.safetensors#test_resnet", policy, imagenet_1k())


def test_21841_outputs_are_rejected_unless_a_file_maps_them(folder, policy) -> None:
    module = timm.create_model(SMALL, pretrained=False, num_classes=21_841)
    save_file(module.state_dict(), folder / "big.safetensors")

    with pytest.raises(ModelRefused, match=r"21841 outputs\. The label space has 1000 classes.*classes\.json"):
        file.load(f"big.safetensors#{SMALL}", policy, imagenet_1k())

    (folder / "big.classes.json").write_text(json.dumps([None] * 20_841 + list(range(1000))))
    loaded = file.load(f"big.safetensors#{SMALL}", policy, imagenet_1k())
    image = loaded.preprocess(Image.new("RGB", (200, 200), "red"))[None]
    scores = module.eval()((image.float() / 255 - 0.5) / 0.5)  # test_vit's mean and standard deviation
    torch.testing.assert_close(loaded.module(image), scores[:, 20_841:], rtol=1e-4, atol=1e-5)


def test_a_mapping_of_another_length_than_the_head_is_rejected(folder, policy, state) -> None:
    save_file(state, folder / "weights.safetensors")
    (folder / "classes.json").write_text(json.dumps(list(range(999))))

    with pytest.raises(ModelRefused, match="999 entries, but the model has 1000 outputs"):
        file.load(f"weights.safetensors#{SMALL}", policy, imagenet_1k())


def test_a_model_over_the_limit_on_parameters_is_rejected_before_its_weights_are_read(folder, policy) -> None:
    (folder / "weights.pth").write_bytes(b"never looked at")

    with pytest.raises(ModelRefused, match="Expected at most 1,000"):
        file.load(f"weights.pth#{SMALL}", replace(policy, max_parameters=1000), imagenet_1k())


@pytest.mark.parametrize(
    ("rest", "error"),
    [
        ("nowhere.pth#test_vit", ModelNotFound),
        ("weights.safetensors#no_such_architecture", ModelNotFound),
        ("weights.safetensors", ModelRefused),  # no config.json beside it
        ("../outside.pth#test_vit", InvalidModelId),
        ("link.pth#test_vit", InvalidModelId),
        ("linked/outside.pth#test_vit", InvalidModelId),
        ("round.pth#test_vit", InvalidModelId),
    ],
)
def test_a_path_that_is_not_a_weights_file_in_the_folder_is_rejected(folder: Path, policy, state, rest, error) -> None:
    save_file(state, folder / "weights.safetensors")
    torch.save(state, folder.parent / "outside.pth")
    (folder / "link.pth").symlink_to(folder.parent / "outside.pth")
    (folder / "linked").symlink_to(folder.parent)
    (folder / "round.pth").symlink_to(folder / "round.pth")

    with pytest.raises(error):
        file.load(rest, policy, imagenet_1k())


@pytest.mark.parametrize("name", ["config.json", "classes.json"])
def test_a_link_out_of_the_folder_beside_the_weights_is_rejected(folder, policy, state, name) -> None:
    save_file(state, folder / "weights.safetensors")
    (folder.parent / "secret.json").write_text("[]")
    (folder / name).symlink_to(folder.parent / "secret.json")

    with pytest.raises(InvalidModelId, match="leads out"):
        file.load(f"weights.safetensors#{SMALL}", policy, imagenet_1k())


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"pretrained_cfg": 3}', "[" * 100_000])
def test_an_invalid_config_is_rejected(folder, policy, state, content) -> None:
    save_file(state, folder / "weights.safetensors")
    (folder / "config.json").write_text(content)

    with pytest.raises(ModelRefused, match=r"config\.json"):
        file.load(f"weights.safetensors#{SMALL}", policy, imagenet_1k())


def test_without_a_permitted_folder_no_file_is_loaded() -> None:
    with pytest.raises(InvalidModelId, match="ERRATA_MODELS"):
        file.load("weights.pth#test_vit", ModelPolicy(), imagenet_1k())


def test_outputs_in_order_are_the_classes_of_a_label_space(folder, policy) -> None:
    torch.manual_seed(1)
    own = timm.create_model(SMALL, pretrained=False, num_classes=10).eval()
    save_file({name: value.contiguous() for name, value in own.state_dict().items()}, folder / "ten.safetensors")

    loaded = file.load(f"ten.safetensors#{SMALL}", policy, label_space(10))

    assert loaded.module(torch.zeros((1, 3, 160, 160))).shape == (1, 10)
    with pytest.raises(ModelRefused, match=r"10 outputs. The label space has 12 classes. Put a classes.json beside"):
        file.load(f"ten.safetensors#{SMALL}", policy, label_space(12))


def test_a_model_of_imagenet_runs_on_some_of_its_classes_with_a_mapping(folder, policy, state) -> None:
    """Outputs 1, 5, and 7 are classes of the label space: by name, ID, and index."""
    save_file(state, folder / "model.safetensors")
    mapping: list[object] = [None] * 1000
    mapping[1], mapping[5], mapping[7] = "name 2", "id-0", 1
    (folder / "classes.json").write_text(json.dumps(mapping))

    loaded = file.load(f"model.safetensors#{SMALL}", policy, label_space(3))

    images = torch.rand((2, 3, 160, 160))
    raw = loaded.module[1](loaded.module[0](images.clone()))  # normalizes in place
    assert loaded.module(images).tolist() == raw[:, [5, 7, 1]].tolist()
