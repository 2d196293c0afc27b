"""A model that is ready to run: the module, how its images are prepared, and what is said of it."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from timm.data.config import resolve_model_data_config
from timm.data.transforms_factory import create_transform

from service.domain import NUM_CLASSES, ModelInfo
from service.errors import ModelRefused


@dataclass(frozen=True)
class LoadedModel:
    """One model, in evaluation mode."""

    module: torch.nn.Module
    transform: Callable[[Any], torch.Tensor]  # PIL image -> (3, H, W)
    info: ModelInfo


def ready(model: str, architecture: str, module: torch.nn.Module) -> LoadedModel:
    """Return a timm model with the transform of its own config; raise ModelRefused unless it has 1000 outputs."""
    outputs = getattr(module, "num_classes", None)
    if outputs != NUM_CLASSES:
        raise ModelRefused(f"{model}: expected a model with {NUM_CLASSES} outputs, got {outputs}")
    config = resolve_model_data_config(module)
    transform = create_transform(**config, is_training=False)
    info = ModelInfo(model, architecture, weights_digest(module), _describe(config))
    return LoadedModel(module.eval(), transform, info)


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


def _describe(config: dict[str, Any]) -> str:
    height, width = config["input_size"][1:]
    return (
        f"resize {config['crop_pct']:.3f} {config['crop_mode']} {config['interpolation']}, {height}x{width}, "
        f"mean {tuple(config['mean'])}, std {tuple(config['std'])}"
    )
