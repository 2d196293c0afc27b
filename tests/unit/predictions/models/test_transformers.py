"""Image classifiers of transformers: safe files only, with the transform and the labels of the repository."""

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from errata.errors import ModelNotFound, ModelRefused
from huggingface_hub import constants
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel, pipeline
from unit.predictions.hub_server import FakeHub, serving
from unit.predictions.label_spaces import label_space, label_space_of
from unit.predictions.models.transformers_models import files_of, save_resnet, save_vit

from service.predictions.model_policy import ModelPolicy
from service.predictions.models import transformers as source
from service.predictions.models.loaded_model import LoadedModel
from service.taxonomy.imagenet_1k import imagenet_1k

LABELS = {0: "name 2", 1: "synonym 0", 2: "id-1"}
SAVERS = [save_vit, save_resnet]


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def load(folder: Path, classes: int = 3) -> LoadedModel:
    return source.load_folder("transformers:org/small", folder, ModelPolicy(), label_space(classes))


def photographs() -> list[Image.Image]:
    noise = np.random.default_rng(0)
    shapes = [(48, 64, 3), (90, 41, 3), (32, 32, 3), (200, 150, 3)]
    return [Image.fromarray(noise.integers(0, 256, shape, dtype=np.uint8)) for shape in shapes]


def scores_of(loaded: LoadedModel, images: list[Image.Image]) -> torch.Tensor:
    with torch.inference_mode():
        return loaded.module(torch.stack([loaded.preprocess(image) for image in images]))


def change(path: Path, **values: object) -> None:
    content = json.loads(path.read_text()) | values
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


@pytest.mark.parametrize("save", SAVERS)
def test_the_scores_are_those_of_the_pipeline_of_transformers(
    tmp_path: Path, save: Callable[..., PreTrainedModel]
) -> None:
    save(tmp_path, LABELS)
    classify = pipeline("image-classification", model=str(tmp_path), device="cpu")
    expected = [
        {row["label"]: row["score"] for row in classify(image, top_k=3, function_to_apply="none")}
        for image in photographs()
    ]

    scores = scores_of(load(tmp_path), photographs())

    for row, logits in zip(scores.tolist(), expected, strict=True):
        assert row == pytest.approx([logits["synonym 0"], logits["id-1"], logits["name 2"]], abs=1e-5)


def test_a_model_of_some_classes_never_predicts_the_others(tmp_path: Path) -> None:
    save_vit(tmp_path, LABELS)

    scores = scores_of(load(tmp_path, classes=5), photographs())

    assert scores.shape == (4, 5)
    assert torch.isneginf(scores[:, 3:]).all()


def test_the_model_is_described(tmp_path: Path) -> None:
    save_vit(tmp_path, LABELS)

    info = load(tmp_path).info

    assert (info.model, info.architecture) == ("transformers:org/small", "ViTForImageClassification")
    assert info.transform.startswith("ViTImageProcessor")
    assert '"height": 32' in info.transform
    assert "3 of 3 outputs mapped" in info.transform


def test_another_configuration_with_the_same_weights_has_other_settings(tmp_path: Path) -> None:
    """Otherwise the cached predictions of the first one would be used."""
    save_vit(tmp_path, LABELS)
    first = load(tmp_path).info
    assert load(tmp_path).info == first
    change(tmp_path / "config.json", hidden_act="relu")

    second = load(tmp_path).info

    assert second == first and second.settings_sha256 != first.settings_sha256


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({0: "name 0", 1: "nothing", 2: "cat"}, r"2 of 3 labels name no class of the data set: 1 'nothing', 2 'c"),
        ({0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}, "3 of 3 labels name no class"),
        ({0: "name 0", 1: "synonym 0", 2: "name 1"}, "Class 0 has the outputs 0 and 1"),
    ],
)
def test_labels_that_are_no_classes_are_refused(tmp_path: Path, labels: dict[int, str], message: str) -> None:
    save_vit(tmp_path, labels)

    with pytest.raises(ModelRefused, match=message):
        load(tmp_path)


def test_a_label_that_means_two_classes_is_refused(tmp_path: Path) -> None:
    save_vit(tmp_path, {0: "crane", 1: "b"})
    space = label_space_of([("a", "b", "b"), ("c", "crane", "x"), ("d", "crane", "y")])

    with pytest.raises(ModelRefused, match="'crane', which can mean 2 classes"):
        source.load_folder("m", tmp_path, ModelPolicy(), space)


def test_a_classes_json_overrides_the_labels(tmp_path: Path) -> None:
    save_vit(tmp_path, {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"})
    (tmp_path / "classes.json").write_text('["name 1", null, "name 0"]')

    assert "2 of 3 outputs mapped" in load(tmp_path).info.transform


def test_the_labels_of_wordnet_are_the_classes_of_imagenet_in_order(tmp_path: Path) -> None:
    space = imagenet_1k()
    labels = {index: ", ".join(dict.fromkeys([*space.synonyms[index], space.names[index]])) for index in range(1000)}
    save_vit(tmp_path, labels)

    info = source.load_folder("m", tmp_path, ModelPolicy(), space).info

    assert "mapped" not in info.transform


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("config.json", {"model_type": None}, "not in the form that transformers writes"),
        ("config.json", {"model_type": "own-code"}, "Expected an image classifier of transformers"),
        ("config.json", {"architectures": ["ViTModel"]}, "Expected an image classifier of transformers"),
        ("config.json", {"architectures": [["x"]]}, "Expected an image classifier of transformers"),
        ("config.json", {"hidden_act": "unknown"}, "transformers cannot create the model"),
        ("config.json", {"hidden_size": 64}, r"37 parameters of ViTForImage.* or have other shapes"),
        ("config.json", {"num_hidden_layers": 3}, r"parameters of ViTForImageClassification are missing"),
        ("config.json", {"hidden_size": "much"}, "cannot be read by transformers"),
        ("config.json", {"id2label": {"0": "name 0"}}, "at least two outputs"),
        ("config.json", {"id2label": {"0": "name 0", "1": "name 1"}}, "2 parameters of .* other shapes"),
        ("config.json", {"id2label": {"1": "name 0", "2": "name 1"}}, "the label of each output"),
        ("config.json", {"model_type": "timm_wrapper", "architectures": ["TimmWrapperForImageClassification"]}, "hf-h"),
        ("preprocessor_config.json", {"image_processor_type": "Own"}, "no image processor of transformers"),
        ("preprocessor_config.json", {"size": {"height": 10**6, "width": 1}}, "Expected sizes from 1 to 4096"),
        ("preprocessor_config.json", {"size": {"height": 64, "width": 64}}, "does not run on a preprocessed image"),
        ("preprocessor_config.json", {"size": {"shortest_edge": 32}}, "from images of two sizes|no image processor"),
    ],
)
def test_unusable_files_are_refused(tmp_path: Path, name: str, values: dict[str, object], message: str) -> None:
    save_vit(tmp_path, LABELS)
    change(tmp_path / name, **values)

    with pytest.raises(ModelRefused, match=message):
        load(tmp_path)


def test_code_and_kernels_that_the_files_name_are_ignored(tmp_path: Path) -> None:
    save_vit(tmp_path, LABELS)
    expected = scores_of(load(tmp_path), photographs())
    marker = tmp_path / "ran"
    (tmp_path / "own.py").write_text(f"open({str(marker)!r}, 'w')\n")
    code = {"AutoConfig": "own.A", "AutoModelForImageClassification": "own.A", "AutoImageProcessor": "own.A"}
    change(tmp_path / "config.json", auto_map=code, _attn_implementation="org/kernel", quantization_config={"a": 1})
    change(tmp_path / "preprocessor_config.json", auto_map=code)
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "org/other"}')

    assert torch.equal(scores_of(load(tmp_path), photographs()), expected)
    assert not marker.exists()


def test_truncated_weights_are_refused(tmp_path: Path) -> None:
    save_vit(tmp_path, LABELS)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])

    with pytest.raises(ModelRefused, match="truncated"):
        load(tmp_path)


def test_a_model_with_more_parameters_than_allowed_is_refused_before_its_weights_are_read(tmp_path: Path) -> None:
    save_vit(tmp_path, LABELS)
    (tmp_path / "model.safetensors").unlink()

    with pytest.raises(ModelRefused, match=r"parameters. Expected at most 1,000"):
        source.load_folder("m", tmp_path, ModelPolicy(max_parameters=1000), label_space(3))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    save_vit(tmp_path / "saved", LABELS)
    with serving(FakeHub(repositories={"org/small": files_of(tmp_path / "saved")})) as running:
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        monkeypatch.setattr(constants, "ENDPOINT", running.url)
        template = running.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        yield running


def test_a_repository_is_loaded_from_its_safe_files(hub: FakeHub, tmp_path: Path) -> None:
    hub.repositories["org/small"] = {**hub.repositories["org/small"], "pytorch_model.bin": b"a pickle", "own.py": b""}

    loaded = source.load("org/small@" + "a" * 40, ModelPolicy(), label_space(3))

    assert loaded.info.model == "transformers:org/small@" + "a" * 40
    assert torch.equal(scores_of(loaded, photographs()), scores_of(load(tmp_path / "saved"), photographs()))
    assert sorted(hub.fetched) == ["config.json", "model.safetensors", "preprocessor_config.json"]


def test_weights_in_several_files_are_loaded(hub: FakeHub, tmp_path: Path) -> None:
    files = dict(hub.repositories["org/small"])
    state = load_file(tmp_path / "saved/model.safetensors")
    del files["model.safetensors"]
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    weight_map = {key: names[number % 2] for number, key in enumerate(sorted(state))}
    for name in names:
        save_file({key: state[key] for key in state if weight_map[key] == name}, tmp_path / name, {"format": "pt"})
        files[name] = (tmp_path / name).read_bytes()
    files["model.safetensors.index.json"] = json.dumps({"metadata": {}, "weight_map": weight_map}).encode()
    hub.repositories["org/small"] = files

    loaded = source.load("org/small", ModelPolicy(), label_space(3))

    assert torch.equal(scores_of(loaded, photographs()), scores_of(load(tmp_path / "saved"), photographs()))


@pytest.mark.parametrize("name", ["../model.safetensors", "model-00001-of-00001.bin", "/etc/passwd"])
def test_an_index_that_names_other_files_is_refused(hub: FakeHub, name: str) -> None:
    files = {**hub.repositories["org/small"], "model.safetensors.index.json": json.dumps({"weight_map": {"a": name}})}
    files["model.safetensors.index.json"] = files["model.safetensors.index.json"].encode()
    del files["model.safetensors"]
    hub.repositories["org/small"] = files

    with pytest.raises(ModelRefused, match="Expected 1 to 200 files"):
        source.load("org/small", ModelPolicy(), label_space(3))


def test_a_repository_with_only_pickles_is_refused(hub: FakeHub) -> None:
    files = {**hub.repositories["org/small"], "pytorch_model.bin": b"a pickle"}
    del files["model.safetensors"]
    hub.repositories["org/small"] = files

    with pytest.raises(ModelRefused, match=r"has no model\.safetensors"):
        source.load("org/small", ModelPolicy(), label_space(3))
    assert "pytorch_model.bin" not in hub.fetched


def test_weights_over_the_limit_are_not_fetched(hub: FakeHub) -> None:
    with pytest.raises(ModelRefused, match="at most 10,000 bytes"):
        source.load("org/small", ModelPolicy(max_download_bytes=10_000), label_space(3))
    assert "model.safetensors" not in hub.fetched


def test_a_missing_repository_is_not_found(hub: FakeHub) -> None:
    with pytest.raises(ModelNotFound):
        source.load("org/nowhere", ModelPolicy(), label_space(3))


@pytest.mark.parametrize(
    "values", [{"num_labels": 10**9}, {"num_labels": math.inf}, {"vision_config": [{"num_labels": 10**9}]}]
)
def test_a_number_of_labels_that_takes_all_memory_is_refused(tmp_path: Path, values: dict[str, object]) -> None:
    save_vit(tmp_path, LABELS)
    change(tmp_path / "config.json", **values)

    with pytest.raises(ModelRefused, match="num_labels"):
        load(tmp_path)
