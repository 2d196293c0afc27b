"""file:PATH#ARCHITECTURE: weights in the permitted folder, as safetensors or as a .pth that weights_only reads.

Without #ARCHITECTURE, a config.json beside the weights names it ("architecture", as timm's hub files have it).
"""

import json
import pickle
from pathlib import Path

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from service.errors import InvalidModelId, ModelNotFound, ModelRefused
from service.predictions.model_id import parse_file_model
from service.predictions.models.loaded import LoadedModel, load_weights, ready

SAFE_WAYS = "save the weights as safetensors, or torch.save(model.state_dict()), and name the timm architecture after #"


def load(rest: str, folder: Path | None) -> LoadedModel:
    """Return the model; raise ModelNotFound, InvalidModelId outside the folder, ModelRefused for all but weights."""
    if folder is None:
        raise InvalidModelId("file: models are not allowed here: the operator has set no ERRATA_MODELS", field="model")
    asked = parse_file_model(rest)
    path = (folder / asked.path).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise InvalidModelId(
            f"expected a path inside the permitted folder, got {str(asked.path)!r}, which leads out", field="model"
        )
    if not path.is_file():
        raise ModelNotFound(
            f"expected a file of weights in the permitted folder, got {str(asked.path)!r}, which isn't there"
        )
    architecture = asked.architecture or _architecture_beside(path)
    if not timm.is_model(architecture):
        raise ModelNotFound(f"expected an architecture of timm {timm.__version__}, got {architecture!r}")
    state = _read_weights(path, f"file:{rest}")
    module = timm.create_model(architecture, pretrained=False)
    load_weights(f"file:{rest}", module, state)
    return ready(f"file:{rest}", architecture, module)


def _read_weights(path: Path, model: str) -> dict[str, torch.Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        raw = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelRefused(f"{model}: it holds more than weights and is never unpickled: {SAFE_WAYS}") from error
    except (SafetensorError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise ModelRefused(
            f"{model}: the weights can't be read, they may be truncated: {error!s:.200}; {SAFE_WAYS}"
        ) from error
    if isinstance(raw, dict) and isinstance(raw.get("state_dict"), dict):
        raw = raw["state_dict"]
    if not isinstance(raw, dict) or not all(isinstance(value, torch.Tensor) for value in raw.values()):
        raise ModelRefused(f"{model}: expected a state dict of tensors, got {type(raw).__name__}; {SAFE_WAYS}")
    return raw


def _architecture_beside(path: Path) -> str:
    config = path.parent / "config.json"
    try:
        architecture = json.loads(config.read_text(encoding="utf-8"))["architecture"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelRefused(
            f"{path.name}: expected #ARCHITECTURE, or a config.json beside it with an architecture, got neither"
        ) from error
    return str(architecture)
