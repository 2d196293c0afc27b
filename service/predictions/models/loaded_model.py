"""A model that is ready to run: the module, how its images are prepared, and what is said of it."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from errata.errors import ModelRefused
from PIL import Image

from service.domain import ModelInfo
from service.predictions.model_policy import ModelPolicy
from service.predictions.models.class_mapping import MappedOutputs, check_outputs, describe_mapping
from service.predictions.models.preprocessing import Preprocessing


@dataclass(frozen=True)
class LoadedModel:
    """One model, in evaluation mode."""

    module: torch.nn.Module  # batch of prepared images -> (N, 1000) scores
    prepare: Callable[[Image.Image], torch.Tensor]  # RGB image -> (3, H, W)
    info: ModelInfo
    known: Mapping[str, tuple[int, float]] | None = None  # predictions that came instead of a model, by image


def ready(
    model: str,
    architecture: str,
    module: torch.nn.Module,
    outputs: int | None,
    preparation: Preprocessing,
    classes: Sequence[int | None] | None = None,
    digest: str = "",
) -> LoadedModel:
    """Put a model together; raise ModelRefused unless each output has a class. Without a digest: of the module."""
    check_outputs(model, outputs, classes)
    described = preparation.description + describe_mapping(classes)
    info = ModelInfo(model, architecture, digest or weights_digest(module), described)
    whole = torch.nn.Sequential(preparation.batch, module)
    if classes is not None:
        whole.append(MappedOutputs(classes))
    return LoadedModel(whole.eval(), preparation.single, info)


def weights_digest(module: torch.nn.Module) -> str:
    """Return the SHA-256 over names, types, shapes and values of all parameters and buffers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
        digest.update(values.reshape(-1).view(torch.uint8).numpy().tobytes() if values.numel() else b"")
    return digest.hexdigest()


def load_weights(model: str, module: torch.nn.Module, state: dict[str, torch.Tensor]) -> None:
    """Load a state dict by name, all of it; raise ModelRefused with what differs."""
    try:
        module.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise ModelRefused(f"{model}: the weights don't fit the architecture: {error!s:.400}") from error


def create_module(policy: ModelPolicy, model: str, make: Callable[[], torch.nn.Module]) -> torch.nn.Module:
    """Make a module; raise ModelRefused if it has too many parameters, before memory is taken for them."""
    check_parameter_count(policy, model, make)
    return make()


def check_parameter_count(policy: ModelPolicy, model: str, make: Callable[[], torch.nn.Module]) -> None:
    """Raise ModelRefused if a module has too many parameters; only its outline is made, where it has one."""
    try:
        with torch.device("meta"):
            outline = make()
    except (NotImplementedError, RuntimeError):
        outline = make()  # some architectures compute with their own values
    policy.check_parameters(model, count_parameters(outline))


def count_parameters(module: torch.nn.Module) -> int:
    """Return how many parameters a module has."""
    return sum(parameter.numel() for parameter in module.parameters())
