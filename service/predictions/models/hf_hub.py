"""hf-hub:ORG/REPO[@REVISION]: a timm model on Hugging Face's hub, from its config.json and model.safetensors alone."""

from pathlib import Path
from typing import Any

import timm
from errata.errors import ModelNotFound, ModelRefused
from errata.json_input import parse_json
from huggingface_hub import hf_hub_download

from service.domain import NUM_CLASSES
from service.predictions.model_id import parse_hub_model
from service.predictions.model_policy import ModelPolicy
from service.predictions.models.class_mapping import check_outputs
from service.predictions.models.download import download_errors, hub_file_size
from service.predictions.models.loaded_model import LoadedModel, create_module, load_weights, ready
from service.predictions.models.model_folder import transform_config
from service.predictions.models.preprocessing import timm_preprocessing
from service.predictions.models.weights import count_outputs, read_weights

CONFIG, WEIGHTS = "config.json", "model.safetensors"
# arguments of timm.create_model that would make it read other files, or no classifier at all
FORBIDDEN = frozenset({
    "cache_dir", "checkpoint_path", "exportable", "features_only", "model_name", "no_jit", "pretrained",
    "pretrained_cfg", "pretrained_cfg_overlay", "scriptable",
})  # fmt: skip


def load(rest: str, policy: ModelPolicy) -> LoadedModel:
    """Return the model; raise ModelNotFound, ModelRefused without safetensors or a timm config, or Unavailable."""
    model, asked = f"hf-hub:{rest}", parse_hub_model(rest)
    revision = asked.revision or None
    config = _config(model, _fetch(model, asked.repository, CONFIG, revision))
    architecture, arguments = config["architecture"], config.get("model_args") or {}
    outputs = config.get("num_classes") or transform_config(config).get("num_classes")
    check_outputs(model, outputs, None)
    module = create_module(policy, model, lambda: _make(model, architecture, arguments))
    policy.check_download(model, hub_file_size(model, asked.repository, WEIGHTS, revision))
    try:
        path = _fetch(model, asked.repository, WEIGHTS, revision)
    except ModelNotFound as error:
        raise ModelRefused(f"{model}: expected {WEIGHTS} in the repository: other formats are not read") from error
    state = read_weights(path, model)
    check_outputs(model, count_outputs(state, module, NUM_CLASSES), None)
    load_weights(model, module, state)
    return ready(model, architecture, module, NUM_CLASSES, timm_preprocessing(model, transform_config(config)))


def _fetch(model: str, repository: str, name: str, revision: str | None) -> Path:
    with download_errors(model):
        return Path(hf_hub_download(repository, name, revision=revision, library_name="errata"))


def _config(model: str, path: Path) -> dict[str, Any]:
    try:
        config = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelRefused(f"{model}: expected a {CONFIG} of JSON, got {error!s:.120}") from error
    if not isinstance(config, dict) or not isinstance(config.get("pretrained_cfg", {}), dict):
        raise ModelRefused(f"{model}: expected a {CONFIG} in timm's form, got {config!r:.80}")
    architecture, arguments = config.get("architecture"), config.get("model_args") or {}
    if not isinstance(architecture, str) or not timm.is_model(architecture):
        raise ModelRefused(
            f"{model}: expected a {CONFIG} with an architecture of timm {timm.__version__}, got {architecture!r:.80}"
        )
    if not isinstance(arguments, dict) or FORBIDDEN & arguments.keys():
        raise ModelRefused(f"{model}: expected model_args that only shape the model, got {arguments!r:.120}")
    return config


def _make(model: str, architecture: str, arguments: dict[str, Any]) -> Any:
    try:
        return timm.create_model(architecture, pretrained=False, **arguments)
    except (TypeError, ValueError, AssertionError) as error:
        raise ModelRefused(
            f"{model}: timm can't make {architecture} with {arguments!r:.120}: {error!s:.120}"
        ) from error
