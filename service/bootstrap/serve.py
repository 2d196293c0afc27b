"""The service over Redis: the API, which judges uploads and what workers predicted, and sends shards to workers."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from errata.errors import InvalidSetting, Unavailable
from prometheus_client import CollectorRegistry

from service.analyses.judge import judge_job
from service.analyses.ports import Ports
from service.archive.archive import FileArchive
from service.archive.files import open_files
from service.bootstrap.archive_identity import CHECK_SECONDS, ArchiveIdentity
from service.bootstrap.first_listing import FirstListing
from service.bootstrap.housekeeping import Housekeeping
from service.bootstrap.metrics_collectors import STORE_SECONDS, StoreCollector, Watch, results_watch
from service.bootstrap.process import allow_files, responsive, stop_on_signals
from service.bootstrap.registries import RegistryWork, callers, check_datasets
from service.bootstrap.security import open_security
from service.bootstrap.servers import Addresses, Servers
from service.bootstrap.wiring import make_ports
from service.jobs.engine import Engine, redis_broker
from service.jobs.redis_store import RedisJobStore, connect
from service.jobs.worker import RetryLater
from service.settings import Settings
from service.telemetry import Metrics

START_SECONDS = 10.0  # that the start waits for a first look at the store and the archive
REDIS_SCHEMES = ("redis", "rediss", "unix")
REDIS_TIMEOUT = 2.0  # seconds that a call waits for a Redis that doesn't answer


async def run_service(settings: Settings, on_ready: Callable[[Addresses], None]) -> None:
    """Run the API until SIGTERM or SIGINT; without Redis it starts all the same, not ready, and recovers by itself."""
    stopped = asyncio.Event()
    stop_on_signals(stopped, settings.grace_seconds)
    url = redis_url(settings)
    security = open_security(settings)
    known = callers(settings)
    metrics = Metrics(CollectorRegistry())
    store = RedisJobStore(connect(url, REDIS_TIMEOUT))
    engine = Engine(partial(redis_broker, url, REDIS_TIMEOUT, settings.heartbeat_seconds), store)
    archive = FileArchive(open_files(settings.archive_place))
    ports = make_ports(settings, store, archive, engine, metrics)
    ports.parsers.start()
    told = [item.registry for item in known.values()]
    check_datasets(ports, told)
    look = StoreCollector(store, metrics)
    store_watch = Watch("store", look, STORE_SECONDS)
    listing, identity = FirstListing(archive), ArchiveIdentity(archive, store, settings.archive_place)
    listing.start()
    watches = [
        store_watch,
        results_watch(ports, metrics, settings),
        Watch("archive", identity.watch, CHECK_SECONDS),
    ]
    engine.serve_judging(partial(_judge, ports, identity))
    await _check_at_start(store_watch, identity)
    await listing.wait(stopped)  # before anything listens, since Kubernetes asks gRPC alone
    for watch in watches:
        watch.start()
    engine.start()
    housekeeping = Housekeeping(ports, settings)
    housekeeping.start()
    engine.start_resending(settings.heartbeat_seconds)
    registries = RegistryWork(ports, told, metrics, settings.poll_seconds)
    registries.start()

    def is_ready() -> bool:
        return look.is_there() and not identity.is_foreign

    def stop(grace: float) -> None:
        registries.stop()
        engine.stop(grace)
        housekeeping.stop()
        ports.parsers.stop()
        for watch in watches:
            watch.stop()

    edges = Servers(
        ports, metrics, settings, is_ready, before_stop=lambda: None, after_stop=stop, security=security, callers=known
    )
    allow_files()
    with responsive():
        await edges.serve(stopped, on_ready)


async def _check_at_start(store_watch: Watch, identity: ArchiveIdentity) -> None:
    """Look at the store and the archive, so that what is ready soon is ready at once; raise InvalidSetting.

    What is away, or takes long, is looked at again by the watches.
    """

    def look() -> None:
        store_watch.once()
        with suppress(Unavailable):
            identity.check()

    with suppress(TimeoutError):
        await asyncio.wait_for(asyncio.get_running_loop().run_in_executor(None, look), START_SECONDS)


def _judge(ports: Ports, identity: ArchiveIdentity, job_id: str) -> None:
    """Judge a job; leave it to other processes where this one has another archive."""
    if not identity.allows_judging():
        raise RetryLater(CHECK_SECONDS)
    judge_job(ports, job_id)


def redis_url(settings: Settings) -> str:
    """Return Redis' URL; raise InvalidSetting without one."""
    if settings.redis_url is None:
        raise InvalidSetting(
            "expected ERRATA_REDIS_URL, such as redis://127.0.0.1:6379/0, got none: set it, or start with --local",
            field="ERRATA_REDIS_URL",
        )
    url = settings.redis_url.get_secret_value()
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in REDIS_SCHEMES:
        raise InvalidSetting(
            "ERRATA_REDIS_URL has no scheme that Redis knows. Expected redis://HOST:PORT/DATABASE, rediss://… for TLS, "
            "or unix://PATH.",
            field="ERRATA_REDIS_URL",
        )
    return url
