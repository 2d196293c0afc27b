"""The local service: API, worker, and in-memory job store in one process."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial

from prometheus_client import CollectorRegistry

from service.analyses import queries
from service.analyses.judge import judge_job, notify_job_failed
from service.analyses.ports import Ports
from service.bootstrap.background import start_each
from service.bootstrap.housekeeping import Housekeeping
from service.bootstrap.indexing import Indexing
from service.bootstrap.metrics_collectors import STORE_SECONDS, StoreCollector, make_results_task
from service.bootstrap.process import raise_file_limit, reduced_latency, stop_on_signals
from service.bootstrap.registries import RegistryThreads, check_datasets, make_hook_sources
from service.bootstrap.security import make_api_security
from service.bootstrap.servers import Addresses, Servers
from service.bootstrap.wiring import image_folders, make_ports, process_predictor, start_dataset_check, worker_offer
from service.jobs.engine import Engine, local_broker
from service.jobs.memory import InMemoryJobStore
from service.jobs.worker import Predictor, Worker
from service.periodic_task import PeriodicTask
from service.predictions.model_process.predictor import ProcessPredictor
from service.settings import Settings, warn_about_missing_paths
from service.telemetry import Metrics

WORKER = "local"


async def run_local(
    settings: Settings,
    stopped: asyncio.Event,
    on_ready: Callable[[Addresses], None] = lambda _: None,
    predictor: Predictor | None = None,
    is_server: bool = False,
) -> None:
    """Run the local service until `stopped` is set, and then cancel open analyses.

    Args:
        settings: The settings.
        stopped: The event that ends the service.
        on_ready: Called with the addresses once the service is ready.
        predictor: Runs models; None: a child process with torch.
        is_server: Whether the service runs for longer than one command: it starts the upload parsers now instead of
            with the first upload, and checks the data sets of ERRATA_IMAGES and ERRATA_ATTRIBUTES.
    """
    metrics = Metrics(CollectorRegistry())
    security = make_api_security(settings)
    hook_sources = make_hook_sources(settings)
    store = InMemoryJobStore(time.time, settings.heartbeat_seconds)
    engine = Engine(local_broker, store)
    warn_about_missing_paths(settings)
    indexing = Indexing(settings, metrics)
    ports = make_ports(settings, store, indexing.archive, engine, metrics)
    registries = [source.registry for source in hook_sources.values()]
    check_datasets(ports.stores.evidence, registries)
    background = ExitStack()  # stops all but the servers and the engine, in reverse order
    start_each(background, indexing)
    background.callback(ports.parsers.stop)
    background.callback(ports.thumbnails.stop)
    if is_server:
        start_dataset_check(settings, ports.stores.evidence)
        ports.parsers.start()
    models = _serve_engine(engine, ports, store, settings, predictor)
    background.callback(models.close)
    start_each(
        background,
        PeriodicTask("store", StoreCollector(store, metrics, models.gpu_memory), STORE_SECONDS),
        make_results_task(ports.stores, metrics, settings),
        Housekeeping(ports.stores, settings),
    )
    registry_threads = RegistryThreads(ports, registries, metrics, settings.poll_seconds)
    registry_threads.start()

    def cancel_all() -> None:
        for snapshot in store.snapshots():
            if store.cancel(snapshot.record.id, "server stopped", during_archiving=True):
                ports.observer.analysis_finished(queries.get(ports.stores, snapshot.record.id))

    def stop_work(grace: float) -> None:
        registry_threads.stop()
        cancel_all()
        engine.stop(grace)

    servers = Servers(
        ports,
        metrics,
        settings,
        is_ready=lambda: True,
        before_stop=cancel_all,
        stop_work=stop_work,
        close=background.close,
        security=security,
        hook_sources=hook_sources,
    )
    try:
        await indexing.wait(stopped)
        await servers.serve(stopped, on_ready)
    except BaseException:  # for example, an address is in use
        stop_work(0.0)
        background.close()
        raise


def _serve_engine(
    engine: Engine, ports: Ports, store: InMemoryJobStore, settings: Settings, predictor: Predictor | None
) -> ProcessPredictor:
    """Start the engine, which runs a worker and judges jobs; return the process that runs models."""
    images = image_folders(settings)
    models = process_predictor(settings, images)
    worker = Worker(
        name=WORKER,
        store=store,
        predictor=predictor or models,
        drain=engine.drain,
        send=engine.send,
        on_job_failed=partial(notify_job_failed, ports.stores.jobs, ports.observer),
        observer=ports.observer,
        interrupt=models.interrupt,
    )
    engine.serve_models(worker.run, WORKER, worker_offer(settings, images))
    engine.serve_judging(partial(judge_job, ports))
    engine.start()
    return models


async def run_local_until_signal(settings: Settings) -> None:
    """Run the local service until SIGTERM, SIGINT, or SIGHUP."""
    stopped = asyncio.Event()
    raise_file_limit()
    with stop_on_signals(stopped, settings.grace_seconds), reduced_latency():
        await run_local(settings, stopped, is_server=True)


@contextmanager
def local_service(settings: Settings, predictor: Predictor | None = None) -> Iterator[Addresses]:
    """Run the local service in a thread of this process while a block runs."""
    ready_addresses: list[Addresses] = []
    failures: list[BaseException] = []
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    stopped = asyncio.Event()

    def on_ready(addresses: Addresses) -> None:
        ready_addresses.append(addresses)
        ready.set()

    def run() -> None:
        try:
            loop.run_until_complete(run_local(settings, stopped, on_ready, predictor))
        except BaseException as error:
            failures.append(error)
        finally:
            loop.close()
            ready.set()

    thread = threading.Thread(target=run, name="errata-local", daemon=True)
    thread.start()
    ready.wait()
    if failures:
        raise failures[0]
    try:
        yield ready_addresses[0]
    finally:
        with suppress(RuntimeError):  # the loop is closed if the service has already ended
            loop.call_soon_threadsafe(stopped.set)
        thread.join(settings.grace_seconds + 10)
