"""file:PATH#ARCHITECTURE: weights in the permitted folder, on an architecture of timm.

Without #ARCHITECTURE, a config.json beside the weights names it ("architecture", as timm's hub files have it); where it
has a pretrained_cfg, that is the model's transform. A classes.json maps a head of another size or order: see head.py.
"""

from typing import Any

import timm
from errata.errors import InvalidModelId, ModelNotFound, ModelRefused

from service.domain import NUM_CLASSES
from service.predictions.model_id import parse_file_model
from service.predictions.model_policy import ModelPolicy
from service.predictions.models.class_mapping import check_outputs, read_classes
from service.predictions.models.loaded_model import LoadedModel, create_module, load_weights, ready
from service.predictions.models.model_folder import read_config_beside, resolve_file, transform_config
from service.predictions.models.preprocessing import pretrained_config, timm_preprocessing
from service.predictions.models.weights import count_outputs, read_weights


def load(rest: str, policy: ModelPolicy) -> LoadedModel:
    """Return the model; raise ModelNotFound, InvalidModelId outside the folder, ModelRefused for all but weights."""
    folder, model = policy.folder, f"file:{rest}"
    if folder is None:
        raise InvalidModelId("file: models are not allowed here: the operator has set no ERRATA_MODELS", field="model")
    asked = parse_file_model(rest)
    path = resolve_file(folder, asked.path)
    config = read_config_beside(folder, asked.path)
    architecture = asked.architecture or _architecture_of(config, model)
    if not timm.is_model(architecture):
        raise ModelNotFound(f"expected an architecture of timm {timm.__version__}, got {architecture!r:.80}")
    classes = read_classes(folder, asked.path)
    outputs = NUM_CLASSES if classes is None else len(classes)
    module = create_module(
        policy, model, lambda: timm.create_model(architecture, pretrained=False, num_classes=outputs)
    )
    state = read_weights(path, model)
    check_outputs(model, count_outputs(state, module, outputs), classes)
    load_weights(model, module, state)
    preparation = timm_preprocessing(model, transform_config(config) or pretrained_config(module))
    return ready(model, architecture, module, outputs, preparation, classes)


def _architecture_of(config: dict[str, Any], model: str) -> str:
    architecture = config.get("architecture")
    if not isinstance(architecture, str):
        raise ModelRefused(
            f"{model}: expected #ARCHITECTURE, or a config.json beside it with an architecture, got neither"
        )
    return architecture
