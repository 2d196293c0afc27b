"""onnx:PATH: an ONNX graph in the folder ERRATA_MODELS, run by onnxruntime.

A graph does not contain the preprocessing. A config.json (or STEM.config.json) beside the graph describes it in the
form of timm's pretrained_cfg. If the outputs are not the classes of the label space in order, a classes.json maps them:
see class_mapping.py.
"""

from pathlib import Path
from typing import Any

import onnxruntime
import torch
from errata.errors import ModelRefused
from PIL import Image

from service.domain import LabelSpace
from service.predictions.model_id import parse_onnx_model
from service.predictions.model_policy import ModelPolicy
from service.predictions.models.class_mapping import OutputClasses, read_classes
from service.predictions.models.loaded_model import LoadedModel, build_model
from service.predictions.models.model_folder import read_config_beside, resolve_file, transform_config
from service.predictions.models.onnx_graph import OnnxGraph, check_output_count, read_graph
from service.predictions.models.preprocessing import Preprocessing, timm_preprocessing

CPU = "CPUExecutionProvider"
PROVIDERS = ("CUDAExecutionProvider", CPU)  # in order of preference


class OnnxModule(torch.nn.Module):
    """A session of onnxruntime with the interface of a torch module."""

    def __init__(self, model: str, session: Any, graph: OnnxGraph) -> None:
        super().__init__()
        self._model = model
        self._session = session
        self._graph = graph
        self._outputs: int | None = None  # number per image; None before the first run

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return (N, outputs) scores, float32, for (N, 3, H, W) normalized images.

        Raises:
            ModelRefused: The number of outputs differs from that of the first run, which `load` makes.
        """
        parts = [self._run(part) for part in torch.split(images, self._graph.batch or len(images))]
        return torch.cat(parts).to(images.device)

    def _run(self, images: torch.Tensor) -> torch.Tensor:
        inputs = images.contiguous().to("cpu", torch.float16 if self._graph.is_half else torch.float32)
        (scores,) = self._run_session(inputs.numpy())
        if scores.ndim != 2 or len(scores) != len(images):
            raise ModelRefused(
                f"{self._model}: The output has shape {scores.shape}. Expected ({len(images)}, classes). Export the "
                "classifier alone."
            )
        if scores.shape[1] != self._outputs:
            self._set_outputs(scores.shape[1])
        tensor = torch.from_numpy(scores).float()
        return tensor.log() if self._graph.ends_with_softmax else tensor  # the runner's softmax reverses the logarithm

    def _run_session(self, images: Any) -> list[Any]:
        """Run the graph. An error on a CPU after a successful run raises ModelRefused; GPU errors can be temporary."""
        try:
            outputs: list[Any] = self._session.run([self._graph.output_name], {self._graph.input_name: images})
        except Exception as error:  # the errors of onnxruntime have no common class
            if self._outputs is None or self._session.get_providers()[0] != CPU:
                raise
            raise ModelRefused(
                f"{self._model}: The graph fails on some images: {error!s:.200}. Export the model again."
            ) from error
        return outputs

    def _set_outputs(self, outputs: int) -> None:
        check_output_count(self._model, outputs)
        if self._outputs is not None:
            raise ModelRefused(
                f"{self._model}: The graph has {outputs} outputs for some images, and {self._outputs} for a black "
                "image. Export the model with a fixed number of outputs."
            )
        self._outputs = outputs


def load(rest: str, policy: ModelPolicy, label_space: LabelSpace) -> LoadedModel:
    """Return the model.

    Raises:
        InvalidModelId: The path is outside the folder, or there is no folder.
        ModelNotFound: The file does not exist.
        ModelRefused: The graph cannot be used.
    """
    folder, model, path = policy.require_folder("onnx"), f"onnx:{rest}", parse_onnx_model(rest)
    file = resolve_file(folder, path)
    preprocessing = timm_preprocessing(model, transform_config(read_config_beside(folder, path)))
    return load_graph(model, file, policy, preprocessing, read_classes(folder, path, label_space))


def load_graph(
    model: str, file: Path, policy: ModelPolicy, preprocessing: Preprocessing, classes: OutputClasses
) -> LoadedModel:
    """Return the model of a graph with its weights files beside it; raise ModelRefused if it cannot be used."""
    graph = read_graph(file, model)
    policy.check_parameters(model, graph.parameters)
    if graph.batch not in (None, 1):
        raise ModelRefused(
            f"{model}: The graph has a fixed batch size of {graph.batch}. Export it with a dynamic batch size, or "
            "batch size 1."
        )
    module = OnnxModule(model, _create_session(file, model), graph)
    outputs = _count_outputs(model, module, preprocessing)
    return build_model(model, file.name, module, outputs, preprocessing, classes, digest=graph.sha256)


def _count_outputs(model: str, module: OnnxModule, preprocessing: Preprocessing) -> int:
    """Run the graph on a black image and return its number of outputs. The shapes that the file states may be wrong."""
    image = preprocessing.batch(preprocessing.single(Image.new("RGB", (64, 64)))[None])
    try:
        return int(module(image).shape[1])
    except ModelRefused:
        raise
    except Exception as error:  # the errors of onnxruntime have no common class
        raise ModelRefused(
            f"{model}: The graph does not run on images of shape {tuple(image.shape[1:])}, the input_size in "
            f"config.json: {error!s:.200}. Correct config.json, or export the model again."
        ) from error


def _create_session(path: Path, model: str) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4
    options.add_session_config_entry("session.load_model_format", "ONNX")  # the checked format, for any suffix
    available = onnxruntime.get_available_providers()
    try:
        return onnxruntime.InferenceSession(
            path, options, providers=[provider for provider in PROVIDERS if provider in available]
        )
    except Exception as error:  # the errors of onnxruntime have no common class
        reason = str(error).replace(str(path), path.name)
        raise ModelRefused(
            f"{model}: onnxruntime cannot load the graph: {reason:.200}. Export the model again."
        ) from error
