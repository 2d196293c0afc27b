"""Weights files: safetensors, or .pth files that torch reads with weights_only. Nothing is unpickled or executed."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from errata.errors import ModelRefused
from safetensors.torch import load_file

from service.predictions.models.preprocessing import pretrained_config
from service.storage import is_uncompressed

SAFE_FORMATS = (
    "Save the weights as safetensors, or with torch.save(model.state_dict()), and append #ARCHITECTURE, an "
    "architecture of timm."
)


def read_weights(path: Path, model: str) -> dict[str, torch.Tensor]:
    """Return the state dict in a file; raise ModelRefused for programs, pickles of other objects, and damaged files."""
    _check_archive(path, model)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        raw = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelRefused(
            f"{model}: The file contains more than weights, and Errata does not unpickle it. {SAFE_FORMATS}"
        ) from error
    except Exception as error:  # the readers may raise any error for a damaged file
        raise ModelRefused(
            f"{model}: The weights cannot be read, and may be truncated: {error!s:.200}. {SAFE_FORMATS}"
        ) from error
    return _state_dict(raw, model)


def count_outputs(state: dict[str, torch.Tensor], module: torch.nn.Module, default: int) -> int:
    """Return the number of outputs that the weights of a classifier show; `default` if they do not show a number."""
    names = pretrained_config(module).get("classifier")
    name = names if isinstance(names, str) else (names or ("",))[0]
    weight = state.get(f"{name}.weight")
    return default if weight is None or not weight.ndim else weight.shape[0]


def _state_dict(raw: Any, model: str) -> dict[str, torch.Tensor]:
    if isinstance(raw, dict) and isinstance(raw.get("state_dict"), dict):
        raw = raw["state_dict"]
    if not isinstance(raw, dict) or not all(isinstance(value, torch.Tensor) for value in raw.values()):
        raise ModelRefused(f"{model}: Expected a state dict of tensors, got {type(raw).__name__}. {SAFE_FORMATS}")
    if others := [name for name in raw if not isinstance(name, str)]:
        raise ModelRefused(f"{model}: The state dict has the key {others[0]!r:.80}. Expected names. {SAFE_FORMATS}")
    return raw


def _check_archive(path: Path, model: str) -> None:
    """Raise ModelRefused for an archive that contains code or is compressed. The archive is not unpacked."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [f"/{name}" for name in archive.namelist()]
            stored = is_uncompressed(archive)
    except (zipfile.BadZipFile, OSError, ValueError):
        return  # not an archive, or a damaged one; `read_weights` then reports the error
    if any(name.endswith("/constants.pkl") or "/code/" in name for name in names):
        raise ModelRefused(
            f"{model}: The file is a TorchScript program, which Errata does not run. Load it with torch.jit.load if "
            f"you trust it. {SAFE_FORMATS}"
        )
    if any(name.endswith(("/archive_format", "/model.json")) or "/serialized_" in name for name in names):
        raise ModelRefused(
            f"{model}: The file is a torch.export program (pt2), which Errata does not run. Load it with "
            f"torch.export.load if you trust it. {SAFE_FORMATS}"
        )
    if not stored:
        raise ModelRefused(f"{model}: The archive is compressed. Save the weights with torch.save, uncompressed.")
