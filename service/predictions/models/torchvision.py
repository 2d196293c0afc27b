"""torchvision:NAME[/WEIGHTS]: a classifier of torchvision, with its weights and transform.

Without WEIGHTS, torchvision's DEFAULT weights are used. The model info has their real name.
"""

from difflib import get_close_matches
from typing import Any

import torch
import torchvision
from errata.errors import ModelNotFound, ModelRefused

from service.domain import LabelSpace
from service.predictions.model_id import parse_torchvision_model
from service.predictions.model_policy import ModelPolicy
from service.predictions.models.class_mapping import require_imagenet
from service.predictions.models.download import download_failed, url_file_size
from service.predictions.models.loaded_model import LoadedModel, build_model, create_module, load_weights
from service.predictions.models.preprocessing import torchvision_preprocessing


def load(rest: str, policy: ModelPolicy, label_space: LabelSpace) -> LoadedModel:
    """Return the model.

    Raises:
        ModelNotFound: torchvision has no such model, or no such weights.
        ModelRefused: The label space is not ImageNet-1k.
        Unavailable: The download failed.
    """
    model_id = parse_torchvision_model(rest)
    weights = _find_weights(model_id.name, model_id.weights)
    model = f"torchvision:{model_id.name}/{weights.name}"
    classes = require_imagenet(model, label_space)
    module = create_module(policy, model, lambda: torchvision.models.get_model(model_id.name, weights=None))
    policy.check_download(model, url_file_size(weights.url))
    load_weights(model, module, _download(model, weights))
    preprocessing = torchvision_preprocessing(model, weights.transforms())
    return build_model(model, model_id.name, module, len(weights.meta["categories"]), preprocessing, classes)


def _find_weights(name: str, weights: str) -> Any:
    names = torchvision.models.list_models(module=torchvision.models)  # classifiers only
    if name not in names:
        similar = get_close_matches(name, names, n=5)
        raise ModelNotFound(
            f"torchvision {torchvision.__version__} has no classifier {name!r:.80}. "
            + (f"Similar names: {', '.join(similar)}." if similar else "No similar names.")
        )
    known_weights = torchvision.models.get_model_weights(name)
    if (weights or "DEFAULT") not in known_weights.__members__:
        raise ModelNotFound(
            f"{name} has no weights {weights!r:.80}. Expected one of {', '.join(known_weights.__members__)}."
        )
    return known_weights[weights or "DEFAULT"]


def _download(model: str, weights: Any) -> dict[str, torch.Tensor]:
    try:
        return dict(weights.get_state_dict(progress=False, check_hash=True, map_location="cpu", weights_only=True))
    except OSError as error:
        raise download_failed(model, error) from error
    except Exception as error:  # a damaged file in the cache: the unpickler may raise any error
        raise ModelRefused(
            f"{model}: The cached weights cannot be read: {error!s:.200}. Delete {weights.url.rpartition('/')[2]} from "
            "torch's cache."
        ) from error
