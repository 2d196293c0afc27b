"""The configured model registries: what each is, and the threads that poll them and tell them results."""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from threading import Event, Thread
from urllib.parse import urlsplit

import structlog
from errata.errors import ErrataError, InvalidInput, InvalidSetting, NotFound

from service.analyses.policy import parse_policy
from service.analyses.ports import Ports
from service.analyses.registries import Registry, poll
from service.analyses.write_back import WriteBackResult, write_back_due_results
from service.domain import RegistryRule
from service.predictions.registries import RegistryAddress
from service.settings import RegistrySettings, RuleSettings, Settings
from service.telemetry import Metrics, at_zero
from service.web.hooks import generic, huggingface, wandb
from service.web.hooks.endpoint import Caller
from service.web.hooks.mlflow import MlflowRegistry
from service.web.hooks.outgoing import target
from service.web.hooks.receive_only import ReceiveOnlyRegistry
from service.web.hooks.signature import Unverified

WRITE_SECONDS = 1.0  # between two looks for what is owed
MIN_KEY = 16  # bytes of a Standard Webhooks secret
AGAIN_SECONDS = 30.0  # before a poll that failed is repeated
_log = structlog.get_logger()


def callers(settings: Settings) -> Mapping[str, Caller]:
    """Return the configured registries by their ids; raise InvalidSetting for what an operator must mend."""
    return {
        name: Caller(
            each.kind,
            [secret.get_secret_value() for secret in each.secrets],
            _registry(name, each, settings.public_url),
        )
        for name, each in settings.registries.items()
    }


def check_datasets(ports: Ports, registries: Sequence[Registry]) -> None:
    """Raise InvalidSetting for a rule whose data set isn't served."""
    for registry in registries:
        for number, rule in enumerate(registry.rules):
            try:
                ports.evidence_repository.bundles(rule.dataset)
            except NotFound as error:
                raise _wrong(registry.id, f"rules.{number}.dataset", error.message) from error


class RegistryWork:
    """Polls the registries, and tells them what they are owed, until it is stopped."""

    def __init__(self, ports: Ports, registries: Sequence[Registry], metrics: Metrics, poll_seconds: float) -> None:
        self._ports = ports
        self._registries = registries
        self._metrics = metrics
        self._poll_seconds = poll_seconds
        self._stopped = Event()
        self._threads: list[Thread] = []

    def start(self) -> None:
        """Start a thread that writes back, and one a registry that polls; none where no registry is configured."""
        if not self._registries:
            return
        at_zero(self._metrics.polls, (registry.id for registry in self._registries), ("done", "failed"))
        at_zero(self._metrics.write_backs, (item.value for item in WriteBackResult))
        work: list[tuple[str, Callable[[], float]]] = [("write-back", self._write_back)]
        work += [(f"poll-{registry.id}", partial(self._poll, registry)) for registry in self._registries]
        for name, do in work:
            self._threads.append(Thread(target=self._run, args=(do,), name=name, daemon=True))
            self._threads[-1].start()

    def stop(self, seconds: float = 5.0) -> None:
        """End the threads; wait a while for a result that is just being written."""
        self._stopped.set()
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _run(self, do: Callable[[], float]) -> None:
        wait = 0.0
        while not self._stopped.wait(wait):
            wait = do()

    def _write_back(self) -> float:
        try:
            counts = write_back_due_results(self._ports, {registry.id: registry for registry in self._registries})
        except ErrataError as error:
            _log.warning("results can't be written back now", error=str(error))
        except Exception:
            _log.exception("results can't be written back now")
        else:
            for told, number in counts.items():
                self._metrics.write_backs.labels(told.value).inc(number)
        return WRITE_SECONDS

    def _poll(self, registry: Registry) -> float:
        try:
            queued = poll(self._ports, registry)
        except ErrataError as error:
            _log.warning("a registry can't be polled now", registry=registry.id, error=str(error))
        except Exception:
            _log.exception("a registry can't be polled now", registry=registry.id)
        else:
            self._metrics.polls.labels(registry.id, "done").inc()
            if queued:
                _log.info("a poll found what no event told of", registry=registry.id, queued=queued)
            return self._poll_seconds
        self._metrics.polls.labels(registry.id, "failed").inc()
        return min(AGAIN_SECONDS, self._poll_seconds)


def _registry(name: str, given: RegistrySettings, public_url: str) -> Registry:
    rules = [_rule(name, number, each) for number, each in enumerate(given.rules)]
    token = given.token.get_secret_value() if given.token else ""
    match given.kind:
        case "mlflow":
            if not given.url.startswith(("http://", "https://")):
                raise _wrong(name, "url", "expected http:// or https://, got another form")
            if "@" in urlsplit(given.url).netloc:
                raise _wrong(name, "url", "expected an address without a user's name, got one with it: set its token")
            if find_spec("mlflow") is None:
                raise _wrong(name, "kind", "expected MLflow's client, got none: install errata-service[mlflow]")
            return MlflowRegistry(RegistryAddress(name, given.url, token), rules, public_url)
        case "huggingface":
            return ReceiveOnlyRegistry(name, rules, huggingface.model_id)
        case "wandb":
            return ReceiveOnlyRegistry(name, rules, wandb.model_id)
        case "generic":
            try:
                keys = [generic.key_of(secret.get_secret_value()) for secret in given.secrets]
            except Unverified as error:
                raise _wrong(name, "secrets", "expected whsec_ and base64") from error
            if min(map(len, keys)) < MIN_KEY:
                raise _wrong(name, "secrets", f"expected keys of at least {MIN_KEY} bytes, got a shorter one")
            tell = target(name, given.url, keys[0], given.ports, given.networks).tell if given.url else None
            return ReceiveOnlyRegistry(name, rules, generic.model_id, tell)


def _rule(name: str, number: int, given: RuleSettings) -> RegistryRule:
    """Return a rule with its policy read; raise InvalidSetting for a policy that isn't one."""
    text = ""
    if given.policy is not None:
        text = _text(name, number, given.policy)
        try:
            needs_baseline = parse_policy(text).needs_baseline
        except InvalidInput as error:
            raise _wrong(name, f"rules.{number}.policy", error.message) from error
        if needs_baseline and not given.baseline:
            raise _wrong(name, f"rules.{number}.baseline", "expected one, since the policy bounds changes, got none")
    return RegistryRule(given.event, given.model, given.dataset, text, given.baseline)


def _text(name: str, number: int, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:  # also a path that can't be one
        raise _wrong(name, f"rules.{number}.policy", f"{path} can't be read: {error!s:.120}") from error


def _wrong(name: str, place: str, words: str) -> InvalidSetting:
    return InvalidSetting(f"ERRATA_REGISTRIES: at {name}.{place}: {words}", field="ERRATA_REGISTRIES")
