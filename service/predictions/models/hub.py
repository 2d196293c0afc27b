"""hf-hub:ORG/REPO[@REVISION]: a timm model on Hugging Face's hub, from its config.json and model.safetensors alone."""

from pathlib import Path
from typing import Any

import timm
from errata.errors import ModelNotFound, ModelRefused
from errata.json_input import parse_json
from huggingface_hub import hf_hub_download

from service.domain import NUM_CLASSES
from service.predictions.model_id import parse_hub_model
from service.predictions.models.class_mapping import check_outputs
from service.predictions.models.fetch import fetching, hub_size
from service.predictions.models.folder import transform_of
from service.predictions.models.loaded import LoadedModel, load_weights, made_within, ready
from service.predictions.models.preparation import timm_preparation
from service.predictions.models.weights import outputs_of, read_weights
from service.predictions.policy import ModelPolicy

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
    outputs = config.get("num_classes") or transform_of(config).get("num_classes")
    check_outputs(model, outputs, None)
    module = made_within(policy, model, lambda: _make(model, architecture, arguments))
    policy.check_download(model, hub_size(model, asked.repository, WEIGHTS, revision))
    try:
        path = _fetch(model, asked.repository, WEIGHTS, revision)
    except ModelNotFound as error:
        raise ModelRefused(f"{model}: expected {WEIGHTS} in the repository: other formats are not read") from error
    state = read_weights(path, model)
    check_outputs(model, outputs_of(state, module, NUM_CLASSES), None)
    load_weights(model, module, state)
    return ready(model, architecture, module, NUM_CLASSES, timm_preparation(model, transform_of(config)))


def _fetch(model: str, repository: str, name: str, revision: str | None) -> Path:
    with fetching(model):
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
