"""The operator's policy for models: allowed sources and names, the folder of models, and size limits.

This module needs no torch.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from errata.errors import InvalidModelId, ModelNotFound, ModelRefused

from service.predictions.model_id import (
    HUB_SOURCES,
    MlflowModel,
    ModelId,
    WandbArtifact,
    parse_hub_model,
    parse_mlflow_model,
    parse_wandb_artifact,
)
from service.predictions.registry_http import RegistryAddress

FOLDER_SOURCES = ("file", "onnx")  # sources that read the operator's folder


@dataclass(frozen=True)
class ModelPolicy:
    """Limits on models. They are checked when an analysis is accepted, and again when the model is loaded."""

    sources: Sequence[str] = ("*",)  # glob patterns for SOURCE:NAME
    folder: Path | None = None  # ERRATA_MODELS
    max_parameters: int = 3_000_000_000
    max_download_bytes: int = 10 << 30
    registries: Sequence[RegistryAddress] = ()  # MLflow and W&B registries
    max_cache_bytes: int = 0  # maximum size of the downloads that stay after a load; 0: no limit

    def check(self, model: ModelId) -> None:
        """Check that a model is allowed. A pattern for a hub repository allows all revisions of the repository.

        A pattern for `hf` allows all sources of the hub. A model of the source `hf` is allowed if its repository is
        allowed for one of these sources. The model is checked again when its actual source is known. A pattern for
        `mlflow` or `wandb` without a registry allows all configured registries, and a model without a registry is in
        the only one.

        Raises:
            InvalidModelId: No pattern allows the model, or the source is `file` or `onnx` and there is no folder.
        """
        names = [*_names(model), *self._names_in_registries(model)]
        if not any(fnmatchcase(name, pattern) for name in names for pattern in self.sources):
            allowed = ", ".join(self.sources) or "none"
            raise InvalidModelId(
                f"Model {str(model)!r:.80} is not allowed. ERRATA_MODEL_SOURCES allows {allowed:.300}. Choose another "
                "model, or ask the operator to allow it.",
                field="model",
            )
        if model.source in FOLDER_SOURCES:
            self.require_folder(model.source)

    def require_folder(self, source: str) -> Path:
        """Return the folder of models; raise InvalidModelId, which names the source, if there is none."""
        if self.folder is None:
            raise InvalidModelId(
                f"{source}: models are not allowed. Ask the operator to set ERRATA_MODELS.", field="model"
            )
        return self.folder

    def _names_in_registries(self, model: ModelId) -> list[str]:
        """Return the name of a model of `mlflow` or `wandb` without its registry, or with the only registry."""
        if model.source not in _REGISTRY_PREFIXES:
            return []
        parse, short, long = _REGISTRY_PREFIXES[model.source]
        if registry := parse(model.rest).registry:
            return [f"{model.source}:{short}{model.rest.removeprefix(long.format(registry))}"]
        registries = [registry.id for registry in self.registries if registry.kind == model.source]
        name = model.rest.removeprefix(short)
        return [f"{model.source}:{long.format(registries[0])}{name}"] if len(registries) == 1 else []

    def registry(self, name: str, model: str, kind: str = "mlflow") -> RegistryAddress:
        """Return the registry with this kind and ID. An empty ID means the only registry of the kind.

        Raises:
            ModelNotFound: There is no such registry, or the ID is empty and there are several registries of the kind.
        """
        registries = [registry for registry in self.registries if registry.kind == kind]
        matches = [registry for registry in registries if name in ("", registry.id)]
        if len(matches) != 1:
            known = ", ".join(registry.id for registry in registries) or "none"
            raise ModelNotFound(
                f"No registry for model {model!r:.120}. Known registries: {known}. Specify one with "
                f"{_REGISTRY_FORMS[kind]}.",
                field="model",
            )
        return matches[0]

    def check_parameters(self, model: str, parameters: int) -> None:
        """Raise ModelRefused if a model has more parameters than allowed."""
        if parameters > self.max_parameters:
            raise ModelRefused(
                f"{model} has {parameters:,} parameters. Expected at most {self.max_parameters:,}. Choose a smaller "
                "model, or ask the operator to raise ERRATA_MAX_PARAMETERS."
            )

    def check_download(self, model: str, size: int | None) -> None:
        """Raise ModelRefused if a download of a known size, in bytes, is larger than allowed."""
        if size is not None and size > self.max_download_bytes:
            raise ModelRefused(
                f"{model}: The download has {size:,} bytes. Expected at most {self.max_download_bytes:,} bytes. Choose "
                "a smaller model, or ask the operator to raise ERRATA_MAX_DOWNLOAD_BYTES."
            )


def _names(model: ModelId) -> list[str]:
    """Return the names of a model that a pattern can match."""
    names = [str(model)]
    if model.source in (*HUB_SOURCES, "hf"):
        rest = model.rest.partition("#")[0]
        repository = parse_hub_model(rest).repository
        sources = HUB_SOURCES if model.source == "hf" else (model.source, "hf")
        names += [f"{source}:{part}" for source in (*sources, model.source) for part in (rest, repository)]
    return names


# For each source of registries: its parser, and what precedes the name without and with a registry.
_REGISTRY_PREFIXES: Mapping[str, tuple[Callable[[str], MlflowModel | WandbArtifact], str, str]] = {
    "mlflow": (parse_mlflow_model, "models:/", "models://{}/"),
    "wandb": (parse_wandb_artifact, "", "//{}/"),
}
_REGISTRY_FORMS = {
    "mlflow": "mlflow:models://REGISTRY/NAME/VERSION",
    "wandb": "wandb://REGISTRY/ENTITY/PROJECT/NAME:VERSION",
}
