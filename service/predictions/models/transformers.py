"""transformers:ORG/REPO[@REVISION]: an image classifier of transformers on the Hugging Face Hub.

Only config.json, preprocessor_config.json, and safetensors are read. The image processor that the repository describes
is the transform, and `id2label` names the class of each output. Code of a repository is never run.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from errata.errors import ModelRefused
from transformers import CONFIG_MAPPING, AutoModelForImageClassification, PreTrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES
from transformers.utils import logging

from service.domain import LabelSpace
from service.predictions.model_id import parse_hub_model
from service.predictions.model_policy import ModelPolicy
from service.predictions.models.class_mapping import OutputClasses, check_outputs, map_labels, map_outputs
from service.predictions.models.hub_files import HubFiles
from service.predictions.models.image_processor import read_image_processor
from service.predictions.models.loaded_model import LoadedModel, build_model, check_parameter_count
from service.predictions.models.model_folder import read_json_beside
from service.predictions.models.transformers_files import (
    CONFIG,
    INDEX,
    PREPROCESSOR,
    WEIGHTS,
    check_num_labels,
    read_object,
    read_shards,
    remove_code,
    write_object,
)
from service.storage import temporary_folder

REFUSED_TYPES = {
    "timm_wrapper": "Such a model wraps a model of timm. Use the model ID hf-hub:ORG/REPO.",
    "shieldgemma2": "Such a model does not predict a fixed set of classes. Upload predictions.",
}


class Logits(torch.nn.Module):
    """A classifier of transformers with the interface of a torch module."""

    def __init__(self, classifier: torch.nn.Module) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return (N, outputs) logits for (N, 3, H, W) preprocessed images."""
        logits: torch.Tensor = self.classifier(pixel_values=images, return_dict=True).logits
        return logits


def load(rest: str, policy: ModelPolicy, label_space: LabelSpace) -> LoadedModel:
    """Return the model.

    Raises:
        ModelNotFound: The hub has no such repository or revision.
        ModelRefused: The repository is not an image classifier with safetensors, or its classes do not match.
        Unavailable: The hub cannot be reached.
    """
    model, hub_model = f"transformers:{rest}", parse_hub_model(rest)
    hub = HubFiles(model, hub_model.repository, hub_model.revision or None, policy)
    with temporary_folder() as folder:
        for name in (CONFIG, PREPROCESSOR):
            hub.fetch(name, folder)
        if not hub.fetch_if_present(WEIGHTS, folder):
            hub.fetch(INDEX, folder)
            for shard in read_shards(model, folder / INDEX):
                hub.fetch(shard, folder)
        return load_folder(model, folder, policy, label_space)


def load_folder(
    model: str, folder: Path, policy: ModelPolicy, label_space: LabelSpace, name: str = WEIGHTS
) -> LoadedModel:
    """Return the model in a folder. `name` is the name of its weights file.

    Raises:
        ModelRefused: The files are no image classifier of transformers, or the classes do not match the label space.
    """
    raw = remove_code(read_object(model, folder / CONFIG))
    config = _create_config(model, raw)
    classes = _output_classes(model, folder, name, raw, label_space)
    check_outputs(model, config.num_labels, classes)
    with _refusing(model, "transformers cannot create the model"):
        check_parameter_count(policy, model, lambda: AutoModelForImageClassification.from_config(config))
    processor = read_image_processor(model, folder, raw)
    classifier = _load_classifier(model, folder, name, config, raw)
    module = Logits(classifier).eval()
    with _refusing(model, "The model does not run on a preprocessed image"), torch.inference_mode():
        outputs = int(module(processor.example[None]).shape[1])
    architecture = str(raw["architectures"][0])
    return build_model(model, architecture, module, outputs, processor.preprocessing, classes, settings=raw)


def _create_config(model: str, raw: dict[str, Any]) -> PreTrainedConfig:
    model_type, architectures = raw.get("model_type"), raw.get("architectures")
    if "model_type" not in raw or not isinstance(architectures, list) or not architectures:
        raise ModelRefused(
            f"{model}: {CONFIG} is not in the form that transformers writes: model_type or architectures missing. "
            "Save the model with save_pretrained."
        )
    known = MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES.get(model_type, ()) if isinstance(model_type, str) else ()
    if architectures[0] not in ((known,) if isinstance(known, str) else known):
        raise ModelRefused(
            f"{model}: {CONFIG} has the architecture {architectures[0]!r:.80} of type {model_type!r:.40}. Expected an "
            "image classifier of transformers, such as ViTForImageClassification. Code in the repository is not run."
        )
    if model_type in REFUSED_TYPES:
        raise ModelRefused(f"{model}: Models of type {model_type} are not supported. {REFUSED_TYPES[model_type]}")
    check_num_labels(model, raw)
    with _refusing(model, f"{CONFIG} cannot be read by transformers"):
        config: PreTrainedConfig = CONFIG_MAPPING[str(model_type)].from_dict(raw)
    return config


def _output_classes(model: str, folder: Path, name: str, raw: dict[str, Any], label_space: LabelSpace) -> OutputClasses:
    """Return the classes of the outputs: those in a classes.json beside the weights, or else those in id2label."""
    entries = read_json_beside(folder, PurePosixPath(name), "classes.json")
    if entries is not None:
        return map_outputs(f"classes.json of {model}", entries, label_space)
    return map_labels(f"id2label in {CONFIG} of {model}", raw.get("id2label"), label_space)


def _load_classifier(
    model: str, folder: Path, name: str, config: PreTrainedConfig, raw: dict[str, Any]
) -> torch.nn.Module:
    """Load a classifier from a folder without any other files; raise ModelRefused if some weights are missing."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    with temporary_folder() as clean, _refusing(model, "The weights cannot be read, and may be truncated"):
        write_object(clean / CONFIG, raw)
        if name == WEIGHTS and not (folder / WEIGHTS).exists():
            for file in (INDEX, *read_shards(model, folder / INDEX)):
                (clean / file).symlink_to((folder / file).resolve())
        else:
            (clean / WEIGHTS).symlink_to((folder / name).resolve())
        classifier, report = AutoModelForImageClassification.from_pretrained(
            clean,
            config=config,
            ignore_mismatched_sizes=True,  # such weights are in the report, and refused below
            dtype=torch.float32,
            local_files_only=True,
            output_loading_info=True,
            trust_remote_code=False,
            use_safetensors=True,
        )
    wrong = sorted([*report["missing_keys"], *(entry[0] for entry in report["mismatched_keys"])])
    if wrong:
        raise ModelRefused(
            f"{model}: {len(wrong)} parameters of {raw['architectures'][0]} are missing in the weights, or have other "
            f"shapes: {', '.join(wrong):.200}. Save the complete model with save_pretrained."
        )
    module: torch.nn.Module = classifier
    return module


@contextmanager
def _refusing(model: str, problem: str) -> Iterator[None]:
    """Map errors of transformers, which have no common class, to ModelRefused."""
    try:
        yield
    except ModelRefused:
        raise
    except Exception as error:
        raise ModelRefused(
            f"{model}: {problem}: {type(error).__name__}: {error!s:.200}. Save the model with save_pretrained."
        ) from error
