"""file:PATH#ARCHITECTURE: a weights file in the folder ERRATA_MODELS, on an architecture of timm.

Without #ARCHITECTURE, the `architecture` of a config.json beside the weights is used. A `pretrained_cfg` in config.json
describes the preprocessing. If the outputs are not the classes of the label space in order, a classes.json maps them:
see class_mapping.py. Safetensors beside a config.json of transformers are loaded as an image classifier of that
library.
"""

from pathlib import Path, PurePosixPath
from typing import Any

import timm
from errata.errors import ModelNotFound, ModelRefused

from service.domain import LabelSpace
from service.predictions.model_id import parse_file_model
from service.predictions.model_policy import ModelPolicy
from service.predictions.models.class_mapping import check_outputs, read_classes
from service.predictions.models.loaded_model import LoadedModel, build_model, create_module, load_weights
from service.predictions.models.model_folder import read_config_beside, resolve_file, transform_config
from service.predictions.models.preprocessing import pretrained_config, timm_preprocessing
from service.predictions.models.transformers_files import CONFIG, PREPROCESSOR, is_transformers_config
from service.predictions.models.weights import count_outputs, read_weights


def load(rest: str, policy: ModelPolicy, label_space: LabelSpace) -> LoadedModel:
    """Return the model.

    Raises:
        InvalidModelId: The path is outside the folder, or there is no folder.
        ModelNotFound: The file or the architecture does not exist.
        ModelRefused: The file does not contain weights that match the architecture.
    """
    folder, model = policy.require_folder("file"), f"file:{rest}"
    model_id = parse_file_model(rest)
    path = resolve_file(folder, model_id.path)
    config = read_config_beside(folder, model_id.path)
    if not model_id.architecture and is_transformers_config(config):
        return _load_transformers(model, folder, model_id.path, policy, label_space)
    architecture = model_id.architecture or _architecture(config, model)
    if not timm.is_model(architecture):
        raise ModelNotFound(
            f"Unknown architecture {architecture!r:.80}. Expected an architecture of timm {timm.__version__}."
        )
    classes = read_classes(folder, model_id.path, label_space)
    outputs = classes.num_outputs
    module = create_module(
        policy, model, lambda: timm.create_model(architecture, pretrained=False, num_classes=outputs)
    )
    state = read_weights(path, model)
    check_outputs(model, count_outputs(state, module, outputs), classes)
    load_weights(model, module, state)
    preprocessing = timm_preprocessing(model, transform_config(config) or pretrained_config(module))
    return build_model(model, architecture, module, outputs, preprocessing, classes)


def _load_transformers(
    model: str, folder: Path, path: PurePosixPath, policy: ModelPolicy, label_space: LabelSpace
) -> LoadedModel:
    try:
        from service.predictions.models import transformers
    except ImportError as error:
        raise ModelRefused(
            f"{model}: The model needs the package transformers. Install errata-service[transformers] on all workers. "
            f"({error})"
        ) from error
    if path.suffix != ".safetensors":
        raise ModelRefused(f"{model}: Expected a .safetensors file. Save the model with save_pretrained.")
    for name in (CONFIG, PREPROCESSOR):
        resolve_file(folder, path.with_name(name))  # no link leads out of the folder
    return transformers.load_folder(model, folder / path.parent, policy, label_space, path.name)


def _architecture(config: dict[str, Any], model: str) -> str:
    architecture = config.get("architecture")
    if not isinstance(architecture, str):
        raise ModelRefused(
            f"{model}: The architecture is unknown. Append #ARCHITECTURE, or put a config.json with an architecture "
            "beside the weights."
        )
    return architecture
