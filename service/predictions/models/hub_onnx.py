"""hf-onnx:ORG/REPO[@REVISION][#PATH]: an ONNX graph on the Hugging Face Hub, and its weights files.

The transform is that of preprocessor_config.json, or of a config.json in the form of timm. `id2label` or `label_names`
in config.json name the class of each output.
"""

from pathlib import Path, PurePosixPath
from typing import Any

from errata.errors import ModelRefused

from service.domain import LabelSpace
from service.predictions.model_id import HUB_GRAPHS, HubGraph, parse_hub_graph
from service.predictions.model_policy import ModelPolicy
from service.predictions.models import onnx
from service.predictions.models.class_mapping import OutputClasses, map_labels, named_outputs
from service.predictions.models.hub_files import HubFiles
from service.predictions.models.image_processor import read_image_processor
from service.predictions.models.loaded_model import LoadedModel
from service.predictions.models.model_folder import transform_config
from service.predictions.models.onnx_graph import external_files
from service.predictions.models.preprocessing import Preprocessing, timm_preprocessing
from service.predictions.models.transformers_files import CONFIG, PREPROCESSOR, read_object, remove_code
from service.storage import temporary_folder


def load(rest: str, policy: ModelPolicy, label_space: LabelSpace) -> LoadedModel:
    """Return the model.

    Raises:
        ModelNotFound: The hub has no such repository or revision.
        ModelRefused: The repository has no such graph, the graph cannot be used, or its classes are unknown.
        Unavailable: The hub cannot be reached.
    """
    model, graph = f"hf-onnx:{rest}", parse_hub_graph(rest)
    hub = HubFiles(model, graph.repository, graph.revision or None, policy)
    with temporary_folder() as folder:
        hub.fetch(CONFIG, folder)
        config = remove_code(read_object(model, folder / CONFIG))
        classes = _output_classes(model, config, label_space)
        preprocessing = _preprocessing(hub, folder, config)
        path = _fetch_graph(hub, graph, folder)
        for name in external_files(folder / path.name, model):
            hub.fetch(str(path.parent / name), folder)
        return onnx.load_graph(model, folder / path.name, policy, preprocessing, classes)


def _fetch_graph(hub: HubFiles, graph: HubGraph, folder: Path) -> PurePosixPath:
    """Fetch the graph with the path in the model ID, or at the first of the usual paths; return its path."""
    for path in [graph.path] if graph.path else HUB_GRAPHS:
        if hub.fetch_if_present(path, folder):
            return PurePosixPath(path)
    raise ModelRefused(
        f"{hub.model}: The repository has no {graph.path or ' or '.join(HUB_GRAPHS)}. Append #PATH, the path of an "
        ".onnx file in the repository."
    )


def _preprocessing(hub: HubFiles, folder: Path, config: dict[str, Any]) -> Preprocessing:
    if isinstance(config.get("pretrained_cfg", config), dict) and (transform := transform_config(config)):
        return timm_preprocessing(hub.model, transform)
    hub.fetch(PREPROCESSOR, folder)
    return read_image_processor(hub.model, folder, config).preprocessing


def _output_classes(model: str, config: dict[str, Any], label_space: LabelSpace) -> OutputClasses:
    if "id2label" in config:
        return map_labels(f"id2label in {CONFIG} of {model}", config["id2label"], label_space)
    return named_outputs(model, config, label_space)
