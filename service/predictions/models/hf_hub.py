"""hf-hub:ORG/REPO[@REVISION]: a timm model on the Hugging Face Hub. Only config.json and model.safetensors are read.

On a label space other than ImageNet-1k, the `label_names` of config.json name the class of each output.
"""

from pathlib import Path
from typing import Any

import timm
from errata.errors import ModelNotFound, ModelRefused
from errata.json_input import parse_json
from huggingface_hub import hf_hub_download

from service.domain import LabelSpace
from service.predictions.model_id import parse_hub_model
from service.predictions.model_policy import ModelPolicy
from service.predictions.models.class_mapping import check_outputs, named_outputs
from service.predictions.models.download import download_errors, hub_file_size
from service.predictions.models.loaded_model import LoadedModel, build_model, create_module, load_weights
from service.predictions.models.model_folder import transform_config
from service.predictions.models.preprocessing import timm_preprocessing
from service.predictions.models.transformers_files import CONFIG, WEIGHTS, is_transformers_config
from service.predictions.models.weights import count_outputs, read_weights

# Arguments that make timm.create_model read other files, or return something other than a classifier.
FORBIDDEN_ARGUMENTS = frozenset({
    "cache_dir", "checkpoint_path", "exportable", "features_only", "model_name", "no_jit", "pretrained",
    "pretrained_cfg", "pretrained_cfg_overlay", "scriptable",
})  # fmt: skip


def load(rest: str, policy: ModelPolicy, label_space: LabelSpace) -> LoadedModel:
    """Return the model.

    Raises:
        ModelNotFound: The hub has no such repository or revision.
        ModelRefused: The repository has no safetensors, no config.json in timm's form, or unsuitable outputs.
        Unavailable: The hub cannot be reached.
    """
    model, model_id = f"hf-hub:{rest}", parse_hub_model(rest)
    revision = model_id.revision or None
    config = _read_config(model, _download(model, model_id.repository, CONFIG, revision))
    architecture, arguments = config["architecture"], config.get("model_args") or {}
    outputs: Any = config.get("num_classes") or transform_config(config).get("num_classes")
    classes = named_outputs(model, config, label_space)
    check_outputs(model, outputs, classes)
    module = create_module(policy, model, lambda: _create(model, architecture, {"num_classes": outputs} | arguments))
    policy.check_download(model, hub_file_size(model, model_id.repository, WEIGHTS, revision))
    try:
        path = _download(model, model_id.repository, WEIGHTS, revision)
    except ModelNotFound as error:
        raise ModelRefused(
            f"{model}: The repository has no {WEIGHTS}, and Errata reads no other format. Convert the weights to "
            "safetensors."
        ) from error
    state = read_weights(path, model)
    check_outputs(model, count_outputs(state, module, classes.num_outputs), classes)
    load_weights(model, module, state)
    preprocessing = timm_preprocessing(model, transform_config(config))
    return build_model(model, architecture, module, classes.num_outputs, preprocessing, classes, settings=arguments)


def _download(model: str, repository: str, name: str, revision: str | None) -> Path:
    with download_errors(model):
        return Path(hf_hub_download(repository, name, revision=revision, library_name="errata"))


def _read_config(model: str, path: Path) -> dict[str, Any]:
    try:
        config = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelRefused(f"{model}: {CONFIG} is not valid JSON: {error!s:.120}. Correct the file.") from error
    if is_transformers_config(config):
        raise ModelRefused(f"{model}: The repository is a model of transformers. Use the source hf or transformers.")
    if not isinstance(config, dict) or not isinstance(config.get("pretrained_cfg", {}), dict):
        raise ModelRefused(f"{model}: {CONFIG} is not in the form that timm writes: {config!r:.80}.")
    architecture, arguments = config.get("architecture"), config.get("model_args") or {}
    if not isinstance(architecture, str) or not timm.is_model(architecture):
        raise ModelRefused(
            f"{model}: {CONFIG} has the unknown architecture {architecture!r:.80}. Expected an architecture of timm "
            f"{timm.__version__}."
        )
    if not isinstance(arguments, dict) or FORBIDDEN_ARGUMENTS & arguments.keys():
        raise ModelRefused(
            f"{model}: {CONFIG} has the model_args {arguments!r:.120}. Expected an object of arguments that only "
            "change the shape of the model."
        )
    return config


def _create(model: str, architecture: str, arguments: dict[str, Any]) -> Any:
    try:
        return timm.create_model(architecture, pretrained=False, **arguments)
    except (TypeError, ValueError, AssertionError) as error:
        raise ModelRefused(
            f"{model}: timm cannot create {architecture} with the model_args {arguments!r:.120}: {error!s:.120}. "
            f"Correct {CONFIG}."
        ) from error
