"""Registries: an event becomes an analysis, where one of the registry's rules says so; once for each meaning."""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Protocol

import structlog
from errata.errors import AlreadyExists, AnalysisNotFound, InvalidInput, ModelNotFound, NotFound, Unavailable

from service.analyses import queries
from service.analyses.policy import parse_policy
from service.analyses.ports import Ports
from service.analyses.request import HOOK_ID, MAX_TEXT
from service.analyses.submit import submit
from service.analyses.write_back import Result
from service.domain import REGISTRY_OWNER, Action, Analysis, AnalysisRequest, RegistryEvent, RegistryRule, State

ALIAS = "alias:"  # a baseline that is the version an alias points to
GIVE_UP = 3  # events in a row that can't be taken, after which a poll ends
RETRY_AFTER = 15.0  # seconds, for who asks before there is a worker
_PLAIN = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]*")  # no control characters, no halves of characters
_log = structlog.get_logger()


class EventResult(StrEnum):
    """What came of an event."""

    QUEUED = "queued"
    REPEATED = "repeated"  # what it means has been asked before
    IGNORED = "ignored"  # no rule is for it, or it is the echo of Errata's own writing
    REFUSED = "refused"  # it can never be analyzed


class Registry(Protocol):
    """One configured model registry. Safe to use from several threads."""

    @property
    def id(self) -> str:
        """Return the id that the operator gave it."""
        ...

    @property
    def rules(self) -> Sequence[RegistryRule]:
        """Return which events lead to which analysis."""
        ...

    def model_id(self, event: RegistryEvent) -> str:
        """Return the identifier by which a worker loads a version."""
        ...

    def version_of(self, model: str, alias: str) -> str | None:
        """Return the version an alias points to, None if there is none; raise Unavailable."""
        ...

    def events(self) -> Iterable[RegistryEvent]:
        """Yield what the registry holds as the events that made it, newest first; raise Unavailable."""
        ...

    def write(self, result: Result) -> None:
        """Tell a result; the same one twice changes nothing. Raise ModelNotFound for a version that is gone."""
        ...


def take(ports: Ports, registry: Registry, event: RegistryEvent) -> EventResult:
    """Queue the analyses that an event's rules ask for; raise TooBusy or Unavailable where it may come again."""
    log = _log.bind(registry=registry.id, model=event.model, version=event.version, event=event.action.value)
    if not _PLAIN.fullmatch(f"{event.model}{event.version}{event.name}{event.source}{event.delivery}"):
        log.warning("an event is refused: its names hold characters that names have not")
        return EventResult.REFUSED
    if event.is_own_change:
        log.info("an event is ignored: it is Errata's own writing")
        return EventResult.IGNORED
    rules = [rule for rule in registry.rules if rule.matches(event)]
    if not rules:
        log.info("an event is ignored: no rule is for it", name=event.name)
        return EventResult.IGNORED
    outcomes = set()
    for rule in rules:
        try:
            outcomes.add(_asked(ports, registry, rule, event))
        except ModelNotFound as error:
            raise Unavailable(f"no worker loads {registry.model_id(event)} now", retry_after=RETRY_AFTER) from error
        except (InvalidInput, NotFound) as error:
            log.warning("an event is refused", error=str(error))
            outcomes.add(EventResult.REFUSED)
    return next(item for item in EventResult if item in outcomes)


def poll(ports: Ports, registry: Registry) -> int:
    """Take what a registry holds and Errata has not seen; return how many were queued.

    What can't be taken now doesn't keep back the rest, unless it goes on so. Raise TooBusy or Unavailable at the end.
    """
    queued, failed, in_a_row = 0, None, 0
    for event in registry.events():
        try:
            queued += take(ports, registry, event) is EventResult.QUEUED
            in_a_row = 0
        except Unavailable as error:
            failed, in_a_row = error, in_a_row + 1
            if in_a_row == GIVE_UP:
                break
    if failed is not None:
        raise failed
    return queued


def newest(ports: Ports, registry: str, model: str, version: str) -> Analysis | None:
    """Return the last analysis that a registry's events made of a version; None if there is none."""
    labels = {"registry": registry, "model": model, "version": version}
    result = [
        list_analysis
        for list_analysis in queries.list_analyses(ports, queries.AnalysisFilter(labels=labels), "")
        if _hooked(list_analysis)
    ]
    gated = [item for item in result if item.request.gate_policy or "gate" in item.request.labels]
    return next(iter(gated or result), None)


def _asked(ports: Ports, registry: Registry, rule: RegistryRule, event: RegistryEvent) -> EventResult:
    policy, baseline = rule.policy, ""
    labels = {"registry": registry.id, "model": event.model, "version": event.version}
    if event.action is Action.ALIAS:
        labels["alias"] = event.name
    if policy and parse_policy(policy).needs_baseline:
        is_own = _is_own_baseline(registry, rule, event)
        if is_own and event.action is Action.ALIAS:
            return EventResult.IGNORED
        baseline = "" if is_own else _baseline(ports, registry, rule, event)
        if not baseline:
            policy = ""
            if not (
                is_own and event.is_analysis_request
            ):  # who asks again for what was promoted leaves its gate as it is
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
    before = ports.clock()
    try:
        analysis = submit(ports, request, REGISTRY_OWNER + registry.id, _delivery(registry, rule, event))
    except (AlreadyExists, AnalysisNotFound):  # asked before, when the baseline was another, or dropped since
        return EventResult.REPEATED
    return EventResult.REPEATED if analysis.create_time < before else EventResult.QUEUED


def _delivery(registry: Registry, rule: RegistryRule, event: RegistryEvent) -> str:
    """Return what is known of a delivery afterwards, for each rule; empty for what a poll found."""
    if not event.delivery:
        return ""
    parts = [
        event.delivery,
        event.action,
        event.model,
        event.version,
        event.name,
        rule.event,
        rule.dataset,
        rule.policy,
        rule.baseline,
    ]
    return f"{registry.id}:{hashlib.sha256(json.dumps(parts).encode()).hexdigest()}"


def _is_own_baseline(registry: Registry, rule: RegistryRule, event: RegistryEvent) -> bool:
    """Say whether a version is to be held against itself: it was promoted since."""
    alias = rule.baseline.removeprefix(ALIAS)
    just_moved = event.action is Action.ALIAS and event.name == alias
    if not rule.baseline.startswith(ALIAS) or just_moved:
        return False
    return registry.version_of(event.model, alias) == event.version


def _request_id(registry: Registry, rule: RegistryRule, event: RegistryEvent, baseline: str) -> str:
    """Return what an event means: the same for every delivery of it, and for the poll that finds what it told of.

    Who asks for another analysis means each delivery anew; a watched alias means another comparison with each baseline.
    """
    means = [registry.id, event.model, event.version, rule.dataset, rule.policy, rule.baseline]
    if event.is_analysis_request:
        means.append(f"again {event.delivery}")
    elif event.action is not Action.CREATED:
        means.append(f"{event.action} {event.name} {event.value} {baseline}")
    return HOOK_ID + hashlib.sha256(json.dumps(means).encode()).hexdigest()


def _baseline(ports: Ports, registry: Registry, rule: RegistryRule, event: RegistryEvent) -> str:
    """Return the analysis that changes are held against, made if it has to be; empty if there is nothing to compare.

    An alias that was just set to the version itself means the version that had it before.
    """
    if not rule.baseline.startswith(ALIAS):
        return queries.get(ports, rule.baseline.removeprefix("analyses/")).id
    alias = rule.baseline.removeprefix(ALIAS)
    known = _of(ports, registry, event.model, rule.dataset)
    version = registry.version_of(event.model, alias)
    if version is None or version == event.version:
        had_it = [item for item in known if item.request.labels.get("alias") == alias]
        version = next((_version(item) for item in had_it if _version(item) != event.version), None)
    if version is None:
        return ""
    result = _plain(known, version)
    if result is None:
        earlier = RegistryEvent(Action.CREATED, event.model, version, source=event.source)
        _asked(ports, registry, RegistryRule(Action.CREATED, dataset=rule.dataset), earlier)
        result = _plain(_of(ports, registry, event.model, rule.dataset), version)
    return result.id if result is not None else ""


def _plain(known: Sequence[Analysis], version: str) -> Analysis | None:
    """Return what a version's comparisons are held against: its last analysis that is none itself, or else its first.

    A comparison makes an analysis: held against the last one, each poll would make another.
    """
    own = [item for item in known if _version(item) == version]
    plain = [item for item in own if "alias" not in item.request.labels]
    return next(iter(plain or reversed(own)), None)


def _of(ports: Ports, registry: Registry, model: str, dataset: str) -> list[Analysis]:
    """Return the analyses of a registry's model that have, or will have, a result, newest first."""
    wanted = queries.AnalysisFilter(
        states=frozenset({State.QUEUED, State.RUNNING, State.SUCCEEDED}),
        dataset=dataset,
        labels={"registry": registry.id, "model": model},
    )
    return [list_analysis for list_analysis in queries.list_analyses(ports, wanted, "") if _hooked(list_analysis)]


def _version(analysis: Analysis) -> str:
    return analysis.request.labels.get("version", "")


def _hooked(analysis: Analysis) -> bool:
    """Say whether a registry asked for it: anybody may give an upload such labels."""
    return analysis.owner.startswith(REGISTRY_OWNER)
