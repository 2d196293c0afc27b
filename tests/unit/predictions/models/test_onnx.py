"""onnx: — graphs made in place; what they compute, and every way in which one is refused."""

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from service.errors import InvalidModelId, ModelNotFound, ModelRefused
from service.predictions.models import onnx as source
from service.predictions.models.sources import SOURCES
from service.predictions.policy import ModelPolicy

CONFIG = {"input_size": [3, 8, 8], "mean": [0, 0, 0], "std": [1, 1, 1], "interpolation": "bilinear", "crop_pct": 1.0}


def graph(outputs: int = 1000, batch: object = "N", last: str = "", domain: str = "", kind: int = TensorProto.FLOAT):
    """The mean of each channel times a matrix: channel c raises output c alone."""
    weights = np.zeros((3, outputs), dtype=np.float32 if kind == TensorProto.FLOAT else np.float16)
    weights[[0, 1, 2], [0, 1, 2]] = [1, 2, 3]
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["y" if not last else "scores"]),
    ]
    if last:
        nodes.append(helper.make_node(last, ["scores"], ["y"], domain=domain))
    made = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", kind, [batch, 3, 8, 8])],
        [helper.make_tensor_value_info("y", kind, [batch, outputs])],
        [numpy_helper.from_array(weights, "w")],
    )
    imports = [helper.make_opsetid("", 17), *([helper.make_opsetid(domain, 1)] if domain else [])]
    return helper.make_model(made, opset_imports=imports, ir_version=8)


def store(folder: Path, model: onnx.ModelProto, name: str = "tiny.onnx", config: object = CONFIG) -> Path:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(model.SerializeToString())
    if config is not None:
        (folder / name).with_name("config.json").write_text(json.dumps(config))
    return folder / name


def red(loaded) -> torch.Tensor:
    """Two images, red and blue, as the predictor gives them."""
    return torch.stack([loaded.prepare(Image.new("RGB", (8, 8), color)) for color in ("red", "blue")])


@pytest.mark.parametrize("batch", ["N", 1])
@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.FLOAT16])
def test_a_graph_is_run_on_images_prepared_as_its_config_says(folder, policy, batch, kind) -> None:
    store(folder, graph(batch=batch, kind=kind))

    loaded = source.load("tiny.onnx", policy)

    scores = loaded.module(red(loaded))
    assert scores[:, :3].tolist() == [[1, 0, 0], [0, 0, 3]]  # red is (1, 0, 0), blue (0, 0, 1)
    assert scores.dtype == torch.float32
    assert loaded.info.transform == "resize 1.000 center bilinear, 8x8, mean (0, 0, 0), std (1, 1, 1)"
    assert loaded.info.architecture == "tiny.onnx"


def test_a_config_in_timms_hub_form_is_read_too(folder, policy) -> None:
    store(folder, graph(), config={"architecture": "any", "pretrained_cfg": CONFIG | {"mean": [1, 0, 0]}})

    loaded = source.load("tiny.onnx", policy)

    assert loaded.module(red(loaded))[:, 0].tolist() == [0, -1]


def test_the_digest_is_of_the_graph_and_of_the_files_of_its_weights(folder, policy) -> None:
    path = store(folder, graph())
    assert source.load("tiny.onnx", policy).info.weights_sha256 == chained(path)
    onnx.save_model(
        graph(), path, save_as_external_data=True, location="tiny.data", size_threshold=0, convert_attribute=False
    )

    first = source.load("tiny.onnx", policy)

    assert first.info.weights_sha256 == chained(path, folder / "tiny.data")
    assert first.module(red(first))[1, 2].item() == 3
    changed = bytearray((folder / "tiny.data").read_bytes())
    changed[0] ^= 1
    (folder / "tiny.data").write_bytes(changed)
    assert source.load("tiny.onnx", policy).info.weights_sha256 != first.info.weights_sha256


def chained(*paths: Path) -> str:
    return hashlib.sha256(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in paths)).hexdigest()


def external(location: str, attribute: bool = False) -> onnx.ModelProto:
    """A graph whose weights (or a constant inside an If) are said to lie at a location."""
    model = graph()
    tensor = model.graph.initializer[0]
    if attribute:
        inner = helper.make_graph([], "branch", [], [], [numpy_helper.from_array(np.zeros(9, np.float32), "deep")])
        model.graph.node.append(helper.make_node("If", ["c"], ["z"], then_branch=inner, else_branch=inner))
        tensor = model.graph.node[-1].attribute[0].g.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location
    return model


@pytest.mark.parametrize("attribute", [False, True])
@pytest.mark.parametrize(
    "location",
    [
        "/etc/passwd",
        "../secret.bin",
        "a/../../secret.bin",
        "link.bin",
        "linked/secret.bin",
        "",
        "..\\x",
        "a\0b",
        "round.bin",
    ],
)
def test_weights_outside_the_models_own_folder_are_refused(folder, policy, location, attribute) -> None:
    (folder / "secret.bin").write_bytes(b"\0" * 12_000)  # inside ERRATA_MODELS, but not beside the model
    store(folder, external(location, attribute), name="own/tiny.onnx")
    (folder / "own" / "link.bin").symlink_to(folder / "secret.bin")
    (folder / "own" / "linked").symlink_to(folder)
    (folder / "own" / "round.bin").symlink_to(folder / "own" / "round.bin")

    with pytest.raises(ModelRefused, match="leads out of it"):
        source.load("own/tiny.onnx", policy)


def test_weights_that_arent_there_are_told(folder, policy) -> None:
    store(folder, external("weights.bin"))

    with pytest.raises(ModelRefused, match=r"'weights\.bin' beside it, got no such file"):
        source.load("tiny.onnx", policy)


def test_weights_that_are_too_short_are_refused(folder, policy) -> None:
    store(folder, external("weights.bin"))
    (folder / "weights.bin").write_bytes(b"\0" * 100)

    with pytest.raises(ModelRefused, match="onnxruntime can't load"):
        source.load("tiny.onnx", policy)


@pytest.mark.parametrize("domain", ["com.evil", "com.microsoft", "ai.onnx.training"])
def test_custom_operators_are_refused_by_name(folder, policy, domain) -> None:
    store(folder, graph(last="Relu", domain=domain))

    with pytest.raises(ModelRefused, match=f"{domain}::Relu: export the model without custom operators"):
        source.load("tiny.onnx", policy)


def test_probabilities_are_not_softmaxed_twice(folder, policy) -> None:
    store(folder, graph(last="Softmax"))
    loaded = source.load("tiny.onnx", policy)

    found = loaded.module(red(loaded)).softmax(dim=1)

    assert found[0, 0].item() == pytest.approx(np.e / (np.e + 999), rel=1e-4)  # softmax of (1, 0, 0, …) once


def test_another_number_of_outputs_needs_a_mapping(folder, policy) -> None:
    store(folder, graph(outputs=3))
    with pytest.raises(ModelRefused, match="1000 outputs, got 3"):
        source.load("tiny.onnx", policy)

    (folder / "classes.json").write_text('[null, 5, "n01440764"]')
    loaded = source.load("tiny.onnx", policy)

    images = torch.stack([loaded.prepare(Image.new("RGB", (8, 8), color)) for color in ("lime", "blue")])
    assert loaded.module(images).argmax(dim=1).tolist() == [5, 0]


def test_a_graph_that_lies_about_its_outputs_is_believed_by_what_it_computes(folder, policy) -> None:
    model = graph(outputs=7)
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_param = "whatever"
    store(folder, model)

    with pytest.raises(ModelRefused, match="1000 outputs, got 7"):
        source.load("tiny.onnx", policy)


@pytest.mark.parametrize("config", [None, {}, {"architecture": "resnet50"}])
def test_without_a_transform_it_is_refused_with_what_to_give(folder, policy, config) -> None:
    store(folder, graph(), config=config)

    with pytest.raises(ModelRefused, match=r"expected a transform.*config\.json"):
        source.load("tiny.onnx", policy)


def test_images_of_another_size_than_the_graphs_are_refused(folder, policy) -> None:
    store(folder, graph(), config=CONFIG | {"input_size": [3, 9, 9]})

    with pytest.raises(ModelRefused, match=r"doesn't run on images of \(3, 9, 9\)"):
        source.load("tiny.onnx", policy)


def test_a_fixed_number_of_images_other_than_one_is_refused(folder, policy) -> None:
    store(folder, graph(batch=4))

    with pytest.raises(ModelRefused, match="any number of images, or one, got 4"):
        source.load("tiny.onnx", policy)


@pytest.mark.parametrize(
    ("shape", "kind"), [([1, 3, 8], TensorProto.FLOAT), ([1, 1, 8, 8], TensorProto.FLOAT), ([1, 3, 8, 8], 7)]
)
def test_an_input_that_is_no_image_is_refused(folder, policy, shape, kind) -> None:
    model = graph()
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", kind, shape))
    store(folder, model)

    with pytest.raises(ModelRefused, match="an input of floats"):
        source.load("tiny.onnx", policy)


def test_several_inputs_are_refused(folder, policy) -> None:
    model = graph()
    model.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1]))
    store(folder, model)

    with pytest.raises(ModelRefused, match="one input and one output, got 2 and 1"):
        source.load("tiny.onnx", policy)


@pytest.mark.parametrize("content", [b"", b"no graph", graph().SerializeToString()[:-500]])
def test_bytes_that_are_no_graph_are_refused(folder, policy, content) -> None:
    (folder / "tiny.onnx").write_bytes(content)

    with pytest.raises(ModelRefused):
        source.load("tiny.onnx", policy)


def test_the_cap_on_parameters_holds(folder, policy) -> None:
    store(folder, graph())

    with pytest.raises(ModelRefused, match=r"at most 2,999 parameters .*, got 3,000"):
        source.load("tiny.onnx", replace(policy, max_parameters=2999))
    source.load("tiny.onnx", replace(policy, max_parameters=3000))


@pytest.mark.parametrize(
    ("rest", "error"),
    [("nowhere.onnx", ModelNotFound), ("../tiny.onnx", InvalidModelId), ("link.onnx", InvalidModelId)],
)
def test_a_path_that_isnt_a_file_of_the_folder_is_refused(folder, policy, rest, error) -> None:
    store(folder.parent, graph())
    os.symlink(folder.parent / "tiny.onnx", folder / "link.onnx")

    with pytest.raises(error):
        source.load(rest, policy)


def test_without_a_permitted_folder_no_graph_is_loaded() -> None:
    with pytest.raises(InvalidModelId, match="ERRATA_MODELS"):
        source.load("tiny.onnx", ModelPolicy())


def test_the_table_of_sources_has_it(folder, policy) -> None:
    store(folder, graph())

    assert SOURCES["onnx"]("tiny.onnx", policy).info.model == "onnx:tiny.onnx"
