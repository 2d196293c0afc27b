"""Models of the source onnx: valid graphs are run, and unsafe ones are rejected."""

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from errata.errors import InvalidModelId, ModelNotFound, ModelRefused
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from unit.predictions.label_spaces import label_space

from service.predictions.model_policy import ModelPolicy
from service.predictions.models import onnx as source
from service.predictions.models.onnx_graph import runtime_domains
from service.predictions.models.sources import SOURCES
from service.taxonomy.imagenet_1k import imagenet_1k

CONFIG = {"input_size": [3, 8, 8], "mean": [0, 0, 0], "std": [1, 1, 1], "interpolation": "bilinear", "crop_pct": 1.0}

SECOND_INPUTS = {  # of operators: a shape, axes, or a ratio
    "Reshape": np.array([0, -1]),
    "Unsqueeze": np.array([2]),
    "Squeeze": np.array([2]),
    "Dropout": np.array(0.5, dtype=np.float32),
}


def graph(outputs: int = 1000, batch: object = "N", last: str = "", domain: str = "", kind: int = TensorProto.FLOAT):
    """The mean of each channel times a matrix: channel c raises output c alone."""
    weights = np.zeros((3, outputs), dtype=np.float32 if kind == TensorProto.FLOAT else np.float16)
    weights[[0, 1, 2], [0, 1, 2]] = [1, 2, 3]
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["y" if not last else "scores"]),
    ]
    names = ["scores", *(f"after {number}" for number in range(len(last.split()) - 1)), "y"]
    for number, operator in enumerate(last.split()):
        to = {"to": kind} if operator == "Cast" else {}
        inputs = [names[number], *([operator] if operator in SECOND_INPUTS else [])]
        nodes.append(helper.make_node(operator, inputs, [names[number + 1]], domain=domain, **to))
    proto = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", kind, [batch, 3, 8, 8])],
        [helper.make_tensor_value_info("y", kind, [batch, outputs])],
        [
            numpy_helper.from_array(weights, "w"),
            *(numpy_helper.from_array(value, name) for name, value in SECOND_INPUTS.items() if name in last.split()),
        ],
    )
    imports = [helper.make_opsetid("", 17), *([helper.make_opsetid(domain, 1)] if domain else [])]
    return helper.make_model(proto, opset_imports=imports, ir_version=8)


def store(folder: Path, model: onnx.ModelProto, name: str = "tiny.onnx", config: object = CONFIG) -> Path:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(model.SerializeToString())
    if config is not None:
        (folder / name).with_name("config.json").write_text(json.dumps(config))
    return folder / name


def red(loaded) -> torch.Tensor:
    """Two images, red and blue, as the predictor gives them."""
    return torch.stack([loaded.preprocess(Image.new("RGB", (8, 8), color)) for color in ("red", "blue")])


@pytest.mark.parametrize("batch", ["N", 1])
@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.FLOAT16])
def test_images_are_preprocessed_according_to_the_config(folder, policy, batch, kind) -> None:
    store(folder, graph(batch=batch, kind=kind))

    loaded = source.load("tiny.onnx", policy, imagenet_1k())

    scores = loaded.module(red(loaded))
    assert scores[:, :3].tolist() == [[1, 0, 0], [0, 0, 3]]  # red is (1, 0, 0), blue (0, 0, 1)
    assert scores.dtype == torch.float32
    assert loaded.info.transform == "resize 1.000 center bilinear, 8x8, mean (0, 0, 0), std (1, 1, 1)"
    assert loaded.info.architecture == "tiny.onnx"


def test_a_config_in_timms_hub_form_is_read_too(folder, policy) -> None:
    store(folder, graph(), config={"architecture": "any", "pretrained_cfg": CONFIG | {"mean": [1, 0, 0]}})

    loaded = source.load("tiny.onnx", policy, imagenet_1k())

    assert loaded.module(red(loaded))[:, 0].tolist() == [0, -1]


def test_the_digest_is_of_the_graph_and_of_the_files_of_its_weights(folder, policy) -> None:
    path = store(folder, graph())
    assert source.load("tiny.onnx", policy, imagenet_1k()).info.weights_sha256 == chained(path)
    onnx.save_model(
        graph(), path, save_as_external_data=True, location="tiny.data", size_threshold=0, convert_attribute=False
    )

    first = source.load("tiny.onnx", policy, imagenet_1k())

    assert first.info.weights_sha256 == chained(path, folder / "tiny.data")
    assert first.module(red(first))[1, 2].item() == 3
    changed = bytearray((folder / "tiny.data").read_bytes())
    changed[0] ^= 1
    (folder / "tiny.data").write_bytes(changed)
    assert source.load("tiny.onnx", policy, imagenet_1k()).info.weights_sha256 != first.info.weights_sha256


def chained(*paths: Path) -> str:
    return hashlib.sha256(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in paths)).hexdigest()


def external(location: str, attribute: bool = False) -> onnx.ModelProto:
    """Return a graph whose weights, or a constant inside an If, have an external location."""
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
def test_weights_outside_the_folder_of_the_graph_are_rejected(folder, policy, location, attribute) -> None:
    (folder / "secret.bin").write_bytes(b"\0" * 12_000)  # inside ERRATA_MODELS, but not beside the model
    store(folder, external(location, attribute), name="own/tiny.onnx")
    (folder / "own" / "link.bin").symlink_to(folder / "secret.bin")
    (folder / "own" / "linked").symlink_to(folder)
    (folder / "own" / "round.bin").symlink_to(folder / "own" / "round.bin")

    with pytest.raises(ModelRefused, match="outside the folder of the graph"):
        source.load("own/tiny.onnx", policy, imagenet_1k())


def test_missing_weights_are_reported(folder, policy) -> None:
    store(folder, external("weights.bin"))

    with pytest.raises(ModelRefused, match=r"'weights\.bin' is missing"):
        source.load("tiny.onnx", policy, imagenet_1k())


def test_weights_that_are_too_short_are_rejected(folder, policy) -> None:
    store(folder, external("weights.bin"))
    (folder / "weights.bin").write_bytes(b"\0" * 100)

    with pytest.raises(ModelRefused, match="onnxruntime cannot load"):
        source.load("tiny.onnx", policy, imagenet_1k())


@pytest.mark.parametrize("domain", ["com.evil", "com.microsoft", "ai.onnx.training"])
def test_custom_operators_are_rejected_by_name(folder, policy, domain) -> None:
    store(folder, graph(last="Relu", domain=domain))

    with pytest.raises(ModelRefused, match=f"{domain}::Relu. Export the model without custom operators"):
        source.load("tiny.onnx", policy, imagenet_1k())


@pytest.mark.parametrize(
    "last",
    [
        "Softmax",
        "Softmax Identity",
        "Softmax Cast Identity",
        "Softmax Reshape",
        "Softmax Unsqueeze Flatten",
        "Softmax Unsqueeze Squeeze",
        "Softmax Dropout Reshape Cast",
    ],
)
def test_probabilities_are_not_softmaxed_twice(folder, policy, last) -> None:
    store(folder, graph(last=last))
    loaded = source.load("tiny.onnx", policy, imagenet_1k())

    result = loaded.module(red(loaded)).softmax(dim=1)

    assert result[0, 0].item() == pytest.approx(np.e / (np.e + 999), rel=1e-4)  # softmax of (1, 0, 0, …) once


def test_another_number_of_outputs_needs_a_mapping(folder, policy) -> None:
    store(folder, graph(outputs=3))
    with pytest.raises(ModelRefused, match=r"3 outputs. The label space has 1000 classes"):
        source.load("tiny.onnx", policy, imagenet_1k())

    (folder / "classes.json").write_text('[null, 5, "n01440764"]')
    loaded = source.load("tiny.onnx", policy, imagenet_1k())

    images = torch.stack([loaded.preprocess(Image.new("RGB", (8, 8), color)) for color in ("lime", "blue")])
    assert loaded.module(images).argmax(dim=1).tolist() == [5, 0]


def test_the_number_of_outputs_is_measured_rather_than_read_from_the_graph(folder, policy) -> None:
    model = graph(outputs=7)
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_param = "whatever"
    store(folder, model)

    with pytest.raises(ModelRefused, match=r"7 outputs. The label space has 1000 classes"):
        source.load("tiny.onnx", policy, imagenet_1k())


@pytest.mark.parametrize("config", [None, {}, {"architecture": "resnet50"}])
def test_a_graph_without_a_transform_is_rejected_with_a_remedy(folder, policy, config) -> None:
    store(folder, graph(), config=config)

    with pytest.raises(ModelRefused, match=r"preprocessing is unknown.*config\.json"):
        source.load("tiny.onnx", policy, imagenet_1k())


def test_images_of_another_size_than_the_graphs_are_rejected(folder, policy) -> None:
    store(folder, graph(), config=CONFIG | {"input_size": [3, 9, 9]})

    with pytest.raises(ModelRefused, match=r"does not run on images of shape \(3, 9, 9\)"):
        source.load("tiny.onnx", policy, imagenet_1k())


def test_a_fixed_number_of_images_other_than_one_is_rejected(folder, policy) -> None:
    store(folder, graph(batch=4))

    with pytest.raises(ModelRefused, match="fixed batch size of 4"):
        source.load("tiny.onnx", policy, imagenet_1k())


@pytest.mark.parametrize(
    ("shape", "kind"), [([1, 3, 8], TensorProto.FLOAT), ([1, 1, 8, 8], TensorProto.FLOAT), ([1, 3, 8, 8], 7)]
)
def test_an_input_that_is_not_an_image_is_rejected(folder, policy, shape, kind) -> None:
    model = graph()
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", kind, shape))
    store(folder, model)

    with pytest.raises(ModelRefused, match="Expected floats of shape"):
        source.load("tiny.onnx", policy, imagenet_1k())


def test_several_inputs_are_rejected(folder, policy) -> None:
    model = graph()
    model.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1]))
    store(folder, model)

    with pytest.raises(ModelRefused, match="2 inputs and 1 outputs"):
        source.load("tiny.onnx", policy, imagenet_1k())


@pytest.mark.parametrize("content", [b"", b"no graph", graph().SerializeToString()[:-500]])
def test_bytes_that_are_not_a_graph_are_rejected(folder, policy, content) -> None:
    (folder / "tiny.onnx").write_bytes(content)

    with pytest.raises(ModelRefused):
        source.load("tiny.onnx", policy, imagenet_1k())


def test_the_limit_on_parameters_applies(folder, policy) -> None:
    store(folder, graph())

    with pytest.raises(ModelRefused, match=r"3,000 parameters. Expected at most 2,999"):
        source.load("tiny.onnx", replace(policy, max_parameters=2999), imagenet_1k())
    source.load("tiny.onnx", replace(policy, max_parameters=3000), imagenet_1k())


@pytest.mark.parametrize(
    ("rest", "error"),
    [("nowhere.onnx", ModelNotFound), ("../tiny.onnx", InvalidModelId), ("link.onnx", InvalidModelId)],
)
def test_a_path_outside_the_folder_is_rejected(folder, policy, rest, error) -> None:
    store(folder.parent, graph())
    os.symlink(folder.parent / "tiny.onnx", folder / "link.onnx")

    with pytest.raises(error):
        source.load(rest, policy, imagenet_1k())


def test_without_a_permitted_folder_no_graph_is_loaded() -> None:
    with pytest.raises(InvalidModelId, match="ERRATA_MODELS"):
        source.load("tiny.onnx", ModelPolicy(), imagenet_1k())


def test_the_table_of_sources_loads_graphs(folder, policy) -> None:
    store(folder, graph())

    assert SOURCES["onnx"]("tiny.onnx", policy, imagenet_1k()).info.model == "onnx:tiny.onnx"


@pytest.mark.parametrize("num_classes", [3, 10, 1500, 32_767])
def test_a_graph_has_an_output_for_each_class_of_the_label_space(folder, policy, num_classes) -> None:
    store(folder, graph(outputs=num_classes))

    loaded = source.load("tiny.onnx", policy, label_space(num_classes))

    assert loaded.module(red(loaded)).shape == (2, num_classes)
    with pytest.raises(ModelRefused, match=f"{num_classes} outputs. The label space has {num_classes - 1} classes"):
        source.load("tiny.onnx", policy, label_space(num_classes - 1))


def located(tensor: TensorProto, *locations: str) -> None:
    """Set the external locations of a tensor."""
    tensor.ClearField("raw_data")
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    for location in locations:
        tensor.external_data.add(key="location", value=location)


def outside() -> TensorProto:
    """Return a tensor with a location outside the folder of the model."""
    tensor = numpy_helper.from_array(np.zeros(9, np.float32), "deep")
    located(tensor, "../secret.bin")
    return tensor


def in_function_node(model: onnx.ModelProto) -> None:
    node = helper.make_node("Constant", [], ["b"], value=outside())
    model.functions.append(helper.make_function("own", "F", [], ["b"], [node], [helper.make_opsetid("", 17)]))


def in_function_default(model: onnx.ModelProto) -> None:
    node = helper.make_node("Constant", [], ["b"])
    function = helper.make_function("own", "F", [], ["b"], [node], [helper.make_opsetid("", 17)])
    function.attribute_proto.append(helper.make_attribute("value", outside()))
    model.functions.append(function)


def in_graph_of_function_default(model: onnx.ModelProto) -> None:
    inner = helper.make_graph([], "inner", [], [], [outside()])
    function = helper.make_function("own", "F", [], ["b"], [], [helper.make_opsetid("", 17)])
    function.attribute_proto.append(helper.make_attribute("body", inner))
    model.functions.append(function)


def in_list_of_tensors(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Constant", [], ["c"], values=[outside()]))


def in_sparse_initializer(model: onnx.ModelProto) -> None:
    indices = numpy_helper.from_array(np.arange(9), "indices")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(outside(), indices, [9]))


def in_sparse_attribute(model: onnx.ModelProto) -> None:
    indices = numpy_helper.from_array(np.arange(9), "indices")
    sparse = helper.make_sparse_tensor(outside(), indices, [9])
    model.graph.node.append(helper.make_node("Constant", [], ["c"], sparse_value=sparse))


def in_training(model: onnx.ModelProto) -> None:
    model.training_info.add().initialization.initializer.append(outside())


@pytest.mark.parametrize(
    "place",
    [
        in_function_node,
        in_function_default,
        in_graph_of_function_default,
        in_list_of_tensors,
        in_sparse_initializer,
        in_sparse_attribute,
        in_training,
    ],
)
def test_weights_outside_the_folder_are_rejected_anywhere_in_a_graph(folder, policy, place) -> None:
    model = graph()
    place(model)
    store(folder, model, name="own/tiny.onnx")
    (folder / "secret.bin").write_bytes(b"\0" * 36)

    with pytest.raises(ModelRefused, match="outside the folder of the graph"):
        source.load("own/tiny.onnx", policy, imagenet_1k())


@pytest.mark.parametrize("locations", [("weights.bin", "../secret.bin"), ("../secret.bin", "weights.bin")])
def test_a_second_location_is_rejected(folder, policy, locations) -> None:
    model = graph()
    located(model.graph.initializer[0], *locations)
    store(folder, model)
    (folder / "weights.bin").write_bytes(b"\0" * 12_000)

    with pytest.raises(ModelRefused, match=r"several entries 'location'"):
        source.load("tiny.onnx", policy, imagenet_1k())


def test_an_address_in_the_memory_of_the_runtime_is_rejected_as_a_location(folder, policy) -> None:
    location = "*/_ORT_MEM_ADDR_/*"  # onnxruntime reads `offset` as a pointer then
    store(folder, external(location))
    (folder / location).parent.mkdir(parents=True)
    (folder / location).write_bytes(b"\0" * 12_000)

    with pytest.raises(ModelRefused, match="outside the folder of the graph"):
        source.load("tiny.onnx", policy, imagenet_1k())


def with_function(domain: str, name: str) -> onnx.ModelProto:
    """Return a graph that ends with a call of a local identity function."""
    model = graph(last=name, domain=domain)
    node = helper.make_node("Identity", ["a"], ["b"])
    model.functions.append(helper.make_function(domain, name, ["a"], ["b"], [node], [helper.make_opsetid("", 17)]))
    return model


@pytest.mark.parametrize("domain", sorted(runtime_domains() | {"", "ai.onnx", "ai.onnx.training", "com.microsoft.new"}))
def test_a_function_in_a_domain_of_the_runtime_is_rejected(folder, policy, domain) -> None:
    store(folder, with_function(domain, "Relu"))

    with pytest.raises(ModelRefused, match=f"functions in domains of the runtime: {domain}::Relu"):
        source.load("tiny.onnx", policy, imagenet_1k())


@pytest.mark.parametrize("domain", ["own", "pkg.onnxscript.torch_lib", "com.microsoftish"])
def test_a_function_in_another_domain_is_run(folder, policy, domain) -> None:
    store(folder, with_function(domain, "Relu"))

    loaded = source.load("tiny.onnx", policy, imagenet_1k())

    assert loaded.module(red(loaded))[:, :3].tolist() == [[1, 0, 0], [0, 0, 3]]


def test_the_domains_of_the_runtime_are_known() -> None:
    assert {"", "ai.onnx.ml", "com.microsoft"} <= runtime_domains()


def test_the_suffix_of_a_file_does_not_change_how_it_is_checked_and_run(folder, policy) -> None:
    for name in ("tiny.ort", "tiny.json"):  # onnxruntime and onnx choose other formats by these
        store(folder, graph(), name=name)

        loaded = source.load(name, policy, imagenet_1k())

        assert loaded.module(red(loaded))[:, :3].tolist() == [[1, 0, 0], [0, 0, 3]]


def test_more_outputs_than_any_classifier_has_are_rejected_before_the_graph_runs(folder, policy) -> None:
    model = graph()
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 10**9]))
    store(folder, model)

    with pytest.raises(ModelRefused, match=r"has 1,000,000,000 outputs for an image\. Expected at most 100,000"):
        source.load("tiny.onnx", policy, imagenet_1k())


def brighter_is_wider() -> onnx.ModelProto:
    """1000 scores for a black image and more for others: the number of outputs is computed from the pixels."""
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["brightest"], keepdims=0),
        helper.make_node("Cast", ["brightest"], ["whole"], to=TensorProto.INT64),
        helper.make_node("Add", ["whole", "thousand"], ["outputs"]),
        helper.make_node("Concat", ["one", "outputs"], ["shape"], axis=0),
        helper.make_node("ConstantOfShape", ["shape"], ["y"]),
    ]
    numbers = {"one": 1, "thousand": 1000}
    proto = helper.make_graph(
        [*nodes[:3], helper.make_node("Reshape", ["outputs", "one"], ["listed"]), *nodes[3:]],
        "wider",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, "outputs"])],
        [numpy_helper.from_array(np.array([value]), name) for name, value in numbers.items()],
    )
    proto.node[4].input[1] = "listed"
    return helper.make_model(proto, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_a_graph_with_more_outputs_for_some_images_is_rejected(folder, policy) -> None:
    store(folder, brighter_is_wider())
    loaded = source.load("tiny.onnx", policy, imagenet_1k())

    with pytest.raises(ModelRefused, match="1001 outputs for some images, and 1000 for a black image"):
        loaded.module(red(loaded))


def fails_when_bright() -> onnx.ModelProto:
    """The scores of `graph`, taken at an index that is inside for a black image alone."""
    model = graph(last="Identity")
    model.graph.node.pop()
    model.graph.node.extend(
        [
            helper.make_node("ReduceMax", ["x"], ["brightest"], keepdims=0),
            helper.make_node("Mul", ["brightest", "far"], ["distance"]),
            helper.make_node("Cast", ["distance"], ["column"], to=TensorProto.INT64),
            helper.make_node("Reshape", ["column", "one"], ["columns"]),
            helper.make_node("Gather", ["scores", "columns"], ["taken"], axis=1),
            helper.make_node("Add", ["scores", "taken"], ["y"]),
        ]
    )
    model.graph.initializer.extend(
        [numpy_helper.from_array(np.float32(1e6), "far"), numpy_helper.from_array(np.array([1]), "one")]
    )
    return model


def test_a_graph_that_fails_on_some_images_is_rejected(folder, policy) -> None:
    store(folder, fails_when_bright())
    loaded = source.load("tiny.onnx", policy, imagenet_1k())

    with pytest.raises(ModelRefused, match="The graph fails on some images"):
        loaded.module(red(loaded))


def test_an_error_of_the_runtime_names_no_path_of_the_worker(folder, policy) -> None:
    store(folder, graph(last="NoSuchOperator"))

    with pytest.raises(ModelRefused) as caught:
        source.load("tiny.onnx", policy, imagenet_1k())

    assert "onnxruntime cannot load" in str(caught.value)
    assert str(folder) not in str(caught.value)
