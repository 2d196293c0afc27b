"""A model that is ready to run: its module, its preprocessing, and its description."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from errata.errors import ModelRefused
from PIL import Image

from service.domain import ModelInfo
from service.predictions.model_policy import ModelPolicy
from service.predictions.models.class_mapping import MappedOutputs, OutputClasses, check_outputs
from service.predictions.models.preprocessing import Preprocessing


@dataclass(frozen=True)
class LoadedModel:
    """One model, in evaluation mode."""

    module: torch.nn.Module  # batch of preprocessed images -> (N, C) scores
    preprocess: Callable[[Image.Image], torch.Tensor]  # RGB image -> (3, H, W)
    info: ModelInfo
    predictions: Mapping[str, tuple[int, float]] | None = None  # class and probability by image; None: run the module


def build_model(
    model: str,
    architecture: str,
    module: torch.nn.Module,
    outputs: int | None,
    preprocessing: Preprocessing,
    classes: OutputClasses,
    digest: str = "",
    settings: Mapping[str, Any] | None = None,
) -> LoadedModel:
    """Create a model from its parts.

    Args:
        model: Model ID.
        architecture: Name of the architecture.
        module: Preprocessed batch -> (N, outputs) scores.
        outputs: Number of outputs.
        preprocessing: The model's own transform.
        classes: The classes of the outputs.
        digest: SHA-256 of the weights; empty: computed from the module.
        settings: JSON settings that change what the weights compute, such as the activation function.

    Raises:
        ModelRefused: The outputs do not match the classes.
    """
    check_outputs(model, outputs, classes)
    transform = preprocessing.description + classes.description
    settings_digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest() if settings else ""
    info = ModelInfo(model, architecture, digest or weights_digest(module), transform, settings_digest)
    sequence = torch.nn.Sequential(preprocessing.batch, module)
    if classes.mapping is not None:
        sequence.append(MappedOutputs(classes.mapping, classes.num_classes))
    return LoadedModel(sequence.eval(), preprocessing.single, info)


def weights_digest(module: torch.nn.Module) -> str:
    """Return the SHA-256 of the names, types, shapes, and values of all parameters and buffers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
        digest.update(values.reshape(-1).view(torch.uint8).numpy().tobytes() if values.numel() else b"")
    return digest.hexdigest()


def load_weights(model: str, module: torch.nn.Module, state: dict[str, torch.Tensor]) -> None:
    """Load a complete state dict by name; raise ModelRefused if it does not match the module."""
    try:
        module.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise ModelRefused(
            f"{model}: The weights do not match the architecture. Name the architecture that they were saved from. "
            f"({error!s:.400})"
        ) from error


def create_module(policy: ModelPolicy, model: str, make: Callable[[], torch.nn.Module]) -> torch.nn.Module:
    """Create a module; raise ModelRefused, before memory is allocated, if it has too many parameters."""
    check_parameter_count(policy, model, make)
    return make()


def check_parameter_count(policy: ModelPolicy, model: str, make: Callable[[], torch.nn.Module]) -> None:
    """Raise ModelRefused if a module has too many parameters. If possible, count them without allocating memory."""
    try:
        with torch.device("meta"):
            module = make()
    except (NotImplementedError, RuntimeError):
        module = make()  # to create some architectures, values of parameters are needed
    policy.check_parameters(model, sum(parameter.numel() for parameter in module.parameters()))
