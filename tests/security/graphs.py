"""Hostile ONNX graphs: small files that use excessive time or memory."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CONFIG = {
    "input_size": [3, 8, 8],
    "mean": [0, 0, 0],
    "std": [1, 1, 1],
    "interpolation": "bilinear",
    "crop_pct": 1.0,
}
CLASSES = 1000


def write(folder: Path, name: str, model: onnx.ModelProto) -> str:
    """Write a graph with its config.json; return its model identifier."""
    (folder / f"{name}.onnx").write_bytes(model.SerializeToString())
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return f"onnx:{name}.onnx"


def plain() -> onnx.ModelProto:
    """Score classes 0 to 2 by the mean of red, green, and blue."""
    return _model([])


def endless_loop(black_ends: bool = False) -> onnx.ModelProto:
    """Repeat a loop whose condition is always true, 2**62 times, before the scores are returned.

    black_ends: The loop ends at once for a black image, which is what a loader may try.
    """
    body = helper.make_graph(
        [helper.make_node("Identity", ["going"], ["going_on"]), helper.make_node("Identity", ["in"], ["out"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("in", TensorProto.FLOAT, ["N", CLASSES]),
        ],
        [
            helper.make_tensor_value_info("going_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("out", TensorProto.FLOAT, ["N", CLASSES]),
        ],
    )
    loop = helper.make_node("Loop", ["times", "true", "scores"], ["y"], body=body)
    brightness = [
        helper.make_node("ReduceMax", ["x"], ["brightest"], keepdims=0),
        helper.make_node("Ceil", ["brightest"], ["bright"]),
        helper.make_node("Cast", ["bright"], ["is_bright"], to=TensorProto.INT64),
        helper.make_node("Mul", ["is_bright", "most"], ["times"]),
    ]
    always = [helper.make_node("Identity", ["most"], ["times"])]
    constants = [_scalar("most", 2**62), numpy_helper.from_array(np.array(True), "true")]
    return _model([loop], constants, brightness if black_ends else always)


def endless_folding(steps: int = 400, size: int = 4000) -> onnx.ModelProto:
    """Multiply constants for minutes, which the runtime does while it optimizes the graph: before any image."""
    nodes = [helper.make_node("ConstantOfShape", ["shape"], ["m0"], value=_float(0.001))]
    nodes += [helper.make_node("MatMul", [f"m{step}", f"m{step}"], [f"m{step + 1}"]) for step in range(steps)]
    nodes += [
        helper.make_node("ReduceMean", [f"m{steps}"], ["mean"], keepdims=0),
        helper.make_node("Add", ["scores", "mean"], ["y"]),
    ]
    return _model(nodes, [_vector("shape", [size, size])])


def huge_intermediate(gigabytes: float) -> onnx.ModelProto:
    """Create a tensor of this size for each batch. Its shape depends on the input, so it is not created earlier."""
    count = int(gigabytes * 2**30 / 4)
    return _model(
        [
            helper.make_node("Shape", ["scores"], ["shape"]),  # (N, 1000)
            helper.make_node("Mul", ["shape", "times"], ["large_shape"]),
            helper.make_node("ConstantOfShape", ["large_shape"], ["large"], value=_float(1.0)),
            helper.make_node("ReduceMean", ["large"], ["mean"], keepdims=0),
            helper.make_node("Add", ["scores", "mean"], ["y"]),
        ],
        [_vector("times", [1, -(-count // CLASSES)])],
    )


def huge_output(outputs: int) -> onnx.ModelProto:
    """Return (N, outputs) scores, though the graph declares no shape."""
    model = _model(
        [helper.make_node("Expand", ["first", "wide"], ["y"])],
        [_vector("wide", [1, outputs]), _vector("zero", [0])],
        [helper.make_node("Gather", ["scores", "zero"], ["first"], axis=1)],
    )
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_param = "outputs"
    return model


def _model(
    last: Sequence[onnx.NodeProto], constants: Sequence[onnx.TensorProto] = (), before: Sequence[onnx.NodeProto] = ()
) -> onnx.ModelProto:
    """Return a graph whose last nodes make `y` of `scores`; without any, the scores are `y`."""
    weights = np.zeros((3, CLASSES), dtype=np.float32)
    weights[[0, 1, 2], [0, 1, 2]] = 1
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["scores" if last else "y"]),
    ]
    graph = helper.make_graph(
        [*nodes, *before, *last],
        "hostile",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", CLASSES])],
        [numpy_helper.from_array(weights, "w"), *constants],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _scalar(name: str, value: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(value, dtype=np.int64), name)


def _vector(name: str, values: Sequence[int]) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, dtype=np.int64), name)


def _float(value: float) -> onnx.TensorProto:
    return helper.make_tensor("value", TensorProto.FLOAT, [1], [value])
