"""torchvision:NAME[/WEIGHTS]: a classifier of torchvision with its own weights and transform.

Without WEIGHTS, what torchvision calls DEFAULT; the model is known by the weights' real name.
"""

from difflib import get_close_matches
from typing import Any

import torch
import torchvision
from errata.errors import ModelNotFound, ModelRefused, Unavailable

from service.predictions.model_id import parse_torchvision_model
from service.predictions.model_policy import ModelPolicy
from service.predictions.models.download import RETRY_AFTER, url_file_size
from service.predictions.models.loaded_model import LoadedModel, create_module, load_weights, ready
from service.predictions.models.preprocessing import torchvision_preprocessing


def load(rest: str, policy: ModelPolicy) -> LoadedModel:
    """Return the model; raise ModelNotFound for a name or weights that torchvision lacks, Unavailable if unfetched."""
    asked = parse_torchvision_model(rest)
    weights = _weights(asked.name, asked.weights)
    model = f"torchvision:{asked.name}/{weights.name}"
    module = create_module(policy, model, lambda: torchvision.models.get_model(asked.name, weights=None))
    policy.check_download(model, url_file_size(weights.url))
    load_weights(model, module, _fetch(model, weights))
    preparation = torchvision_preprocessing(model, weights.transforms())
    return ready(model, asked.name, module, len(weights.meta["categories"]), preparation)


def _weights(name: str, wanted: str) -> Any:
    known = torchvision.models.list_models(module=torchvision.models)  # classifiers alone
    if name not in known:
        near = get_close_matches(name, known, n=5)
        raise ModelNotFound(
            f"expected a classifier of torchvision {torchvision.__version__}, got {name!r:.80}; near it: "
            f"{', '.join(near) or 'none'}"
        )
    model_weights = torchvision.models.get_model_weights(name)
    if (wanted or "DEFAULT") not in model_weights.__members__:
        raise ModelNotFound(
            f"expected weights of {name}, one of {', '.join(model_weights.__members__)}, got {wanted!r:.80}"
        )
    return model_weights[wanted or "DEFAULT"]


def _fetch(model: str, weights: Any) -> dict[str, torch.Tensor]:
    try:
        return dict(weights.get_state_dict(progress=False, check_hash=True, map_location="cpu", weights_only=True))
    except OSError as error:
        raise Unavailable(
            f"{model}: the weights could not be fetched: {error!s:.200}", retry_after=RETRY_AFTER
        ) from error
    except Exception as error:  # a broken file in the cache: whatever the reader of pickles says
        raise ModelRefused(
            f"{model}: the weights can't be read, remove {weights.url.rpartition('/')[2]} from torch's "
            f"cache: {error!s:.200}"
        ) from error
