"""Files of weights: safetensors, or a .pth that weights_only reads. Nothing is ever unpickled or run."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from errata.errors import ModelRefused
from safetensors.torch import load_file

from service.predictions.models.preparation import own_config
from service.storage import is_uncompressed

SAFE_WAYS = "save the weights as safetensors, or torch.save(model.state_dict()), and name the timm architecture after #"


def read_weights(path: Path, model: str) -> dict[str, torch.Tensor]:
    """Return a state dict; raise ModelRefused, with what to do, for all else: programs, pickles, broken files."""
    _check_archive(path, model)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        raw = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelRefused(f"{model}: it holds more than weights and is never unpickled: {SAFE_WAYS}") from error
    except Exception as error:  # the readers may say anything of bytes that are no weights
        raise ModelRefused(
            f"{model}: the weights can't be read, they may be truncated: {error!s:.200}; {SAFE_WAYS}"
        ) from error
    return _state_of(raw, model)


def outputs_of(state: dict[str, torch.Tensor], module: torch.nn.Module, expected: int) -> int:
    """Return how many outputs the weights of a classifier have; the expected number where they don't say."""
    names = own_config(module).get("classifier")
    name = names if isinstance(names, str) else (names or ("",))[0]
    weight = state.get(f"{name}.weight")
    return expected if weight is None or not weight.ndim else weight.shape[0]


def _state_of(raw: Any, model: str) -> dict[str, torch.Tensor]:
    if isinstance(raw, dict) and isinstance(raw.get("state_dict"), dict):
        raw = raw["state_dict"]
    if not isinstance(raw, dict) or not all(isinstance(value, torch.Tensor) for value in raw.values()):
        raise ModelRefused(f"{model}: expected a state dict of tensors, got {type(raw).__name__}; {SAFE_WAYS}")
    return raw


def _check_archive(path: Path, model: str) -> None:
    """Refuse archives that hold code, or unpack to more than their size; nothing is unpacked."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [f"/{name}" for name in archive.namelist()]
            as_they_are = is_uncompressed(archive)
    except (zipfile.BadZipFile, OSError, ValueError):
        return  # no archive, or a broken one: the reader of weights says what is wrong
    if any(name.endswith("/constants.pkl") or "/code/" in name for name in names):
        raise ModelRefused(
            f"{model}: a TorchScript archive is a program and isn't run: torch.jit.load it where you trust it, "
            f"then {SAFE_WAYS}"
        )
    if any(name.endswith(("/archive_format", "/model.json")) or "/serialized_" in name for name in names):
        raise ModelRefused(
            f"{model}: a torch.export archive (pt2) is a program and isn't run: torch.export.load it where you trust "
            f"it, then {SAFE_WAYS}"
        )
    if not as_they_are:
        raise ModelRefused(
            f"{model}: expected an archive that stores its weights as they are, as torch.save does, got a packed one"
        )
