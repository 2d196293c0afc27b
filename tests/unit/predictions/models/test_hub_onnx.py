"""ONNX graphs on the Hugging Face Hub: weights beside the graph, and the transform and labels of the repository."""

import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from errata.errors import ModelNotFound, ModelRefused
from huggingface_hub import constants, hf_hub_download
from PIL import Image
from transformers import pipeline
from unit.predictions.hub_server import FakeHub, serving
from unit.predictions.label_spaces import label_space
from unit.predictions.models.transformers_models import save_resnet

from service.predictions.model_policy import ModelPolicy
from service.predictions.models import hub_onnx as source
from service.predictions.models.loaded_model import LoadedModel
from service.taxonomy.imagenet_1k import imagenet_1k

LABELS = {0: "name 2", 1: "name 0", 2: "name 1"}
TIMM = {"input_size": [3, 32, 32], "mean": [0, 0, 0], "std": [1, 1, 1], "interpolation": "bilinear", "crop_pct": 1.0}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a model of transformers, and its graph with weights in a second file in `onnx`."""
    folder = tmp_path_factory.mktemp("saved")
    model = save_resnet(folder, LABELS)
    (folder / "onnx").mkdir()
    names = {"input_names": ["pixel_values"], "output_names": ["logits"]}
    axes = {"pixel_values": {0: "n", 2: "h", 3: "w"}, "logits": {0: "n"}}
    model.config.return_dict = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the new exporter needs another package
        torch.onnx.export(
            model, (torch.zeros(1, 3, 48, 48),), str(folder / "one.onnx"), dynamic_axes=axes, dynamo=False, **names
        )
    onnx.save(
        onnx.load(folder / "one.onnx"),
        folder / "onnx/model.onnx",
        save_as_external_data=True,
        location="model.onnx_data",
        size_threshold=0,
    )
    return folder


@pytest.fixture
def hub(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    names = ["config.json", "preprocessor_config.json", "onnx/model.onnx", "onnx/model.onnx_data"]
    files = {name: (saved / name).read_bytes() for name in names}
    with serving(FakeHub(repositories={"org/small": files})) as running:
        monkeypatch.setattr(constants, "ENDPOINT", running.url)
        template = running.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        yield running


def change(hub: FakeHub, **files: bytes | None) -> None:
    """Put other files in the repository; None removes one."""
    changed = {**hub.repositories["org/small"], **files}
    hub.repositories["org/small"] = {name: content for name, content in changed.items() if content is not None}


def load(rest: str = "org/small") -> LoadedModel:
    return source.load(rest, ModelPolicy(), label_space(3))


def test_the_scores_are_those_of_the_pipeline_of_transformers(hub: FakeHub, saved: Path) -> None:
    noise = np.random.default_rng(0)
    images = [Image.fromarray(noise.integers(0, 256, shape, dtype=np.uint8)) for shape in ((48, 64, 3), (90, 41, 3))]
    classify = pipeline("image-classification", model=str(saved), device="cpu")
    expected = [
        {row["label"]: row["score"] for row in classify(image, top_k=3, function_to_apply="none")} for image in images
    ]

    loaded = load()

    with torch.inference_mode():
        scores = loaded.module(torch.stack([loaded.preprocess(image) for image in images])).tolist()
    for row, logits in zip(scores, expected, strict=True):
        assert row == pytest.approx([logits["name 0"], logits["name 1"], logits["name 2"]], abs=1e-4)
    assert loaded.info.model == "hf-onnx:org/small"
    assert loaded.info.transform.startswith("ConvNextImageProcessor")
    assert sorted(hub.fetched) == [
        "config.json", "onnx/model.onnx", "onnx/model.onnx_data", "preprocessor_config.json"
    ]  # fmt: skip


def test_a_path_names_another_graph(hub: FakeHub, saved: Path) -> None:
    change(hub, **{"a/fp32.onnx": (saved / "one.onnx").read_bytes()})

    assert load("org/small@main#a/fp32.onnx").info.architecture == "fp32.onnx"
    with pytest.raises(ModelRefused, match=r"no a/other\.onnx"):
        load("org/small#a/other.onnx")


def test_a_config_of_timm_describes_the_transform(hub: FakeHub) -> None:
    config = {"architecture": "any", "pretrained_cfg": TIMM, "label_names": ["name 1", "name 2", None]}
    change(hub, **{"config.json": json.dumps(config).encode(), "preprocessor_config.json": None})

    info = load().info

    assert info.transform.startswith("resize 1.000 center bilinear, 32x32")
    assert "2 of 3 outputs mapped" in info.transform


@pytest.mark.parametrize(
    "location", ["../config.json", "/etc/passwd", "onnx/../../x", "a/b.data", "*/data", "", ".data", "x" * 300]
)
def test_weights_outside_the_folder_of_the_graph_are_refused(hub: FakeHub, saved: Path, location: str) -> None:
    proto = onnx.load(saved / "onnx/model.onnx", load_external_data=False)
    for tensor in proto.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    change(hub, **{"onnx/model.onnx": proto.SerializeToString()})

    with pytest.raises(ModelRefused, match="outside the folder of the graph"):
        load()
    assert set(hub.fetched) == {"config.json", "preprocessor_config.json", "onnx/model.onnx"}


@pytest.mark.parametrize("location", ["config.json", "model.onnx"])
def test_a_weights_file_with_the_name_of_another_file_is_refused(hub: FakeHub, saved: Path, location: str) -> None:
    """Its copy would replace the other file in the cache of the hub."""
    proto = onnx.load(saved / "onnx/model.onnx", load_external_data=False)
    for tensor in proto.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    change(hub, **{"onnx/model.onnx": proto.SerializeToString(), "onnx/config.json": b"{}"})
    config = hub.repositories["org/small"]["config.json"]

    with pytest.raises(ModelRefused, match="name of another file"):
        load()
    cached = Path(hf_hub_download("org/small", "config.json", local_files_only=True, cache_dir=constants.HF_HUB_CACHE))
    assert cached.read_bytes() == config


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"onnx/model.onnx": b"a pickle"}, "not an ONNX graph"),
        ({"onnx/model.onnx": None}, r"no model\.onnx or onnx/model\.onnx"),
        ({"onnx/model.onnx_data": None}, r"no onnx/model\.onnx_data"),
        ({"preprocessor_config.json": None}, r"no preprocessor_config\.json"),
        ({"config.json": None}, r"no config\.json"),
        ({"config.json": b"{}"}, "does not name the classes"),
        ({"config.json": b'{"id2label": {"0": "cat", "1": "name 1"}}'}, "1 of 2 labels name no class"),
        ({"config.json": b'{"id2label": {"0": "name 0", "1": "name 1"}}'}, "2 entries, but the model has 3 outputs"),
        ({"config.json": b'{"pretrained_cfg": 5}'}, "does not name the classes"),
    ],
)
def test_unusable_repositories_are_refused(hub: FakeHub, files: dict[str, bytes | None], message: str) -> None:
    change(hub, **files)

    with pytest.raises(ModelRefused, match=message):
        load()


def test_a_graph_without_labels_has_the_classes_of_imagenet_in_order(hub: FakeHub) -> None:
    change(hub, **{"config.json": b"{}"})

    with pytest.raises(ModelRefused, match=r"has 3 outputs\. The label space has 1000 classes"):
        source.load("org/small", ModelPolicy(), imagenet_1k())


def test_weights_over_the_limit_are_not_fetched(hub: FakeHub) -> None:
    with pytest.raises(ModelRefused, match="at most 4,000 bytes"):
        source.load("org/small", ModelPolicy(max_download_bytes=4000), label_space(3))
    assert "onnx/model.onnx_data" not in hub.fetched


def test_all_files_together_are_within_the_limit(hub: FakeHub, saved: Path) -> None:
    names = [f"part{number}" for number in range(5)]
    proto = onnx.load(saved / "onnx/model.onnx", load_external_data=False)
    for number, tensor in enumerate(proto.graph.initializer):
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = names[number % 5]
    change(
        hub,
        **{"onnx/model.onnx": proto.SerializeToString()},
        **{f"onnx/{name}": name.encode() * 20_000 for name in names},
    )

    with pytest.raises(ModelRefused, match="at most 400,000 bytes"):
        source.load("org/small", ModelPolicy(max_download_bytes=400_000), label_space(3))
    assert [name for name in hub.fetched if "part" in name] == ["onnx/part0", "onnx/part1", "onnx/part2"]


def test_a_missing_repository_is_not_found(hub: FakeHub) -> None:
    with pytest.raises(ModelNotFound):
        load("org/nowhere")
