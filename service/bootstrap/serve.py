"""The API process: serves gRPC and HTTP, judges predictions, and sends shards to workers through Redis."""

import asyncio
import re
from contextlib import ExitStack, suppress
from functools import partial
from urllib.parse import urlsplit

from errata.errors import InvalidSetting, Unavailable
from prometheus_client import CollectorRegistry

from service.analyses.judge import judge_job
from service.analyses.ports import Ports
from service.archive.notices import RedisNotices
from service.bootstrap.archive_identity import CHECK_SECONDS, ArchiveIdentity
from service.bootstrap.background import start_each
from service.bootstrap.housekeeping import Housekeeping
from service.bootstrap.indexing import Indexing
from service.bootstrap.metrics_collectors import STORE_SECONDS, StoreCollector, make_results_task
from service.bootstrap.process import raise_file_limit, reduced_latency, stop_on_signals
from service.bootstrap.registries import RegistryThreads, check_datasets, make_hook_sources
from service.bootstrap.security import make_api_security
from service.bootstrap.servers import Servers
from service.bootstrap.wiring import make_ports, start_dataset_check
from service.jobs.engine import Engine, NotifyingBroker
from service.jobs.store import JobStore
from service.jobs.worker import RetryLater
from service.key_value.redis_backend import RedisBackend, connect, is_valid_url
from service.periodic_task import PeriodicTask
from service.settings import Settings
from service.telemetry import Metrics

START_SECONDS = 10.0  # maximum wait for the first check of the store and the archive
REDIS_SCHEMES = ("redis", "rediss", "unix")
REDIS_TIMEOUT = 2.0  # seconds
COLLECT_EVERY = 3  # checks of the store per read of its metrics


async def run_service(settings: Settings) -> None:
    """Run the API until SIGTERM, SIGINT, or SIGHUP.

    If Redis or the archive is unavailable, the API starts without being ready, and becomes ready once both respond.
    """
    stopped = asyncio.Event()
    with stop_on_signals(stopped, settings.grace_seconds):
        await _run_service(settings, stopped)


async def _run_service(settings: Settings, stopped: asyncio.Event) -> None:
    url = redis_url(settings)
    security = make_api_security(settings)
    hook_sources = make_hook_sources(settings)
    metrics = Metrics(CollectorRegistry())
    client = connect(url, REDIS_TIMEOUT)
    store = JobStore(RedisBackend(client), heartbeat=settings.heartbeat_seconds)
    engine = Engine(partial(NotifyingBroker, url, REDIS_TIMEOUT, settings.heartbeat_seconds), store)
    indexing = Indexing(settings, metrics, RedisNotices(client))
    ports = make_ports(settings, store, indexing.archive, engine, metrics)
    ports.parsers.start()
    registries = [source.registry for source in hook_sources.values()]
    check_datasets(ports.stores.evidence, registries)
    store_collector = StoreCollector(store, metrics, every=COLLECT_EVERY)
    store_task = PeriodicTask("store", store_collector, STORE_SECONDS)
    identity = ArchiveIdentity(indexing.archive.stored, store, settings.archive_location)
    engine.serve_judging(partial(_judge, ports, identity))
    await _check_at_start(store_task, identity)  # before the archive is listed: a new one has an id then
    start_dataset_check(settings, ports.stores.evidence)
    background = ExitStack()  # stops all but the servers and the engine, in reverse order
    start_each(background, indexing)
    background.callback(ports.parsers.stop)
    background.callback(ports.thumbnails.stop)
    await indexing.wait(stopped)
    engine.start()
    start_each(
        background,
        store_task,
        make_results_task(ports.stores, metrics, settings),
        PeriodicTask("archive", identity.watch, CHECK_SECONDS),
        Housekeeping(ports.stores, settings),
    )
    registry_threads = RegistryThreads(ports, registries, metrics, settings.poll_seconds)
    registry_threads.start()

    def stop_work(grace: float) -> None:
        registry_threads.stop()
        engine.stop(grace)

    servers = Servers(
        ports,
        metrics,
        settings,
        is_ready=lambda: store_collector.is_available() and identity.is_ready,
        before_stop=lambda: None,
        stop_work=stop_work,
        close=background.close,
        security=security,
        hook_sources=hook_sources,
    )
    raise_file_limit()
    with reduced_latency():
        await servers.serve(stopped)


async def _check_at_start(store_task: PeriodicTask, identity: ArchiveIdentity) -> None:
    """Check the store and the archive once before the start; raise InvalidSetting if they don't belong together.

    The periodic tasks repeat a check that fails or takes longer than START_SECONDS.
    """

    def check() -> None:
        store_task.run_once()
        with suppress(Unavailable):
            identity.check()

    with suppress(TimeoutError):
        await asyncio.wait_for(asyncio.get_running_loop().run_in_executor(None, check), START_SECONDS)


def _judge(ports: Ports, identity: ArchiveIdentity, job_id: str) -> None:
    """Judge a job. If this process does not use the archive of the job store, requeue the job for another process."""
    if not identity.allows_judging():
        raise RetryLater(CHECK_SECONDS)
    judge_job(ports, job_id)


def redis_url(settings: Settings) -> str:
    """Return the URL of Redis; raise InvalidSetting if it is missing or invalid."""
    if settings.redis_url is None:
        raise InvalidSetting(
            "ERRATA_REDIS_URL is missing. Set it, for example to redis://127.0.0.1:6379/0, or run "
            "`errata serve --local`.",
            field="ERRATA_REDIS_URL",
        )
    url = settings.redis_url.get_secret_value()
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in REDIS_SCHEMES:
        raise InvalidSetting(
            "ERRATA_REDIS_URL has no valid scheme. Expected redis://HOST:PORT/DATABASE, rediss://… for TLS, or "
            "unix://PATH.",
            field="ERRATA_REDIS_URL",
        )
    try:
        parts = urlsplit(url)
        path = r"/.+" if scheme == "unix" else r"(/[0-9]*)?"  # redis-py ignores a database that is not a number
        is_valid = (
            parts.port != 0
            and "@" not in parts.path + parts.query + parts.fragment
            and re.fullmatch(path, parts.path) is not None
            and is_valid_url(url)
        )
    except ValueError:  # the message can have a part of the password
        is_valid = False
    if not is_valid:
        raise InvalidSetting(
            "ERRATA_REDIS_URL is not a valid URL; its value is not shown, since it can contain a password. Expected "
            "redis://:PASSWORD@HOST:PORT/DATABASE with the number of a database. Percent-encode special characters of "
            "the password, for example / as %2F, # as %23, ? as %3F, and @ as %40.",
            field="ERRATA_REDIS_URL",
        )
    return url
