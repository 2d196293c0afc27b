"""Files of the permitted folder: weights, and what lies beside them. No path and no link leads out of it."""

from pathlib import Path, PurePosixPath
from typing import Any

from errata.errors import InvalidModelId, ModelNotFound, ModelRefused
from errata.json_input import parse_json


def resolve_file(folder: Path, path: PurePosixPath | Path) -> Path:
    """Return the real path of a file; raise InvalidModelId if it lies outside the folder, ModelNotFound if nowhere."""
    try:
        result = (folder / path).resolve()
    except (RuntimeError, OSError, ValueError) as error:  # links in a circle, a name with a zero byte
        raise InvalidModelId(f"expected a file, got {str(path)!r:.80}, which leads nowhere", field="model") from error
    if not result.is_relative_to(folder.resolve()):
        raise InvalidModelId(
            f"expected a path inside the permitted folder, got {str(path)!r:.80}, which leads out", field="model"
        )
    if not result.is_file():
        raise ModelNotFound(f"expected a file in the permitted folder, got {str(path)!r:.80}, which isn't there")
    return result


def read_json_beside(folder: Path, weights: PurePosixPath, name: str) -> Any:
    """Return what a JSON file beside the weights holds, STEM.NAME before NAME; None if there is neither."""
    for item in (weights.with_name(f"{weights.stem}.{name}"), weights.with_name(name)):
        if (folder / item).exists():
            result = resolve_file(folder, item)
            try:
                return parse_json(result.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise ModelRefused(f"{item}: expected JSON, got something else: {error!s:.120}") from error
    return None


def read_config_beside(folder: Path, weights: PurePosixPath) -> dict[str, Any]:
    """Return config.json, as timm's hub files have it; empty if there is none."""
    config = read_json_beside(folder, weights, "config.json")
    if config is None:
        return {}
    if not isinstance(config, dict) or not isinstance(config.get("pretrained_cfg", {}), dict):
        raise ModelRefused(f"config.json beside {weights.name}: expected an object in timm's form, got {config!r:.80}")
    return config


def transform_config(config: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a config.json that says how images are prepared; empty if it says nothing of it."""
    result = config.get("pretrained_cfg", config)
    return result if "input_size" in result or "mean" in result else {}
