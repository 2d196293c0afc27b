"""The configured model registries, and the threads that poll them and write results back."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Event, Thread

import structlog
from errata.errors import ErrataError, InvalidInput, NotFound, Unavailable

from service.analyses.policy import parse_policy
from service.analyses.ports import Ports
from service.analyses.registries import Registry, poll
from service.analyses.write_back import WriteBackResult
from service.analyses.write_back_queues import WriteBackQueues
from service.bootstrap.background import wait_for_index
from service.bootstrap.registry_addresses import invalid_setting, make_address
from service.domain import RegistryRule
from service.evidence.repository import EvidenceRepository
from service.settings import RegistrySettings, RuleSettings, Settings
from service.telemetry import Metrics, initialize_series
from service.web.hooks import generic
from service.web.hooks.endpoint import HookSource
from service.web.hooks.huggingface_registry import HuggingFaceRegistry
from service.web.hooks.mlflow import MlflowRegistry
from service.web.hooks.outgoing import make_target
from service.web.hooks.receive_only import ReceiveOnlyRegistry
from service.web.hooks.signature import Unverified
from service.web.hooks.wandb_registry import WandbRegistry

WRITE_BACK_SECONDS = 1.0  # interval between two checks for results that are due
UNKNOWN = "unknown"  # registry of results whose analysis or registry does not exist anymore
MIN_KEY = 16  # bytes of a Standard Webhooks secret
POLL_RETRY_SECONDS = 30.0  # delay after a poll that failed
_log = structlog.get_logger()


def make_hook_sources(settings: Settings) -> Mapping[str, HookSource]:
    """Return the configured registries by id.

    Raises:
        InvalidSetting: The configuration of a registry is invalid.
    """
    return {
        registry_id: HookSource(
            registry.kind,
            [secret.get_secret_value() for secret in registry.secrets],
            _make_registry(registry_id, registry, settings.public_url),
        )
        for registry_id, registry in settings.registries.items()
    }


def check_datasets(repository: EvidenceRepository, registries: Sequence[Registry]) -> None:
    """Raise InvalidSetting if a rule names a data set that is not served."""
    for registry in registries:
        for number, rule in enumerate(registry.rules):
            try:
                repository.find(rule.dataset, "")
            except NotFound as error:
                raise invalid_setting(registry.id, f"rules.{number}.dataset", error.message) from error
            except Unavailable as error:  # the archive has the published evidence
                _log.warning("data set of a rule not checked", registry=registry.id, error=str(error))


class RegistryThreads:
    """Polls the registries and writes results back, until it is stopped."""

    def __init__(self, ports: Ports, registries: Sequence[Registry], metrics: Metrics, poll_seconds: float) -> None:
        self._ports = ports
        self._registries = registries
        self._metrics = metrics
        self._poll_seconds = poll_seconds
        self._queues = WriteBackQueues(ports, {registry.id: registry for registry in registries})
        self._stopped = Event()
        self._threads: list[Thread] = []

    def start(self) -> None:
        """Start a thread that queues due results, and for each registry a thread for write-backs and one for polls."""
        if not self._registries:
            return
        initialize_series(self._metrics.polls, (registry.id for registry in self._registries), ("done", "failed"))
        names = [*(registry.id for registry in self._registries), UNKNOWN]
        initialize_series(self._metrics.write_backs, names, [result.value for result in WriteBackResult])
        functions: list[tuple[str, Callable[[], float]]] = [("write-backs", self._dispatch)]
        functions += [
            (f"write-back-{registry.id}", partial(self._write_back, registry)) for registry in self._registries
        ]
        functions += [(f"poll-{registry.id}", partial(self._poll, registry)) for registry in self._registries]
        for name, function in functions:
            self._threads.append(Thread(target=self._run, args=(function,), name=name, daemon=True))
            self._threads[-1].start()

    def stop(self, seconds: float = 5.0) -> None:
        """Stop the threads; wait up to `seconds` for a write-back in progress."""
        self._stopped.set()
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _run(self, function: Callable[[], float]) -> None:
        delay = 0.0
        while not self._stopped.wait(delay):
            delay = function()

    def _dispatch(self) -> float:
        with _logged_errors("write-backs failed"):
            for outcome, count in self._queues.dispatch().items():
                self._metrics.write_backs.labels(UNKNOWN, outcome).inc(count)
        return WRITE_BACK_SECONDS

    def _write_back(self, registry: Registry) -> float:
        with _logged_errors("write-back failed", registry=registry.id):
            outcome = self._queues.process(registry.id, timeout=WRITE_BACK_SECONDS)
            if outcome is not None:
                self._metrics.write_backs.labels(registry.id, outcome).inc()
        return 0.0

    def _poll(self, registry: Registry) -> float:
        if not wait_for_index(self._ports.stores.index, self._stopped):  # a poll must find all earlier analyses
            return 0.0
        with _logged_errors("registry poll failed", registry=registry.id):
            num_queued = poll(self._ports, registry)
            self._metrics.polls.labels(registry.id, "done").inc()
            if num_queued:
                _log.info("registry poll queued analyses", registry=registry.id, queued=num_queued)
            return self._poll_seconds
        self._metrics.polls.labels(registry.id, "failed").inc()
        return min(POLL_RETRY_SECONDS, self._poll_seconds)


@contextmanager
def _logged_errors(event: str, **fields: str) -> Iterator[None]:
    """Log an error of a block instead of raising it."""
    try:
        yield
    except ErrataError as error:
        _log.warning(event, **fields, error=str(error))
    except Exception:
        _log.exception(event, **fields)


def _make_registry(name: str, settings: RegistrySettings, public_url: str) -> Registry:
    rules = [_make_rule(name, number, rule) for number, rule in enumerate(settings.rules)]
    match settings.kind:
        case "mlflow":
            return MlflowRegistry(make_address(name, settings), rules, public_url)
        case "huggingface":
            return HuggingFaceRegistry(make_address(name, settings), rules, public_url)
        case "wandb":
            return WandbRegistry(make_address(name, settings), rules, public_url)
        case "generic":
            try:
                keys = [generic.key_of(secret.get_secret_value()) for secret in settings.secrets]
            except Unverified as error:
                raise invalid_setting(
                    name, "secrets", "invalid secret. Expected whsec_ followed by the key in base64."
                ) from error
            if min(map(len, keys)) < MIN_KEY:
                raise invalid_setting(name, "secrets", f"a key is too short. Use at least {MIN_KEY} bytes.")
            if not settings.url:
                return ReceiveOnlyRegistry(name, rules, generic.model_id)
            target = make_target(name, settings.url, keys[0], settings.ports, settings.networks)
            return ReceiveOnlyRegistry(name, rules, generic.model_id, target.send)


def _make_rule(name: str, number: int, settings: RuleSettings) -> RegistryRule:
    """Return a rule with the text of its policy; raise InvalidSetting if the policy is invalid."""
    policy = ""
    if settings.policy is not None:
        policy = _read_policy(name, number, settings.policy)
        try:
            needs_baseline = parse_policy(policy).needs_baseline
        except InvalidInput as error:
            raise invalid_setting(name, f"rules.{number}.policy", error.message) from error
        if needs_baseline and not settings.baseline:
            raise invalid_setting(
                name, f"rules.{number}.baseline", "missing baseline. The policy limits changes; set `baseline`."
            )
    return RegistryRule(settings.event, settings.model, settings.dataset, policy, settings.baseline)


def _read_policy(name: str, number: int, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or a null byte in the path
        raise invalid_setting(name, f"rules.{number}.policy", f"can't read {path}: {error!s:.120}") from error
