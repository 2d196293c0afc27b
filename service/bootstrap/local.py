"""The local service: API, workers and store in one process; memory instead of Redis, the same archive."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

from prometheus_client import CollectorRegistry

from service.analyses import queries
from service.analyses.judge import judge_job, notify_job_failed
from service.archive.archive import FileArchive
from service.archive.files import open_files
from service.bootstrap.first_listing import FirstListing
from service.bootstrap.housekeeping import Housekeeping
from service.bootstrap.metrics_collectors import STORE_SECONDS, StoreCollector, Watch, results_watch
from service.bootstrap.process import allow_files, responsive, stop_on_signals
from service.bootstrap.registries import RegistryWork, callers, check_datasets
from service.bootstrap.security import open_security
from service.bootstrap.servers import Addresses, Servers
from service.bootstrap.wiring import (
    image_folders,
    make_ports,
    process_predictor,
    worker_offer,
)
from service.jobs.engine import Engine, local_broker
from service.jobs.memory import InMemoryJobStore
from service.jobs.worker import Predictor, Worker
from service.settings import Settings
from service.telemetry import Metrics, Stage

WORKER = "local"


async def run_local(
    settings: Settings,
    stopped: asyncio.Event,
    on_ready: Callable[[Addresses], None],
    predictor: Predictor | None = None,
    start_parsers: bool = False,
) -> None:
    """Run the local service until `stopped` is set; open work then ends as cancelled.

    Without a predictor: torch's. With `start_parsers`, parsers of uploads start now, and not with their first file.
    """
    metrics = Metrics(CollectorRegistry())
    security = open_security(settings)
    known = callers(settings)
    store = InMemoryJobStore(time.time)
    engine = Engine(local_broker, store)
    images = image_folders(settings)
    archive = FileArchive(open_files(settings.archive_place))
    ports = make_ports(settings, store, archive, engine, metrics)
    if start_parsers:
        ports.parsers.start()
    listing = FirstListing(archive)
    listing.start()
    told = [item.registry for item in known.values()]
    check_datasets(ports, told)
    models = process_predictor(settings, images)
    worker = Worker(
        name=WORKER,
        store=store,
        predictor=predictor or models,
        drain=engine.drain,
        send_judging=engine.send_judging,
        requeue=engine.send_shard,
        on_finished=partial(notify_job_failed, ports),
        on_batch=metrics.images.inc,
        on_retry=lambda reason: metrics.retries.labels(reason).inc(),
        on_cache_lookup=partial(metrics.on_cache_lookup, "predictions"),
        stage_timer=partial(metrics.stage_timer, Stage.INFERENCE),
        interrupt=models.interrupt,
    )
    engine.serve_models(worker.run, WORKER, worker_offer(settings, images))
    engine.serve_judging(partial(judge_job, ports))
    engine.start()
    housekeeping = Housekeeping(ports, settings)
    housekeeping.start()
    registries = RegistryWork(ports, told, metrics, settings.poll_seconds)
    registries.start()
    watches = [
        Watch("store", StoreCollector(store, metrics, models.gpu_memory), STORE_SECONDS),
        results_watch(ports, metrics, settings),
    ]
    for watch in watches:
        watch.start()

    def cancel_all() -> None:
        for snapshot in store.records():
            if store.cancel(snapshot.record.id, "server stopped"):
                ports.on_finished(queries.get(ports, snapshot.record.id))

    def stop_engine(grace: float) -> None:
        registries.stop()
        cancel_all()
        engine.stop(grace)
        models.close()
        housekeeping.stop()
        ports.parsers.stop()
        for watch in watches:
            watch.stop()

    edges = Servers(
        ports,
        metrics,
        settings,
        ready=listing.is_read,
        before_stop=cancel_all,
        after_stop=stop_engine,
        security=security,
        callers=known,
    )
    await edges.serve(stopped, on_ready)


async def run_local_until_signal(settings: Settings, on_ready: Callable[[Addresses], None]) -> None:
    """Run the local service until SIGTERM or SIGINT."""
    stopped = asyncio.Event()
    stop_on_signals(stopped, settings.grace_seconds)
    allow_files()
    with responsive():
        await run_local(settings, stopped, on_ready, start_parsers=True)


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
