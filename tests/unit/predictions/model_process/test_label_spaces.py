"""Label spaces of up to 32,767 classes in the process that runs models."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from errata.errors import ModelRefused
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from unit.predictions.label_spaces import label_space

from service.predictions.model_policy import ModelPolicy
from service.predictions.model_process.config import PredictorConfig
from service.predictions.model_process.predictor import ModelLimits, ProcessPredictor

pytestmark = [pytest.mark.processes, pytest.mark.slow]

CONFIG = {"input_size": [3, 8, 8], "mean": [0, 0, 0], "std": [1, 1, 1], "interpolation": "nearest", "crop_pct": 1.0}
NAMES = ["a.png", "b.png"]


def constant(outputs: int, best: int) -> onnx.ModelProto:
    """Return a graph whose output `best` is the highest for any image."""
    bias = np.zeros(outputs, dtype=np.float32)
    bias[best] = 10
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["x"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["flat"]),
            helper.make_node("Gemm", ["flat", "w", "b"], ["y"]),
        ],
        "constant",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", outputs])],
        [
            numpy_helper.from_array(np.zeros((3, outputs), dtype=np.float32), "w"),
            numpy_helper.from_array(bias, "b"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_models_predict_the_classes_of_each_label_space(tmp_path: Path) -> None:
    """One process runs models of 2, 1500, and 32,767 outputs, and one of three outputs on two label spaces."""
    models, images = tmp_path / "models", tmp_path / "images"
    for folder in (models, images):
        folder.mkdir()
    for name in NAMES:
        Image.new("RGB", (8, 8)).save(images / name)
    (models / "config.json").write_text(json.dumps(CONFIG))
    sizes = (2, 1500, 32_767)
    for size in sizes:
        (models / f"m{size}.onnx").write_bytes(constant(size, size - 1).SerializeToString())
    (models / "named.onnx").write_bytes(constant(3, 1).SerializeToString())
    (models / "named.classes.json").write_text('["name 0", "name 1", null]')
    predictor = ProcessPredictor(
        PredictorConfig({"own": images}, ModelPolicy(folder=models), 8, 1, "cpu"), ModelLimits()
    )
    try:
        for size in sizes:
            (batch,) = predictor.predict(f"onnx:m{size}.onnx", "own", NAMES, label_space(size))
            assert batch.top1.tolist() == [size - 1] * 2
        with pytest.raises(ModelRefused, match=r"2 outputs\. The label space has 1000 classes"):
            predictor.load("onnx:m2.onnx")
        small, large = (predictor.load("onnx:named.onnx", label_space(size)) for size in (2, 32_767))
        assert small == large
        (batch,) = predictor.predict("onnx:named.onnx", "own", NAMES, label_space(32_767))
        assert batch.top1.tolist() == [1] * 2
    finally:
        predictor.close()
