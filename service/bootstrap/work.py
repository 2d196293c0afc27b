"""The worker process: takes shards from Redis, runs models on them, and stores the predictions. Run one per GPU."""

import asyncio
import os
import socket
import threading
import uuid
from functools import partial

import structlog
from errata.errors import InvalidSetting
from prometheus_client import CollectorRegistry

from service.analyses.judge import notify_job_failed
from service.bootstrap.metrics_collectors import STORE_SECONDS, StoreCollector
from service.bootstrap.metrics_observer import MetricsObserver
from service.bootstrap.process import stop_on_signals
from service.bootstrap.security import make_security, split_address
from service.bootstrap.serve import redis_url
from service.bootstrap.servers import cancel, log_when_ready, start_listener
from service.bootstrap.wiring import image_folders, process_predictor, worker_offer
from service.jobs.engine import Engine, NotifyingBroker
from service.jobs.store import JobStore
from service.jobs.worker import Predictor, Worker
from service.key_value.redis_backend import RedisBackend, connect
from service.periodic_task import PeriodicTask
from service.settings import Settings, warn_about_missing_paths, warn_about_unreadable_images
from service.storage import remove_temporary_folders
from service.telemetry import Metrics, initialize_series
from service.tracing import start_tracing, stop_tracing
from service.web.listener import make_listener

REDIS_TIMEOUT = 10.0  # seconds
COLLECT_EVERY = 10  # checks of the store per read of its metrics: workers are many, and the API reports the metrics too
_log = structlog.get_logger()


async def run_worker(settings: Settings, predictor: Predictor | None = None) -> None:
    """Run the worker until SIGTERM, SIGINT, or SIGHUP, and then release shards that do not end within the grace period.

    Args:
        settings: The settings.
        predictor: Runs models; None: a child process with torch.
    """
    stopped = asyncio.Event()
    with stop_on_signals(stopped, settings.grace_seconds):
        await _run_worker(settings, stopped, predictor)


async def _run_worker(settings: Settings, stopped: asyncio.Event, predictor: Predictor | None) -> None:
    start_tracing("errata-worker")
    metrics = Metrics(CollectorRegistry())
    url, name = redis_url(settings), f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
    store = JobStore(RedisBackend(connect(url, REDIS_TIMEOUT)), heartbeat=settings.heartbeat_seconds)
    engine = Engine(partial(NotifyingBroker, url, REDIS_TIMEOUT, settings.heartbeat_seconds), store)
    warn_about_missing_paths(settings)
    warn_about_unreadable_images(settings)
    images = image_folders(settings)
    offer = worker_offer(settings, images)
    if not offer.models:
        raise InvalidSetting("A worker needs torch and timm, which are not installed. Install errata-service[worker].")
    remove_temporary_folders()  # model downloads of killed processes
    loop, device_lost = asyncio.get_running_loop(), threading.Event()

    def stop_without_device() -> None:
        """Stop, so that other workers retry the shard: without its device, this one would use up the retries."""
        _log.error("device lost: the worker stops", device=settings.device)
        device_lost.set()
        engine.drain.start(settings.grace_seconds)
        loop.call_soon_threadsafe(stopped.set)

    models = process_predictor(settings, images, stop_without_device)
    store_collector = StoreCollector(store, metrics, models.gpu_memory, every=COLLECT_EVERY)
    store_task = PeriodicTask("store", store_collector, STORE_SECONDS)
    observer = MetricsObserver(metrics)
    worker = Worker(
        name=name,
        store=store,
        predictor=predictor or models,
        drain=engine.drain,
        send=engine.send,
        on_job_failed=partial(notify_job_failed, store, observer),
        observer=observer,
        interrupt=models.interrupt,
        can_run=offer.can_run,
    )
    initialize_series(metrics.analyses, ["failed"])  # the only final state that a worker sets
    engine.serve_models(worker.run, name, offer)
    host, port = split_address(settings.worker_http_address)

    def is_ready() -> bool:
        return not stopped.is_set() and store_collector.is_available()

    metrics.ready.set_function(lambda: float(is_ready()))
    # The address is not checked, because probes and scrapes need no token.
    certificates = make_security(settings, is_for_grpc=False).certificates()
    listener = make_listener(metrics, is_ready, (host, port), certificates=certificates)
    await start_listener(listener, "ERRATA_WORKER_HTTP_ADDRESS", settings.worker_http_address)
    if settings.device not in ("", "cpu"):  # the machine may not have this device
        await loop.run_in_executor(None, models.start)
    store_task.start()
    engine.start()
    address = f"{host}:{listener.port}"
    _log.info("worker listening", worker=name, http=address)
    log_ready = asyncio.create_task(log_when_ready(is_ready, "worker ready", worker=name, http=address))
    await stopped.wait()
    await cancel(log_ready)
    _log.info("stopping", grace_seconds=settings.grace_seconds)
    await loop.run_in_executor(None, engine.stop, settings.grace_seconds)
    await loop.run_in_executor(None, worker.release_shards)
    models.close()
    await listener.stop()
    await loop.run_in_executor(None, stop_tracing)
    _log.info("stopped")
    os._exit(1 if device_lost.is_set() else 0)  # does not wait for a thread that still runs a batch
