"""The table of model sources."""

from collections.abc import Callable, Mapping
from importlib import import_module

from errata.errors import ModelRefused

from service.domain import LabelSpace
from service.predictions.model_policy import ModelPolicy
from service.predictions.models import demo, file, hf_hub, mlflow, timm, torchvision, wandb
from service.predictions.models.loaded_model import LoadedModel

Load = Callable[[str, ModelPolicy, LabelSpace], LoadedModel]


def _optional(module: str, extra: str) -> Load:
    """Return the loader in a module that needs the packages of an extra. The module is imported when it is used."""

    def load(rest: str, policy: ModelPolicy, label_space: LabelSpace) -> LoadedModel:
        try:
            loader: Load = import_module(f"service.predictions.models.{module}").load
        except ImportError as error:
            raise ModelRefused(
                f"A package for models of this source is missing. Install errata-service[{extra}]. ({error})"
            ) from error
        return loader(rest, policy, label_space)

    return load


SOURCES: Mapping[str, Load] = {
    "demo": demo.load,
    "timm": timm.load,
    "torchvision": torchvision.load,
    "hf-hub": hf_hub.load,
    "file": file.load,
    "transformers": _optional("transformers", "transformers"),
    "hf-onnx": _optional("hub_onnx", "onnx,transformers"),
    "onnx": _optional("onnx", "onnx"),
    "mlflow": mlflow.load,
    "wandb": wandb.load,
}
