"""Two ways to run a model on a folder of photographs: the predictor, and timm's loader with a plain loop."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import timm
import torch
from PIL import Image
from timm.data.config import resolve_model_data_config
from timm.data.dataset_factory import create_dataset
from timm.data.loader import create_loader

from service.evidence.labels import demo_folder
from service.jobs.worker import Predictor
from service.predictions.model_policy import ModelPolicy
from service.predictions.model_process.config import PredictorConfig
from service.predictions.model_process.predictor import ModelLimits, ProcessPredictor
from service.predictions.models import demo
from service.predictions.models.torch_predictor import TorchPredictor
from service.taxonomy.imagenet_1k import imagenet_1k

SIZE = (500, 375)  # pixels, the size of most ImageNet images


@dataclass(frozen=True)
class Loops:
    """The predictor and its reference: two functions that run a model on the same images and return their number."""

    ours: Callable[[], int]
    reference: Callable[[], int]


def on_cpu(folder: Path, images: int, batch: int, threads: int) -> Loops:
    """Return both functions for the demo's EfficientNet-Lite0."""
    names = photographs(folder, images)
    module = demo.load("efficientnet_lite0", ModelPolicy(), imagenet_1k()).module[1]  # type: ignore[index]  # without normalization
    predictor = TorchPredictor({"made": folder}, ModelPolicy(), batch, threads, "cpu")
    return Loops(
        lambda: _predict(predictor, "demo:efficientnet_lite0", names),
        lambda: _timms_loop(folder, module, batch, threads, "cpu"),
    )


def on_gpu(folder: Path, images: int, batch: int, threads: int) -> Loops | None:
    """Return both functions for a ResNet-50 with random weights; None without a GPU."""
    if not torch.cuda.is_available():
        return None
    (folder / "images").mkdir()
    names = photographs(folder / "images", images)
    module = timm.create_model("resnet50", pretrained=False)
    torch.save(module.state_dict(), folder / "weights.pth")
    policy = ModelPolicy(folder=folder)
    predictor = TorchPredictor({"made": folder / "images"}, policy, batch, threads, "cuda:0")
    module.to("cuda:0").eval()
    return Loops(
        lambda: _predict(predictor, "file:weights.pth#resnet50", names),
        lambda: _timms_loop(folder / "images", module, batch, threads, "cuda:0"),
    )


@contextmanager
def in_process_and_child(folder: Path, images: int, batch: int, threads: int) -> Iterator[Loops]:
    """Yield the demo's EfficientNet-Lite0 in a child process and, as the reference, in this process."""
    names, policy = photographs(folder, images), ModelPolicy()
    here = TorchPredictor({"made": folder}, policy, batch, threads, "cpu")
    child = ProcessPredictor(PredictorConfig({"made": folder}, policy, batch, threads, "cpu"), ModelLimits())
    model = "demo:efficientnet_lite0"
    try:
        yield Loops(lambda: _predict(child, model, names), lambda: _predict(here, model, names))
    finally:
        child.close()


def photographs(folder: Path, count: int) -> Sequence[str]:
    """Write JPEGs of a typical size, derived from the demo's photographs; return their names."""
    originals = sorted(demo_folder().glob("imagenet_*.jpg"))
    (folder / "n00000000").mkdir()
    names = [f"n00000000/{number:05d}.JPEG" for number in range(count)]
    for start, original in enumerate(originals):
        with Image.open(original) as image:
            resized = image.convert("RGB").resize(SIZE)
        for name in names[start :: len(originals)]:
            resized.save(folder / name, quality=90)
    return names


def _predict(predictor: Predictor, model: str, names: Sequence[str]) -> int:
    return sum(len(batch.top1) for batch in predictor.predict(model, "made", names))


def _timms_loop(folder: Path, module: torch.nn.Module, batch: int, workers: int, device: str) -> int:
    """Run a plain loop over timm's reader and loader, with one worker process per thread of the predictor."""
    config = resolve_model_data_config(module)
    loader = create_loader(
        create_dataset("", str(folder)),
        batch_size=batch,
        num_workers=workers,
        device=torch.device(device),
        persistent_workers=False,
        **{key: config[key] for key in ("input_size", "interpolation", "mean", "std", "crop_pct", "crop_mode")},
    )
    count = 0
    with torch.inference_mode():
        for images, _ in loader:
            count += len(module(images).softmax(dim=1).max(dim=1).indices.cpu())
    return count
