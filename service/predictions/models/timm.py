"""timm:NAME[.TAG]: a pretrained model of timm, its weights from timm's hub or the local cache.

A name without a tag means timm's default tag; the model is known by the full name.
"""

from difflib import get_close_matches
from typing import Any

import timm
from errata.errors import ModelNotFound, ModelRefused, Unavailable
from safetensors import SafetensorError

from service.predictions.model_policy import ModelPolicy
from service.predictions.models.download import RETRY_AFTER, download_errors, hub_file_size, url_file_size
from service.predictions.models.loaded_model import LoadedModel, check_parameter_count, ready
from service.predictions.models.preprocessing import pretrained_config, timm_preprocessing


def load(rest: str, policy: ModelPolicy) -> LoadedModel:
    """Return timm's pretrained model; raise ModelNotFound if there is none, Unavailable if it can't be fetched."""
    name = full_name(rest)
    model = f"timm:{name}"
    check_parameter_count(policy, model, lambda: timm.create_model(name, pretrained=False))
    policy.check_download(model, _size(model, name))
    try:
        with download_errors(model):
            module = timm.create_model(name, pretrained=True)
    except SafetensorError as error:
        raise ModelRefused(
            f"{model}: the weights in the hub's cache can't be read, they may be truncated: {error!s:.200}"
        ) from error
    except RuntimeError as error:  # timm's own words for a fetch that failed
        raise Unavailable(
            f"{model}: the weights could not be fetched: {error!s:.200}", retry_after=RETRY_AFTER
        ) from error
    outputs: Any = module.num_classes
    return ready(model, name, module, outputs, timm_preprocessing(model, pretrained_config(module)))


def full_name(name: str) -> str:
    """Return NAME.TAG, with the default tag where none is given; raise ModelNotFound if timm has no such weights."""
    if not timm.is_model(name):
        near = get_close_matches(name, timm.list_models(pretrained=True), n=5)
        raise ModelNotFound(
            f"expected a model of timm {timm.__version__}, got {name!r}; near it: {', '.join(near) or 'none'}"
        )
    if not timm.is_model_pretrained(name):
        raise ModelNotFound(f"timm {timm.__version__} has no pretrained weights for {name!r}")
    architecture, _, tag = name.partition(".")
    tag = tag or getattr(timm.models.get_pretrained_cfg(name), "tag", None) or ""
    return f"{architecture}.{tag}" if tag else architecture


def _size(model: str, name: str) -> int | None:
    config: Any = timm.models.get_pretrained_cfg(name)
    if config.hf_hub_id:
        return hub_file_size(model, config.hf_hub_id, config.hf_hub_filename or "model.safetensors")
    return url_file_size(config.url) if isinstance(config.url, str) else None
