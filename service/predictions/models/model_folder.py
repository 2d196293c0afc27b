"""Files in the operator's folder of models (ERRATA_MODELS). Paths and links that lead out of it are refused."""

from pathlib import Path, PurePosixPath
from typing import Any

from errata.errors import InvalidModelId, ModelNotFound, ModelRefused
from errata.json_input import parse_json


def resolve_file(folder: Path, path: PurePosixPath | Path) -> Path:
    """Return the real path of a file; raise InvalidModelId if it is outside the folder, ModelNotFound if missing."""
    try:
        resolved = (folder / path).resolve()
    except (RuntimeError, OSError, ValueError) as error:  # circular links, or a name with a zero byte
        raise InvalidModelId(
            f"The path {str(path)!r:.80} cannot be resolved. Use the path of a file in the folder ERRATA_MODELS.",
            field="model",
        ) from error
    if not resolved.is_relative_to(folder.resolve()):
        raise InvalidModelId(
            f"The path {str(path)!r:.80} leads out of the folder ERRATA_MODELS. Use a file inside it.", field="model"
        )
    if not resolved.is_file():
        raise ModelNotFound(f"No file {str(path)!r:.80} in the folder ERRATA_MODELS. Copy the model there.")
    return resolved


def read_json_beside(folder: Path, weights: PurePosixPath, name: str) -> Any:
    """Return the JSON in STEM.NAME beside the weights, or else in NAME; None if both files are missing."""
    for path in (weights.with_name(f"{weights.stem}.{name}"), weights.with_name(name)):
        if (folder / path).exists():
            file = resolve_file(folder, path)
            try:
                return parse_json(file.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise ModelRefused(f"{path}: The file is not valid JSON: {error!s:.120}. Correct the file.") from error
    return None


def read_config_beside(folder: Path, weights: PurePosixPath) -> dict[str, Any]:
    """Return the config.json beside the weights, in the form of timm's hub files; empty if the file is missing."""
    config = read_json_beside(folder, weights, "config.json")
    if config is None:
        return {}
    if not isinstance(config, dict) or not isinstance(config.get("pretrained_cfg", {}), dict):
        raise ModelRefused(
            f"config.json beside {weights.name}: Expected an object in the form of timm's config.json, got "
            f"{config!r:.80}."
        )
    return config


def transform_config(config: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a config.json that describes the preprocessing; empty if it has none."""
    transform = config.get("pretrained_cfg", config)
    return transform if "input_size" in transform or "mean" in transform else {}
