"""timm:NAME[.TAG]: a pretrained model of timm, with weights from the Hugging Face Hub or the local cache.

A name without a tag means timm's default tag. The model info has the full name.
"""

from difflib import get_close_matches
from typing import Any

import timm
from errata.errors import ModelNotFound, ModelRefused
from safetensors import SafetensorError

from service.domain import LabelSpace
from service.predictions.model_policy import ModelPolicy
from service.predictions.models.class_mapping import require_imagenet
from service.predictions.models.download import download_errors, download_failed, hub_file_size, url_file_size
from service.predictions.models.loaded_model import LoadedModel, build_model, check_parameter_count
from service.predictions.models.preprocessing import pretrained_config, timm_preprocessing


def load(rest: str, policy: ModelPolicy, label_space: LabelSpace) -> LoadedModel:
    """Return the pretrained model.

    Raises:
        ModelNotFound: timm has no such model.
        ModelRefused: The label space is not ImageNet-1k, or the outputs of the model do not match it.
        Unavailable: The download failed.
    """
    name = full_name(rest)
    model = f"timm:{name}"
    classes = require_imagenet(model, label_space)
    check_parameter_count(policy, model, lambda: timm.create_model(name, pretrained=False))
    policy.check_download(model, _weights_size(model, name))
    try:
        with download_errors(model):
            module = timm.create_model(name, pretrained=True)
    except SafetensorError as error:
        raise ModelRefused(
            f"{model}: The cached weights cannot be read, and may be truncated: {error!s:.200}. Delete them from the "
            "cache of the Hugging Face Hub."
        ) from error
    except RuntimeError as error:  # timm raises RuntimeError for a failed download
        raise download_failed(model, error) from error
    outputs: Any = module.num_classes
    return build_model(model, name, module, outputs, timm_preprocessing(model, pretrained_config(module)), classes)


def full_name(name: str) -> str:
    """Return NAME.TAG, with the default tag if `name` has none; raise ModelNotFound if timm has no such weights."""
    if not timm.is_model(name):
        similar = get_close_matches(name, timm.list_models(pretrained=True), n=5)
        raise ModelNotFound(
            f"timm {timm.__version__} has no model {name!r}. "
            + (f"Similar names: {', '.join(similar)}." if similar else "No similar names.")
        )
    if not timm.is_model_pretrained(name):
        raise ModelNotFound(
            f"timm {timm.__version__} has no pretrained weights for {name!r}. Choose a name from "
            "timm.list_models(pretrained=True)."
        )
    architecture, _, tag = name.partition(".")
    tag = tag or getattr(timm.models.get_pretrained_cfg(name), "tag", None) or ""
    return f"{architecture}.{tag}" if tag else architecture


def _weights_size(model: str, name: str) -> int | None:
    config: Any = timm.models.get_pretrained_cfg(name)
    if config.hf_hub_id:
        return hub_file_size(model, config.hf_hub_id, config.hf_hub_filename or "model.safetensors")
    return url_file_size(config.url) if isinstance(config.url, str) else None
