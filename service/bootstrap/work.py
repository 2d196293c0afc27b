"""The worker: takes shards of model analyses from Redis, predicts and hands in the parts. One a GPU."""

import asyncio
import os
import socket
import uuid
from collections.abc import Callable
from functools import partial

import structlog
from errata.errors import InvalidSetting
from prometheus_client import CollectorRegistry

from service.bootstrap.metrics_collectors import STORE_SECONDS, StoreCollector, Watch
from service.bootstrap.process import stop_on_signals
from service.bootstrap.security import make_security, split
from service.bootstrap.serve import redis_url
from service.bootstrap.servers import started
from service.bootstrap.wiring import can_run, image_folders, process_predictor, worker_offer
from service.jobs.engine import Engine, redis_broker
from service.jobs.redis_store import RedisJobStore, connect
from service.jobs.worker import Predictor, Worker
from service.settings import Settings
from service.storage import remove_temporary_folders
from service.telemetry import Metrics, Stage, at_zero
from service.web.listener import make_listener

REDIS_TIMEOUT = 10.0  # seconds
COUNTED = 10  # looks at the store for each count of what is open: workers are many, and the API tells it too
_log = structlog.get_logger()


async def run_worker(settings: Settings, on_ready: Callable[[str], None], predictor: Predictor | None = None) -> None:
    """Work until SIGTERM or SIGINT, then hand back what doesn't end in time; a second signal ends it at once."""
    metrics = Metrics(CollectorRegistry())
    url, name = redis_url(settings), f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
    store = RedisJobStore(connect(url, REDIS_TIMEOUT))
    engine = Engine(partial(redis_broker, url, REDIS_TIMEOUT, settings.heartbeat_seconds), store)
    images = image_folders(settings)
    offer = worker_offer(settings, images)
    if not offer.models:
        raise InvalidSetting("a worker runs models, which needs torch and timm: install errata-service[worker]")
    remove_temporary_folders()  # downloads of models whose process was killed
    models = process_predictor(settings, images)
    look = StoreCollector(store, metrics, models.gpu_memory, every=COUNTED)
    watch = Watch("store", look, STORE_SECONDS)
    worker = Worker(
        name=name,
        store=store,
        predictor=predictor or models,
        drain=engine.drain,
        send_judging=engine.send_judging,
        requeue=engine.send_shard,
        on_finished=lambda _: metrics.analyses.labels("failed").inc(),
        on_batch=metrics.images.inc,
        on_retry=lambda reason: metrics.retries.labels(reason).inc(),
        on_cache_lookup=partial(metrics.on_cache_lookup, "predictions"),
        stage_timer=partial(metrics.stage_timer, Stage.INFERENCE),
        interrupt=models.interrupt,
        can_run=partial(can_run, offer),
        lease=settings.heartbeat_seconds * 2 / 3,
    )
    at_zero(metrics.analyses, ["failed"])  # the end that a worker itself gives one
    engine.serve_models(worker.run, name, offer)
    stopped = asyncio.Event()
    stop_on_signals(stopped, settings.grace_seconds)
    host, port = split(settings.worker_http_address)

    def is_ready() -> bool:
        return not stopped.is_set() and look.is_there()

    metrics.ready.set_function(lambda: float(is_ready()))
    certificates = make_security(settings).certificates()  # what it serves needs no token: it may listen anywhere
    listener = make_listener(metrics, is_ready, host.strip("[]"), port, certificates=certificates)
    await started(listener, "ERRATA_WORKER_HTTP_ADDRESS", settings.worker_http_address)
    watch.start()
    engine.start()
    address = f"{host}:{listener.port}"
    _log.info("working", worker=name, http=address)
    on_ready(address)
    await stopped.wait()
    _log.info("draining", grace_seconds=settings.grace_seconds)
    await asyncio.get_running_loop().run_in_executor(None, engine.stop, settings.grace_seconds)
    await asyncio.get_running_loop().run_in_executor(None, worker.release_shards)
    models.close()
    await listener.stop()
    _log.info("stopped")
    os._exit(0)  # a thread that is still in a model's batch doesn't hold the process
