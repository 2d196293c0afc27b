"""onnx:PATH: a graph in the permitted folder, run by onnxruntime.

A config.json beside it (or STEM.config.json) gives size and normalization, as timm's pretrained_cfg: a graph doesn't
say them. A classes.json maps outputs that aren't ImageNet-1k's: see head.py.
"""

from pathlib import Path
from typing import Any

import onnxruntime
import torch
from errata.errors import InvalidModelId, ModelRefused
from PIL import Image

from service.predictions.model_id import parse_onnx_model
from service.predictions.model_policy import ModelPolicy
from service.predictions.models.class_mapping import read_classes
from service.predictions.models.loaded_model import LoadedModel, ready
from service.predictions.models.model_folder import read_config_beside, resolve_file, transform_config
from service.predictions.models.onnx_graph import OnnxGraph, check_output_count, read_graph
from service.predictions.models.preprocessing import Preprocessing, timm_preprocessing

CPU = "CPUExecutionProvider"
PROVIDERS = ("CUDAExecutionProvider", CPU)  # the first that is there


class OnnxModule(torch.nn.Module):
    """A session of onnxruntime that is called like a module of torch."""

    def __init__(self, model: str, session: Any, graph: OnnxGraph) -> None:
        super().__init__()
        self._model = model
        self._session = session
        self._graph = graph
        self._outputs: int | None = None  # for an image; None: not known before the first run

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return (N, outputs) scores, float32, for (N, 3, H, W) normalized images.

        Raise ModelRefused for another number of scores than on the first run, which `load` makes.
        """
        some = [self._run(part) for part in torch.split(images, self._graph.batch or len(images))]
        return torch.cat(some).to(images.device)

    def _run(self, images: torch.Tensor) -> torch.Tensor:
        given = images.contiguous().to("cpu", torch.float16 if self._graph.half else torch.float32)
        (scores,) = self._scores(given.numpy())
        if scores.ndim != 2 or len(scores) != len(images):
            raise ModelRefused(f"{self._model}: expected outputs ({len(images)}, classes), got {scores.shape}")
        if scores.shape[1] != self._outputs:
            self._check_first(scores.shape[1])
        result = torch.from_numpy(scores).float()
        return result.log() if self._graph.probabilities else result  # the softmax that follows undoes it

    def _scores(self, images: Any) -> list[Any]:
        """Run the graph; raise ModelRefused if it fails on a CPU after it has run once: a GPU's failure may pass."""
        try:
            result: list[Any] = self._session.run([self._graph.output_name], {self._graph.input_name: images})
        except Exception as error:  # onnxruntime's errors share no class
            if self._outputs is None or self._session.get_providers()[0] != CPU:
                raise
            raise ModelRefused(f"{self._model}: the graph fails on images that it is given: {error!s:.200}") from error
        return result

    def _check_first(self, outputs: int) -> None:
        check_output_count(self._model, outputs)
        if self._outputs is not None:
            raise ModelRefused(f"{self._model}: expected {self._outputs} outputs as for a black image, got {outputs}")
        self._outputs = outputs


def load(rest: str, policy: ModelPolicy) -> LoadedModel:
    """Return the model; raise InvalidModelId outside the folder, ModelNotFound, or ModelRefused with what to do."""
    folder, model, asked = policy.folder, f"onnx:{rest}", parse_onnx_model(rest)
    if folder is None:
        raise InvalidModelId("onnx: models are not allowed here: the operator has set no ERRATA_MODELS", field="model")
    path = resolve_file(folder, asked)
    graph = read_graph(path, model)
    policy.check_parameters(model, graph.parameters)
    if graph.batch not in (None, 1):
        raise ModelRefused(f"{model}: expected a graph for any number of images, or one, got {graph.batch} a run")
    preparation = timm_preprocessing(model, transform_config(read_config_beside(folder, asked)))
    classes = read_classes(folder, asked)
    module = OnnxModule(model, _session(path, model), graph)
    outputs = _outputs(model, module, preparation)
    return ready(model, path.name, module, outputs, preparation, classes, digest=graph.sha256)


def _outputs(model: str, module: OnnxModule, preparation: Preprocessing) -> int:
    """Return how many outputs the graph has, by running it on a black image: its shapes needn't be true."""
    image = preparation.batch(preparation.single(Image.new("RGB", (64, 64)))[None])
    try:
        return int(module(image).shape[1])
    except ModelRefused:
        raise
    except Exception as error:  # onnxruntime's errors share no class
        raise ModelRefused(
            f"{model}: the graph doesn't run on images of {tuple(image.shape[1:])}, which config.json says: "
            f"{error!s:.200}"
        ) from error


def _session(path: Path, model: str) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4
    options.add_session_config_entry("session.load_model_format", "ONNX")  # what was checked, whatever its suffix
    available = onnxruntime.get_available_providers()
    try:
        return onnxruntime.InferenceSession(
            path, options, providers=[provider for provider in PROVIDERS if provider in available]
        )
    except Exception as error:  # onnxruntime's errors share no class
        reason = str(error).replace(str(path), path.name)
        raise ModelRefused(f"{model}: onnxruntime can't load the graph: {reason:.200}") from error
