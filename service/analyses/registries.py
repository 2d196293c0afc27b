"""Handle the events of model registries: queue the analyses that the rules of a registry require, each only once."""

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Protocol

import structlog
from errata.errors import (
    AlreadyExists,
    AnalysisNotFound,
    EvidenceDamaged,
    InvalidInput,
    ModelNotFound,
    NotFound,
    Unavailable,
)

from service.analyses import queries
from service.analyses.owner_guard import acting_for
from service.analyses.policy import parse_policy
from service.analyses.ports import Ports, Stores
from service.analyses.request import HOOK_PREFIX, MAX_TEXT
from service.analyses.submit import ModelNotOffered, accept
from service.analyses.write_back import Writer
from service.domain import (
    REGISTRY_OWNER,
    Action,
    Analysis,
    AnalysisFilter,
    AnalysisRequest,
    RegistryEvent,
    RegistryRule,
    State,
)

ALIAS = "alias:"  # prefix of a baseline that is the version of an alias
MAX_CONSECUTIVE_FAILURES = 3  # consecutive failed events after which a poll ends
RETRY_AFTER = 15.0  # seconds, in the error while no worker is running
_PLAIN = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]*")  # no control characters or lone surrogates
_log = structlog.get_logger()


class EventResult(StrEnum):
    """The outcome of an event."""

    QUEUED = "queued"
    REPEATED = "repeated"  # an equivalent event was handled before
    IGNORED = "ignored"  # no rule matches, or Errata itself caused the event
    REFUSED = "refused"  # the version can never be analyzed


class Registry(Writer, Protocol):
    """One configured model registry. Thread-safe."""

    @property
    def id(self) -> str:
        """The id in the configuration."""
        ...

    @property
    def rules(self) -> Sequence[RegistryRule]:
        """The rules that map events to analyses."""
        ...

    def model_id(self, event: RegistryEvent) -> str:
        """Return the model ID that workers use to load an event's version."""
        ...

    def resolve(self, event: RegistryEvent) -> RegistryEvent | None:
        """Return an event with the number of its version; None if Errata itself caused the event.

        Raises:
            ModelNotFound: The version does not exist.
            Unavailable: The registry cannot be reached.
        """
        ...

    def version_of(self, model: str, alias: str) -> str | None:
        """Return the version of an alias; None if the alias does not exist. Raise Unavailable."""
        ...

    def aliases_and_tags(self, event: RegistryEvent) -> Collection[str] | None:
        """Return the aliases and tags of an event's version as `alias:NAME` and `tag:KEY`; None if they are unknown.

        Raises:
            ModelNotFound: The version does not exist.
            Unavailable: The registry cannot be reached.
        """
        ...

    def events(self) -> Iterable[RegistryEvent]:
        """Yield the versions and aliases of the registry as events, newest first; raise Unavailable."""
        ...


def handle_event(ports: Ports, registry: Registry, event: RegistryEvent) -> EventResult:
    """Queue the analyses of the rules that match an event.

    Raises:
        TooBusy: Too many analyses are open. The registry may deliver the event again.
        Unavailable: A part of the service is unavailable. The registry may deliver the event again.
        EvidenceDamaged: The bundle of a rule is damaged; the analyses of all other rules are queued.
    """
    log = _log.bind(registry=registry.id, model=event.model, version=event.version, event=event.action.value)
    if not _PLAIN.fullmatch(f"{event.model}{event.version}{event.name}{event.source}{event.delivery}"):
        log.warning("event refused: control characters in a name")
        return EventResult.REFUSED
    if event.is_own_change:
        log.info("event ignored: caused by a write-back")
        return EventResult.IGNORED
    rules = [rule for rule in registry.rules if rule.matches(event)]
    if not rules:
        log.info("event ignored: no rule matches", name=event.name)
        return EventResult.IGNORED
    try:
        resolved = registry.resolve(event)
        if resolved is not None and event.is_analysis_request:
            rules = _select_repeated(registry, rules, resolved)
    except ModelNotFound as error:
        log.warning("event refused", error=str(error))
        return EventResult.REFUSED
    if resolved is None:
        log.info("event ignored: caused by a write-back")
        return EventResult.IGNORED
    if not rules:
        log.info("event ignored: no rule applies to the version", name=event.name)
        return EventResult.IGNORED
    event = resolved
    outcomes, damage = set(), None
    for rule in rules:
        try:
            with acting_for(ports.stores.archive, REGISTRY_OWNER + registry.id):
                outcomes.add(_apply_rule(ports, registry, rule, event))
        except ModelNotOffered as error:
            raise Unavailable(
                f"No worker offers the model {registry.model_id(event)}. Try again later.", retry_after=RETRY_AFTER
            ) from error
        except (InvalidInput, NotFound) as error:
            log.warning("event refused", error=str(error))
            outcomes.add(EventResult.REFUSED)
        except EvidenceDamaged as error:
            damage = error
    if damage is not None:
        raise damage
    return next(outcome for outcome in EventResult if outcome in outcomes)


def poll(ports: Ports, registry: Registry) -> int:
    """Poll a registry, and handle its new versions and aliases.

    An event that fails does not stop the poll, unless several events in a row fail because a part of the service or the
    registry is unavailable.

    Returns:
        The number of queued events.

    Raises:
        TooBusy: Too many analyses are open. The poll ends at once.
        Unavailable, EvidenceDamaged: An event failed. The last such error is raised when the poll ends.
    """
    queued, num_consecutive = 0, 0
    last_error: Unavailable | EvidenceDamaged | None = None
    for event in registry.events():
        try:
            queued += handle_event(ports, registry, event) is EventResult.QUEUED
            num_consecutive = 0
        except Unavailable as error:
            last_error, num_consecutive = error, num_consecutive + 1
            if num_consecutive == MAX_CONSECUTIVE_FAILURES:
                break
        except EvidenceDamaged as error:
            last_error = error
    if last_error is not None:
        raise last_error
    return queued


def find_newest(stores: Stores, registry: str, model: str, version: str) -> Analysis | None:
    """Return the newest analysis of a version for its registry, preferably one with a gate; None if there is none.

    Raises:
        Unavailable: Analyses can be missing.
    """
    newest: Analysis | None = None
    for analysis in queries.iterate_analyses(stores, _registry_filter(registry, model=model, version=version)):
        if analysis.request.gate_policy or "gate" in analysis.request.labels:
            return analysis
        newest = newest or analysis
    return newest


def _select_repeated(registry: Registry, rules: list[RegistryRule], event: RegistryEvent) -> list[RegistryRule]:
    """Return the rules that a request to analyze a version again repeats: those that describe the version now.

    If the registry has no lookups, these are all rules.
    """
    events = {str(Action.CREATED), f"{event.action}:{event.name}"}
    if events.issuperset(rule.event for rule in rules):
        return rules
    current = registry.aliases_and_tags(event)
    return rules if current is None else [rule for rule in rules if rule.event in events.union(current)]


def _apply_rule(ports: Ports, registry: Registry, rule: RegistryRule, event: RegistryEvent) -> EventResult:
    """Submit the analysis of a rule."""
    policy, baseline = rule.policy, ""
    labels = {"registry": registry.id, "model": event.model, "version": event.version}
    if event.action is Action.ALIAS:
        labels["alias"] = event.name
    if policy and parse_policy(policy).needs_baseline:
        is_baseline = _is_own_baseline(registry, rule, event)
        if is_baseline and event.action is Action.ALIAS:
            return EventResult.IGNORED
        baseline = "" if is_baseline else _find_baseline(ports, registry, rule, event)
        if not baseline:
            policy = ""
            if not (
                is_baseline and event.is_analysis_request
            ):  # the repeated analysis of a promoted version keeps its gate
                labels["gate"] = "no-baseline"
    request = AnalysisRequest(
        dataset=rule.dataset,
        model=registry.model_id(event),
        display_name=f"{event.model} {event.version}"[:MAX_TEXT],
        labels=labels,
        request_id=_request_id(registry, rule, event, baseline),
        fresh=event.is_analysis_request,
        gate_policy=policy,
        gate_baseline=baseline,
    )
    try:
        _, is_new = accept(ports, request, REGISTRY_OWNER + registry.id, _delivery(registry, rule, event))
    except (AlreadyExists, AnalysisNotFound):  # requested before, with another baseline, or deleted since
        return EventResult.REPEATED
    return EventResult.QUEUED if is_new else EventResult.REPEATED


def _delivery(registry: Registry, rule: RegistryRule, event: RegistryEvent) -> str:
    """Return the key of a delivery and a rule; empty for an event of a poll."""
    if not event.delivery:
        return ""
    parts = [event.delivery, event.action, event.model, event.version, event.name]
    return f"{registry.id}:{_digest([*parts, rule.event, rule.dataset, rule.policy, rule.baseline])}"


def _is_own_baseline(registry: Registry, rule: RegistryRule, event: RegistryEvent) -> bool:
    """Return whether the baseline of a version is the version itself, because it was promoted meanwhile."""
    alias = rule.baseline.removeprefix(ALIAS)
    is_promotion = event.action is Action.ALIAS and event.name == alias
    if not rule.baseline.startswith(ALIAS) or is_promotion:
        return False
    return registry.version_of(event.model, alias) == event.version


def _request_id(registry: Registry, rule: RegistryRule, event: RegistryEvent, baseline: str) -> str:
    """Return the request ID of an event, which is the same for all deliveries and polls of the event.

    A request to analyze a version again has a new id for each delivery. An event of a watched alias has a new id for
    each baseline.
    """
    parts = [registry.id, event.model, event.version, rule.dataset, rule.policy, rule.baseline]
    if event.is_analysis_request:
        parts.append(f"again {event.delivery}")
    elif event.action is not Action.CREATED:
        parts.append(f"{event.action} {event.name} {event.value} {baseline}")
    return HOOK_PREFIX + _digest(parts)


def _digest(parts: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _find_baseline(ports: Ports, registry: Registry, rule: RegistryRule, event: RegistryEvent) -> str:
    """Return the id of the baseline analysis, which is submitted if necessary; empty if there is no baseline.

    If the event moved the baseline's alias to the new version, the baseline is the previous version of the alias.
    """
    if not rule.baseline.startswith(ALIAS):
        return queries.get(ports.stores, rule.baseline.removeprefix("analyses/")).id
    alias = rule.baseline.removeprefix(ALIAS)
    analyses = _list_model(ports.stores, registry, event.model, rule.dataset)
    version = registry.version_of(event.model, alias)
    if version is None or version == event.version:
        versions = [_version(analysis) for analysis in analyses if analysis.request.labels.get("alias") == alias]
        version = next((version for version in versions if version != event.version), None)
    if version is None:
        return ""
    baseline = _select_baseline(analyses, version)
    if baseline is None:
        created = RegistryEvent(Action.CREATED, event.model, version, source=event.source)
        _apply_rule(ports, registry, RegistryRule(Action.CREATED, dataset=rule.dataset), created)
        baseline = _select_baseline(_list_model(ports.stores, registry, event.model, rule.dataset), version)
    return baseline.id if baseline is not None else ""


def _select_baseline(analyses: Sequence[Analysis], version: str) -> Analysis | None:
    """Return the baseline among the analyses of a version: the newest without the label `alias`, else the oldest.

    Analyses with the label `alias` are comparisons with a baseline. If the newest of them were the baseline, each poll
    would find a new baseline and add another comparison.
    """
    of_version = [analysis for analysis in analyses if _version(analysis) == version]
    no_comparison = [analysis for analysis in of_version if "alias" not in analysis.request.labels]
    return next(iter(no_comparison or reversed(of_version)), None)


def _list_model(stores: Stores, registry: Registry, model: str, dataset: str) -> list[Analysis]:
    """Return all open and succeeded analyses of a model in a registry, newest first; see `iterate_analyses`."""
    analysis_filter = replace(
        _registry_filter(registry.id, model=model),
        states=frozenset({State.QUEUED, State.RUNNING, State.SUCCEEDED}),
        dataset=dataset,
    )
    return [*queries.iterate_analyses(stores, analysis_filter)]


def _version(analysis: Analysis) -> str:
    return analysis.request.labels.get("version", "")


def _registry_filter(registry: str, **labels: str) -> AnalysisFilter:
    """Return a filter of analyses that a registry requested. It checks the owner, because any caller can set labels."""
    return AnalysisFilter(labels={"registry": registry, **labels}, owner=REGISTRY_OWNER + registry)
