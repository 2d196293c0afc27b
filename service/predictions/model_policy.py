"""What an operator lets models be: which sources and names, from which folder, how large. Known without torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from errata.errors import InvalidModelId, ModelNotFound, ModelRefused

from service.predictions.model_id import ModelId, parse_hub_model
from service.predictions.registries import RegistryAddress

FOLDER_SOURCES = ("file", "onnx")  # sources that read the operator's own folder


@dataclass(frozen=True)
class ModelPolicy:
    """Bounds on models, asked where an analysis is accepted and again where it is run."""

    sources: Sequence[str] = ("*",)  # glob patterns over SOURCE:REST
    folder: Path | None = None  # ERRATA_MODELS
    max_parameters: int = 3_000_000_000
    max_download_bytes: int = 10 << 30
    registries: Sequence[RegistryAddress] = ()  # MLflow's

    def check(self, model: ModelId) -> None:
        """Raise InvalidModelId unless a pattern allows the model and, for `file:` and `onnx:`, there is a folder.

        A pattern that allows a repository of a hub allows all of its revisions.
        """
        known_as = [str(model)]
        if model.source == "hf-hub":
            known_as.append(f"hf-hub:{parse_hub_model(model.rest).repository}")
        if not any(fnmatchcase(name, pattern) for name in known_as for pattern in self.sources):
            allowed = ", ".join(self.sources) or "none"
            raise InvalidModelId(
                f"expected a model that ERRATA_MODEL_SOURCES allows ({allowed:.300}), got {str(model)!r:.80}",
                field="model",
            )
        if model.source in FOLDER_SOURCES and self.folder is None:
            raise InvalidModelId(
                f"{model.source}: models are not allowed here: the operator has set no ERRATA_MODELS", field="model"
            )

    def registry(self, name: str, model: str) -> RegistryAddress:
        """Return a registry by its id; without one: the only one. Raise ModelNotFound if there is no such one."""
        result = [registry for registry in self.registries if name in ("", registry.id)]
        if len(result) != 1:
            have = ", ".join(registry.id for registry in self.registries) or "none"
            raise ModelNotFound(f"expected one of the registries {have} in {model!r:.120}", field="model")
        return result[0]

    def check_parameters(self, model: str, parameters: int) -> None:
        """Raise ModelRefused if a model has more parameters than allowed."""
        if parameters > self.max_parameters:
            raise ModelRefused(
                f"{model}: expected at most {self.max_parameters:,} parameters (ERRATA_MAX_PARAMETERS), "
                f"got {parameters:,}"
            )

    def check_download(self, model: str, size: int | None) -> None:
        """Raise ModelRefused if what is to be fetched is known to be larger than allowed."""
        if size is not None and size > self.max_download_bytes:
            raise ModelRefused(
                f"{model}: expected weights of at most {self.max_download_bytes:,} bytes "
                f"(ERRATA_MAX_DOWNLOAD_BYTES), got {size:,}"
            )
