"""Files of a model of transformers, without the parts that make transformers run code or read other files."""

import json
import re
from pathlib import Path
from typing import Any

from errata.errors import ModelRefused
from errata.json_input import parse_json

from service.storage import create_file

CONFIG, PREPROCESSOR = "config.json", "preprocessor_config.json"
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
MAX_JSON_BYTES = 8 << 20  # ImageNet-21k has 21,841 labels
MAX_SHARDS = 200
MAX_LABELS = 100_000
_SHARD = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")
# Keys that name code, kernels, or other models, or that load other weights than those in the file.
REMOVED_KEYS = frozenset({
    "attn_implementation", "auto_map", "backbone_kwargs", "custom_pipelines", "dtype", "experts_implementation",
    "name_or_path", "quantization_config", "torch_dtype", "use_kernels", "use_pretrained_backbone",
    "use_timm_backbone",
})  # fmt: skip


def read_object(model: str, path: Path) -> dict[str, Any]:
    """Return the JSON object in a file; raise ModelRefused if the file is missing, too large, or not a JSON object."""
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise ModelRefused(
                f"{model}: {path.name} has more than {MAX_JSON_BYTES:,} bytes. Save it with save_pretrained."
            )
        value = parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelRefused(f"{model}: {path.name} is missing. Save it with save_pretrained.") from error
    except (OSError, ValueError) as error:
        raise ModelRefused(f"{model}: {path.name} is not valid JSON: {error!s:.120}. Correct the file.") from error
    if not isinstance(value, dict):
        raise ModelRefused(f"{model}: Expected {path.name} to contain an object, got {value!r:.60}.")
    return value


def is_transformers_config(config: object) -> bool:
    """Return whether the content of a config.json has the form that transformers writes, and not that of timm."""
    return isinstance(config, dict) and "model_type" in config and "architecture" not in config


def remove_code(value: Any) -> Any:
    """Return a JSON value without REMOVED_KEYS and without keys that begin with an underscore, at any depth."""
    if isinstance(value, dict):
        return {
            key: remove_code(entry)
            for key, entry in value.items()
            if key not in REMOVED_KEYS and not key.startswith("_")
        }
    return [remove_code(entry) for entry in value] if isinstance(value, list) else value


def check_num_labels(model: str, value: Any) -> None:
    """Raise ModelRefused for a `num_labels` above MAX_LABELS at any depth: transformers would create all labels."""
    if isinstance(value, dict):
        number = value.get("num_labels")
        if isinstance(number, int | float) and not number <= MAX_LABELS:
            raise ModelRefused(f"{model}: {CONFIG} has num_labels {number!r:.40}. Expected at most {MAX_LABELS:,}.")
    for entry in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        check_num_labels(model, entry)


def read_shards(model: str, index: Path) -> list[str]:
    """Return the names of the weights files that an index lists; raise ModelRefused for a name of another form."""
    weight_map = read_object(model, index).get("weight_map")
    names = sorted(set(map(str, weight_map.values()))) if isinstance(weight_map, dict) else []
    invalid = [name for name in names if not _SHARD.fullmatch(name)]
    if not names or invalid or len(names) > MAX_SHARDS:
        raise ModelRefused(
            f"{model}: {index.name} lists {len(names)} files, such as {(invalid or names or ['none'])[0]!r:.80}. "
            f"Expected 1 to {MAX_SHARDS} files model-N-of-N.safetensors. Save the model with save_pretrained."
        )
    return names


def write_object(path: Path, value: dict[str, Any]) -> None:
    """Write a JSON object to a new file."""
    create_file(path, json.dumps(value).encode())
