"""The table of model sources."""

from collections.abc import Callable, Mapping

from errata.errors import ModelRefused

from service.domain import LabelSpace
from service.predictions.model_policy import ModelPolicy
from service.predictions.models import demo, file, hf_hub, mlflow, timm, torchvision
from service.predictions.models.loaded_model import LoadedModel


def _load_onnx(rest: str, policy: ModelPolicy, label_space: LabelSpace) -> LoadedModel:
    try:
        from service.predictions.models import onnx
    except ImportError as error:
        raise ModelRefused(f"onnx: models need onnxruntime. Install errata-service[onnx]. ({error})") from error
    return onnx.load(rest, policy, label_space)


SOURCES: Mapping[str, Callable[[str, ModelPolicy, LabelSpace], LoadedModel]] = {
    "demo": demo.load,
    "timm": timm.load,
    "torchvision": torchvision.load,
    "hf-hub": hf_hub.load,
    "file": file.load,
    "onnx": _load_onnx,
    "mlflow": mlflow.load,
}
