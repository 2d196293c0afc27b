"""The service over Redis: the API, which judges uploads and what workers predicted, and sends shards to workers."""

import asyncio
from collections.abc import Callable
from functools import partial
from threading import Event, Thread

import structlog
from prometheus_client import CollectorRegistry

from service.analyses.judge import judge_job
from service.archive.archive import FileArchive
from service.archive.files import open_files
from service.bootstrap.edges import Addresses, Edges, stop_on_signals
from service.bootstrap.parts import Housekeeping, make_ports
from service.bootstrap.registries import RegistryWork, callers, check_datasets
from service.errors import InvalidSetting, Unavailable
from service.jobs.engine import Engine, redis_broker
from service.jobs.redis_store import RedisStore, connect
from service.settings import Settings
from service.telemetry import Metrics

REDIS_TIMEOUT = 2.0  # seconds that a call waits for a Redis that doesn't answer
_log = structlog.get_logger()
LOOK_SECONDS = 1.0  # between two looks at Redis


async def run_service(settings: Settings, on_ready: Callable[[Addresses], None]) -> None:
    """Run the API until SIGTERM or SIGINT; without Redis it starts all the same, not ready, and recovers by itself."""
    stopped = asyncio.Event()
    stop_on_signals(stopped)
    url = redis_url(settings)
    known = callers(settings)
    metrics = Metrics(CollectorRegistry())
    store = RedisStore(connect(url, REDIS_TIMEOUT))
    engine = Engine(partial(redis_broker, url, REDIS_TIMEOUT, settings.heartbeat_seconds), store)
    ports = make_ports(settings, store, FileArchive(open_files(settings.archive_place)), engine, metrics)
    told = [each.registry for each in known.values()]
    check_datasets(ports, told)
    watch = RedisWatch(store, metrics)
    engine.serve_errands(partial(judge_job, ports))
    watch.start()
    engine.start()
    housekeeping = Housekeeping(ports, settings.retention_days)
    housekeeping.start()
    engine.resend_lost(settings.heartbeat_seconds)
    registries = RegistryWork(ports, told, metrics, settings.poll_seconds)
    registries.start()

    def stop() -> None:
        registries.stop()
        engine.stop(settings.grace_seconds)
        housekeeping.stop()
        watch.stop()

    await Edges(
        ports, metrics, settings, watch.is_there, before_stop=lambda: None, after_stop=stop, callers=known
    ).serve(stopped, on_ready)


def redis_url(settings: Settings) -> str:
    """Return Redis' URL; raise InvalidSetting without one."""
    if settings.redis_url is None:
        raise InvalidSetting(
            "expected ERRATA_REDIS_URL, such as redis://127.0.0.1:6379/0, got none: set it, or start with --local",
            field="ERRATA_REDIS_URL",
        )
    return settings.redis_url.get_secret_value()


class RedisWatch:
    """Looks every second whether Redis is there, and sets the gauges that it alone knows."""

    def __init__(self, store: RedisStore, metrics: Metrics) -> None:
        self._store = store
        self._metrics = metrics
        self._there = False
        self._stopped = Event()

    def start(self) -> None:
        """Start to look; the first look is over when this returns."""
        self._look()
        Thread(target=self._run, name="redis-watch", daemon=True).start()

    def stop(self) -> None:
        """Stop looking."""
        self._stopped.set()

    def is_there(self) -> bool:
        """Say whether Redis answered lately."""
        return self._there

    def _run(self) -> None:
        while not self._stopped.wait(LOOK_SECONDS):
            self._look()

    def _look(self) -> None:
        try:
            depth = self._store.depth()
        except Unavailable:
            self._there = False
            return
        except Exception:
            self._there = False
            _log.exception("Redis can't be looked at")
            return
        self._there = True
        self._metrics.open_analyses.set(depth.analyses)
        self._metrics.open_shards.set(depth.shards)
        self._metrics.live_workers.set(depth.workers)
        self._metrics.late_writes.set(depth.refused)
