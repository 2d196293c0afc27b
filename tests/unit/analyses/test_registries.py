"""Registries: events that become analyses, each once, and the baselines of their gates."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from errata.errors import EvidenceDamaged, ModelNotFound, TooBusy, Unavailable

from service.analyses import lifecycle, queries
from service.analyses.judge import judge_job
from service.analyses.ports import Limits, Ports, Workers
from service.analyses.registries import EventResult, find_newest, handle_event, poll
from service.analyses.write_back import WriteBack, write_back
from service.domain import (
    Action,
    Analysis,
    AnalysisFilter,
    Failure,
    ModelInfo,
    Predictions,
    RegistryEvent,
    RegistryRule,
    State,
)
from service.evidence.bundle import Bundle
from service.evidence.repository import EvidenceRepository
from service.jobs import transitions
from service.jobs.transitions import ShardResult, WorkerOffer
from service.predictions.model_id import ModelId

from .conftest import MODEL, Backend

PLAIN = """
version: 1
name: plain
bounds: [{name: few failures, measure: count, types: MODEL_FAILURE, max: 20}]
"""
OTHER = PLAIN.replace("plain", "other").replace("max: 20", "max: 3")
COMPARED = """
version: 1
name: compared
bounds: [{name: not worse, measure: top1_accuracy, max_decrease: 0.02}]
"""
CREATED = RegistryRule("created", dataset="demo")
CHAMPION = RegistryRule("alias:champion", dataset="demo", policy=COMPARED, baseline="alias:champion")
CHALLENGER = replace(CHAMPION, event="alias:challenger")


@dataclass
class FakeRegistry:
    """A fake registry with aliases and events."""

    rules: Sequence[RegistryRule]
    id: str = "prod"
    aliases: dict[tuple[str, str], str] = field(default_factory=dict)
    all_events: list[RegistryEvent] = field(default_factory=list)
    is_unavailable: bool = False
    own_versions: set[str] = field(default_factory=set)
    missing: set[tuple[str, str]] = field(default_factory=set)
    tags: list[str] = field(default_factory=list)
    has_lookup: bool = True

    def model_id(self, event: RegistryEvent) -> str:
        return MODEL

    def resolve(self, event: RegistryEvent) -> RegistryEvent | None:
        if (event.model, event.version) in self.missing:
            raise ModelNotFound("the version does not exist")
        version = self.aliases.get((event.model, event.version), event.version)
        return None if event.version in self.own_versions else replace(event, version=version)

    def version_of(self, model: str, alias: str) -> str | None:
        if self.is_unavailable:
            raise Unavailable("the registry is unavailable")
        return self.aliases.get((model, alias))

    def aliases_and_tags(self, event: RegistryEvent) -> list[str] | None:
        if not self.has_lookup:
            return None
        aliases = [f"alias:{alias}" for (_, alias), version in self.aliases.items() if version == event.version]
        return aliases + self.tags

    def events(self) -> Iterator[RegistryEvent]:
        if self.is_unavailable:
            raise Unavailable("the registry is unavailable")
        return iter(self.all_events)

    def write(self, result: WriteBack) -> None:
        raise ModelNotFound("the version was deleted")

    def set_alias(self, alias: str, version: str, model: str = "net", delivery: str = "") -> RegistryEvent:
        """Set an alias, and return its event."""
        self.aliases[model, alias] = version
        return RegistryEvent(Action.ALIAS, model, version, alias, delivery=delivery)


def created(version: str, model: str = "net", delivery: str = "d") -> RegistryEvent:
    return RegistryEvent(Action.CREATED, model, version, delivery=delivery)


def tagged(version: str, key: str, value: str = "", delivery: str = "d") -> RegistryEvent:
    return RegistryEvent(Action.TAG, "net", version, key, value, delivery)


def list_created(backend: Backend) -> list[Analysis]:
    """Return all analyses, oldest first."""
    return [*queries.iterate_analyses(backend.ports.stores, AnalysisFilter())][::-1]


def versions(backend: Backend) -> list[str]:
    return [analysis.request.labels["version"] for analysis in list_created(backend)]


def lease_due_analyses(backend: Backend) -> list[str]:
    """Lease all due outbox items, and return the ids of their analyses."""
    return [item.analysis for _ in range(4) if (item := backend.store.next_outbox_item(1e9))]


def finish(backend: Backend) -> None:
    """Predict and judge all open jobs."""
    for job_id, shards in backend.sent:
        job = backend.store.job(job_id)
        if job is None or job.state.is_final:
            continue
        for shard in range(shards):
            start, stop = job.spec.bounds(shard)
            fencing_token = backend.store.change_shard(transitions.claim, job_id, shard, "w", 20.0).fencing_token
            top1 = np.full(stop - start, 7, dtype=np.int16)
            backend.store.change_shard(
                transitions.finish,
                job_id,
                shard,
                fencing_token,
                ShardResult(Predictions(top1), ModelInfo(MODEL, "n", "0" * 64, "t")),
            )
        judge_job(backend.ports, job_id)


# rules


def test_an_event_is_queued_even_if_its_analysis_ends_and_is_deleted_at_once(backend: Backend) -> None:
    ports = backend.ports

    def fail_at_once(job_id: str, count: int) -> None:
        token = backend.store.change_shard(transitions.claim, job_id, 0, "w", 20.0).fencing_token
        assert backend.store.change_shard(
            transitions.fail, job_id, 0, token, Failure("MODEL_NOT_FOUND", "the version was deleted")
        )
        while item := backend.store.next_outbox_item(60.0):
            write_back(ports, {"prod": registry}, item)

    registry = FakeRegistry([CREATED])
    replaced = replace(ports, models=replace(ports.models, send_shards=fail_at_once))
    assert handle_event(replaced, registry, created("1")) is EventResult.QUEUED
    assert handle_event(replaced, registry, created("1")) is EventResult.REPEATED
    assert list_created(backend) == []


def test_an_event_of_a_mutable_name_is_an_analysis_of_its_version(backend: Backend) -> None:
    registry = FakeRegistry([CREATED], aliases={("net", "latest"): "v3"})

    assert handle_event(backend.ports, registry, created("latest")) is EventResult.QUEUED
    assert handle_event(backend.ports, registry, created("v3", delivery="d2")) is EventResult.REPEATED
    assert versions(backend) == ["v3"]


def test_a_version_that_errata_created_is_ignored(backend: Backend) -> None:
    registry = FakeRegistry([CREATED], own_versions={"3"})

    assert handle_event(backend.ports, registry, created("3")) is EventResult.IGNORED
    assert handle_event(backend.ports, registry, created("4")) is EventResult.QUEUED
    assert versions(backend) == ["4"]


def test_a_version_that_does_not_exist_is_refused(backend: Backend) -> None:
    registry = FakeRegistry([CREATED], missing={("net", "3")})

    assert handle_event(backend.ports, registry, created("3")) is EventResult.REFUSED
    assert versions(backend) == []


@pytest.mark.parametrize(
    ("glob", "model", "matches"),
    [
        ("*", "net", True),
        ("net", "net", True),
        ("net", "net-2", False),
        ("photo-*", "photo-net", True),
        ("photo-*", "Photo-net", False),
        ("photo-*", "my-photo-net", False),
        ("net-[12]", "net-2", True),
        ("net-?", "net-12", False),
    ],
)
def test_a_rule_applies_to_the_models_that_match_its_glob(
    backend: Backend, glob: str, model: str, matches: bool
) -> None:
    registry = FakeRegistry([replace(CREATED, model=glob)])

    assert handle_event(backend.ports, registry, created("1", model)) is (
        EventResult.QUEUED if matches else EventResult.IGNORED
    )

    assert len(list_created(backend)) == matches


@pytest.mark.parametrize(
    ("rule", "event", "matches"),
    [
        ("created", created("1"), True),
        ("created", RegistryEvent(Action.ALIAS, "net", "1", "champion"), False),
        ("created", tagged("1", "stage"), False),
        ("alias:champion", created("1"), False),
        ("alias:champion", RegistryEvent(Action.ALIAS, "net", "1", "champion"), True),
        ("alias:champion", RegistryEvent(Action.ALIAS, "net", "1", "champion-2"), False),
        ("alias:champion", tagged("1", "champion"), False),
        ("tag:stage", tagged("1", "stage", "x"), True),
        ("tag:stage", tagged("1", "other", "stage"), False),
        ("tag:stage", RegistryEvent(Action.ALIAS, "net", "1", "stage"), False),
    ],
)
def test_a_rule_applies_only_to_its_events(backend: Backend, rule: str, event: RegistryEvent, matches: bool) -> None:
    registry = FakeRegistry([RegistryRule(rule, dataset="demo")])

    assert handle_event(backend.ports, registry, event) is (EventResult.QUEUED if matches else EventResult.IGNORED)


def test_without_a_rule_events_are_ignored(backend: Backend) -> None:
    assert handle_event(backend.ports, FakeRegistry([]), created("1")) is EventResult.IGNORED
    assert (
        handle_event(backend.ports, FakeRegistry([]), tagged("1", "errata.request", "analyze")) is EventResult.IGNORED
    )


def test_a_queued_analysis_names_its_registry_and_is_in_the_outbox(backend: Backend) -> None:
    handle_event(backend.ports, FakeRegistry([replace(CREATED, policy=PLAIN)]), created("3"))

    (analysis,) = list_created(backend)
    assert (analysis.state, analysis.owner) == (State.QUEUED, "registry:prod")
    assert (analysis.request.model, analysis.request.dataset) == (MODEL, "demo")
    assert (analysis.request.gate_policy, analysis.request.gate_baseline) == (PLAIN, "")
    assert analysis.request.labels == {"registry": "prod", "model": "net", "version": "3"}
    finish(backend)
    assert lease_due_analyses(backend) == [analysis.id]


@pytest.mark.parametrize(
    "event",
    [
        tagged("1", "errata.gate", "fail"),
        tagged("1", "errata.report", "https://errata.example"),
        tagged("1", "errata.request", "done"),
        RegistryEvent(Action.ALIAS, "net", "1", "errata-passed"),
        RegistryEvent(Action.ALIAS, "net", "1", "errata-anything"),
    ],
)
def test_events_of_write_backs_are_ignored_for_all_rules(backend: Backend, event: RegistryEvent) -> None:
    rules = [CREATED, *(RegistryRule(f"{event.action}:{name}", dataset="demo") for name in (event.name, "*"))]

    assert handle_event(backend.ports, FakeRegistry(rules), event) is EventResult.IGNORED

    assert list_created(backend) == []


def test_a_rule_that_cannot_be_applied_does_not_stop_another(backend: Backend) -> None:
    nowhere = RegistryRule("created", dataset="nowhere")

    assert handle_event(backend.ports, FakeRegistry([nowhere]), created("1")) is EventResult.REFUSED
    assert handle_event(backend.ports, FakeRegistry([nowhere, CREATED]), created("1")) is EventResult.QUEUED
    assert len(list_created(backend)) == 1


# repeated events


def test_repeated_deliveries_and_polls_of_a_version_make_one_analysis_per_rule(backend: Backend) -> None:
    registry = FakeRegistry([CREATED])
    assert handle_event(backend.ports, registry, created("1", delivery="d1")) is EventResult.QUEUED
    registry.all_events = [created("1", delivery=""), registry.set_alias("champion", "1")]

    assert handle_event(backend.ports, registry, created("1", delivery="d1")) is EventResult.REPEATED
    assert handle_event(backend.ports, registry, created("1", delivery="d2")) is EventResult.REPEATED
    assert handle_event(backend.ports, registry, registry.set_alias("champion", "1")) is EventResult.IGNORED
    assert poll(backend.ports, registry) == 0
    finish(backend)
    assert handle_event(backend.ports, registry, created("1", delivery="d3")) is EventResult.REPEATED
    assert poll(backend.ports, registry) == 0

    assert len(list_created(backend)) == 1


def test_repeated_deliveries_and_polls_of_an_alias_make_one_analysis_per_rule(backend: Backend) -> None:
    registry = FakeRegistry([RegistryRule("alias:champion", dataset="demo", policy=PLAIN)])
    event = registry.set_alias("champion", "1", delivery="d1")
    registry.all_events = [created("1", delivery=""), replace(event, delivery="")]

    assert handle_event(backend.ports, registry, event) is EventResult.QUEUED
    assert handle_event(backend.ports, registry, replace(event, delivery="d2")) is EventResult.REPEATED
    assert poll(backend.ports, registry) == 0
    finish(backend)
    assert poll(backend.ports, registry) == 0

    (analysis,) = list_created(backend)
    assert analysis.request.labels["alias"] == "champion"


def test_a_poll_queues_and_counts_versions_without_an_event(backend: Backend) -> None:
    registry = FakeRegistry([replace(CREATED, model="net")])
    handle_event(backend.ports, registry, created("1"))
    registry.all_events = [created(version, delivery="") for version in "321"] + [created("9", "another")]

    assert poll(backend.ports, registry) == 2
    assert poll(backend.ports, registry) == 0

    assert versions(backend) == ["1", "3", "2"]


def test_two_rules_with_different_policies_make_two_analyses(backend: Backend) -> None:
    registry = FakeRegistry([replace(CREATED, policy=PLAIN), replace(CREATED, policy=OTHER)])

    assert handle_event(backend.ports, registry, created("1")) is EventResult.QUEUED
    assert handle_event(backend.ports, registry, created("1")) is EventResult.REPEATED

    assert sorted(analysis.request.gate_policy for analysis in list_created(backend)) == sorted([PLAIN, OTHER])
    finish(backend)
    assert len(lease_due_analyses(backend)) == 2


def test_two_equivalent_rules_make_one_analysis(backend: Backend) -> None:
    assert (
        handle_event(backend.ports, FakeRegistry([CREATED, replace(CREATED, model="n*")]), created("1"))
        is EventResult.QUEUED
    )

    assert len(list_created(backend)) == 1


def test_versions_models_and_registries_are_distinguished(backend: Backend) -> None:
    for registry in (FakeRegistry([CREATED]), FakeRegistry([CREATED], id="other")):
        for model, version in itertools.product(("net", "net 1"), ("1", "11")):
            assert handle_event(backend.ports, registry, created(version, model)) is EventResult.QUEUED

    assert len(list_created(backend)) == 8


def test_a_request_to_analyze_again_is_queued_once_per_delivery(backend: Backend) -> None:
    registry = FakeRegistry([CREATED])
    handle_event(backend.ports, registry, created("1"))
    finish(backend)
    again = tagged("1", "errata.request", "analyze", delivery="d1")

    assert handle_event(backend.ports, registry, again) is EventResult.QUEUED
    assert handle_event(backend.ports, registry, again) is EventResult.REPEATED
    assert handle_event(backend.ports, registry, replace(again, delivery="d2")) is EventResult.QUEUED
    assert handle_event(backend.ports, registry, replace(again, delivery="d1")) is EventResult.REPEATED

    states = [(analysis.state, analysis.request.fresh) for analysis in list_created(backend)]
    assert states == [(State.SUCCEEDED, False), (State.QUEUED, True), (State.QUEUED, True)]


def test_a_version_predicted_before_is_finished_immediately_and_in_the_outbox(backend: Backend) -> None:
    handle_event(backend.ports, FakeRegistry([CREATED], id="one"), created("1"))
    finish(backend)
    lease_due_analyses(backend)

    assert handle_event(backend.ports, FakeRegistry([CREATED], id="two"), created("1")) is EventResult.QUEUED

    _, second = list_created(backend)
    assert (second.state, second.owner, second.cached) == (State.SUCCEEDED, "registry:two", True)
    assert lease_due_analyses(backend) == [second.id]


def test_a_delivery_can_be_repeated_after_the_archive_was_unavailable(backend: Backend) -> None:
    handle_event(backend.ports, FakeRegistry([CREATED], id="one"), created("1"))
    finish(backend)
    lease_due_analyses(backend)
    backend.archive.errors = [Unavailable("the disk is full")]
    second = FakeRegistry([CREATED], id="two")
    with pytest.raises(Unavailable, match="the disk is full"):
        handle_event(backend.ports, second, created("1"))
    assert lease_due_analyses(backend) == []

    assert handle_event(backend.ports, second, created("1")) is EventResult.QUEUED
    assert handle_event(backend.ports, second, created("1")) is EventResult.REPEATED

    _, analysis = list_created(backend)
    assert lease_due_analyses(backend) == [analysis.id]


def test_a_deleted_analysis_of_archived_predictions_stays_deleted(backend: Backend) -> None:
    for registry in ("one", "two"):
        assert handle_event(backend.ports, FakeRegistry([CREATED], id=registry), created("1")) is EventResult.QUEUED
        finish(backend)
    _, analysis = list_created(backend)
    assert analysis.cached
    lifecycle.delete(backend.ports.stores, analysis.id)

    for _ in range(2):
        assert handle_event(backend.ports, FakeRegistry([CREATED], id="two"), created("1")) is EventResult.REPEATED
        backend.now += 301

    assert [analysis.owner for analysis in list_created(backend)] == ["registry:one"]


def test_a_delivery_whose_handler_was_killed_is_queued_although_its_predictions_were_deleted(backend: Backend) -> None:
    handle_event(backend.ports, FakeRegistry([CREATED], id="one"), created("1"))
    finish(backend)
    (first,) = list_created(backend)
    backend.archive.errors = [KeyboardInterrupt()]
    second = FakeRegistry([CREATED], id="two")
    with pytest.raises(KeyboardInterrupt):
        handle_event(backend.ports, second, created("1"))
    lifecycle.delete(backend.ports.stores, first.id)

    with pytest.raises(Unavailable, match="in progress"):
        handle_event(backend.ports, second, created("1"))
    backend.now += 301

    assert [handle_event(backend.ports, second, created("1")) for _ in range(2)] == ["queued", "repeated"]
    finish(backend)
    (analysis,) = list_created(backend)
    assert analysis.owner == "registry:two"
    lifecycle.delete(backend.ports.stores, analysis.id)
    assert handle_event(backend.ports, second, created("1")) is EventResult.REPEATED  # the user does not want it


# baselines


def test_the_baseline_is_the_analysis_of_the_version_of_an_alias(backend: Backend) -> None:
    registry = FakeRegistry([CREATED, CHALLENGER])
    for version in "123":
        handle_event(backend.ports, registry, created(version))
    first, second, third = list_created(backend)
    registry.set_alias("champion", "2")

    assert handle_event(backend.ports, registry, registry.set_alias("challenger", "1")) is EventResult.QUEUED

    assert {first.id, second.id, third.id} < {analysis.id for analysis in list_created(backend)}
    compared = list_created(backend)[-1]
    assert (compared.request.gate_policy, compared.request.gate_baseline) == (COMPARED, second.id)
    assert "gate" not in compared.request.labels


def test_a_missing_baseline_is_queued(backend: Backend) -> None:
    registry = FakeRegistry([CHALLENGER])
    registry.set_alias("champion", "1")

    assert handle_event(backend.ports, registry, registry.set_alias("challenger", "2")) is EventResult.QUEUED

    baseline, compared = list_created(backend)
    assert (baseline.request.labels["version"], compared.request.labels["version"]) == ("1", "2")
    assert (baseline.state, baseline.request.gate_policy) == (State.QUEUED, "")
    assert compared.request.gate_baseline == baseline.id
    assert handle_event(backend.ports, registry, registry.set_alias("challenger", "2")) is EventResult.REPEATED
    assert len(list_created(backend)) == 2


def test_a_queued_baseline_equals_the_analysis_of_the_created_rule(backend: Backend) -> None:
    registry = FakeRegistry([CREATED, CHALLENGER])
    registry.set_alias("champion", "1")
    handle_event(backend.ports, registry, registry.set_alias("challenger", "2"))

    assert handle_event(backend.ports, registry, created("1")) is EventResult.REPEATED


@pytest.mark.parametrize("other", ["another model", "another registry", "another user's", "another data set's"])
def test_only_the_registrys_own_analyses_of_the_model_are_baselines(backend: Backend, other: str) -> None:
    registry = FakeRegistry([CHALLENGER])
    registry.set_alias("champion", "1")
    match other:
        case "another model":
            handle_event(backend.ports, FakeRegistry([CREATED]), created("1", "net-2"))
        case "another registry":
            handle_event(backend.ports, FakeRegistry([CREATED], id="prod-2"), created("1"))
        case "another data set's":
            handle_event(backend.ports, FakeRegistry([CREATED]), created("1"))
            registry.rules = [replace(CHALLENGER, dataset="imagenet-real")]
        case _:
            handle_event(backend.ports, FakeRegistry([CREATED], id="other"), created("1"))
            finish(backend)
            (before,) = list_created(backend)
            labels = {"registry": "prod", "model": "net", "version": "1"}
            forged = replace(before, id="z" * 21, owner="", request=replace(before.request, labels=labels))
            backend.archive.put(forged, backend.archive.predictions(before.id))
    existing = {analysis.id for analysis in list_created(backend)}

    backend.datasets = ("demo", "imagenet-real")
    handle_event(backend.ports, registry, registry.set_alias("challenger", "2"))

    baselines = {analysis.request.gate_baseline for analysis in list_created(backend)} - {""}
    assert len(baselines) == 1
    assert not baselines & existing


def test_the_baseline_of_a_moved_alias_is_the_version_that_had_it_before(backend: Backend) -> None:
    registry = FakeRegistry([CREATED, CHAMPION])
    handle_event(backend.ports, registry, created("1"))
    handle_event(backend.ports, registry, registry.set_alias("champion", "1"))
    for version in "23":
        handle_event(backend.ports, registry, created(version))

    assert handle_event(backend.ports, registry, registry.set_alias("champion", "3")) is EventResult.QUEUED

    compared = list_created(backend)[-1]
    (baseline,) = [analysis for analysis in list_created(backend) if analysis.id == compared.request.gate_baseline]
    assert (compared.request.labels["version"], baseline.request.labels["version"]) == ("3", "1")
    assert handle_event(backend.ports, registry, registry.set_alias("champion", "3")) is EventResult.REPEATED


def test_a_rollback_of_an_alias_is_compared_with_the_version_that_it_replaces(backend: Backend) -> None:
    registry = FakeRegistry([CHAMPION])
    for version in "123":
        handle_event(backend.ports, registry, registry.set_alias("champion", version))
    third = list_created(backend)[-1]
    assert third.request.labels["version"] == "3"

    assert handle_event(backend.ports, registry, registry.set_alias("champion", "2")) is EventResult.QUEUED

    assert list_created(backend)[-1].request.gate_baseline == third.id


def test_without_a_baseline_there_is_no_gate_but_a_label(backend: Backend) -> None:
    registry = FakeRegistry([CHAMPION])

    assert handle_event(backend.ports, registry, registry.set_alias("champion", "1")) is EventResult.QUEUED

    (analysis,) = list_created(backend)
    assert (analysis.request.gate_policy, analysis.request.gate_baseline) == ("", "")
    assert analysis.request.labels["gate"] == "no-baseline"


def test_an_alias_without_a_version_is_no_baseline(backend: Backend) -> None:
    assert (
        handle_event(backend.ports, FakeRegistry([CHALLENGER]), RegistryEvent(Action.ALIAS, "net", "2", "challenger"))
        is EventResult.QUEUED
    )

    (analysis,) = list_created(backend)
    assert analysis.request.labels["gate"] == "no-baseline"


def test_a_policy_without_bounds_on_changes_has_no_baseline(backend: Backend) -> None:
    registry = FakeRegistry([replace(CHALLENGER, policy=PLAIN)])
    registry.set_alias("champion", "1")

    handle_event(backend.ports, registry, registry.set_alias("challenger", "2"))

    (analysis,) = list_created(backend)
    assert (analysis.request.gate_policy, analysis.request.gate_baseline) == (PLAIN, "")
    assert "gate" not in analysis.request.labels


def test_a_repeated_created_event_is_not_analyzed_again_after_the_alias_moved(backend: Backend) -> None:
    registry = FakeRegistry([replace(CHAMPION, event="created")])
    registry.set_alias("champion", "1")
    handle_event(backend.ports, registry, created("2"))
    registry.set_alias("champion", "3")

    assert handle_event(backend.ports, registry, created("2", delivery="later")) is EventResult.REPEATED

    assert versions(backend).count("2") == 1


@pytest.mark.parametrize("champion_baseline", ["alias:champion", "alias:challenger"])
def test_polls_without_changes_queue_nothing_for_two_watched_aliases(backend: Backend, champion_baseline: str) -> None:
    """Given an analysis that is a baseline, a comparison of its own version must not become the baseline."""
    registry = FakeRegistry([CHALLENGER, replace(CHAMPION, baseline=champion_baseline)])
    registry.all_events = [registry.set_alias("champion", "1"), registry.set_alias("challenger", "2")]
    for _ in range(4):
        poll(backend.ports, registry)
        finish(backend)
    before = len(list_created(backend))

    assert poll(backend.ports, registry) == 0
    assert len(list_created(backend)) == before


def test_an_alias_that_never_moved_is_not_compared_with_a_later_version(backend: Backend) -> None:
    registry = FakeRegistry([CREATED, CHAMPION])
    handle_event(backend.ports, registry, created("1"))
    handle_event(backend.ports, registry, created("2"))

    handle_event(backend.ports, registry, registry.set_alias("champion", "1"))

    compared = list_created(backend)[-1]
    assert compared.request.labels["version"] == "1"
    assert compared.request.labels.get("gate") == "no-baseline"


# repeated deliveries after errors


def limited(ports: Ports, max_open: int) -> Ports:
    limits: Limits = replace(ports.limits, max_open=max_open)
    return replace(ports, limits=limits)


def test_an_event_that_found_a_full_queue_is_queued_once_when_repeated(backend: Backend) -> None:
    registry = FakeRegistry([replace(CREATED, policy=PLAIN), replace(CREATED, policy=OTHER)])

    with pytest.raises(TooBusy):
        handle_event(limited(backend.ports, 1), registry, created("1"))
    assert len(list_created(backend)) == 1

    assert handle_event(backend.ports, registry, created("1")) is EventResult.QUEUED
    assert len(list_created(backend)) == 2


def test_an_event_for_a_model_that_no_worker_offers_is_rejected_with_a_delay(backend: Backend) -> None:
    workers = Workers([WorkerOffer((), ())])  # a worker that has registered, and cannot run models
    no_worker = replace(backend.ports, models=replace(backend.ports.models, workers=lambda: workers))

    with pytest.raises(Unavailable) as caught:
        handle_event(no_worker, FakeRegistry([CREATED]), created("1"))

    assert caught.value.retry_after
    assert caught.value.retry_after <= 30  # seconds
    assert list_created(backend) == []
    assert handle_event(backend.ports, FakeRegistry([CREATED]), created("1")) is EventResult.QUEUED


def test_an_event_for_a_model_that_its_hub_does_not_have_is_refused(backend: Backend) -> None:
    def pin(model: ModelId) -> ModelId:
        raise ModelNotFound("Repository not found.")

    hub = replace(backend.ports, models=replace(backend.ports.models, pin=pin))

    assert handle_event(hub, FakeRegistry([CREATED]), created("1")) is EventResult.REFUSED
    assert list_created(backend) == []


def test_an_event_is_repeated_if_the_registry_is_unavailable_for_its_baseline(backend: Backend) -> None:
    registry = FakeRegistry([CHALLENGER], is_unavailable=True)
    event = registry.set_alias("challenger", "2")

    with pytest.raises(Unavailable):
        handle_event(backend.ports, registry, event)
    with pytest.raises(Unavailable):
        poll(backend.ports, registry)
    assert list_created(backend) == []


def test_an_event_that_needs_a_baseline_is_repeated_while_earlier_analyses_can_be_missing(backend: Backend) -> None:
    registry = FakeRegistry([CREATED, CHALLENGER])
    registry.aliases["net", "champion"] = "1"
    handle_event(backend.ports, registry, created("1"))
    finish(backend)
    event = registry.set_alias("challenger", "2")

    backend.archive.index.mark(is_complete=False)
    with pytest.raises(Unavailable, match="missing"):
        handle_event(backend.ports, registry, event)
    assert handle_event(backend.ports, registry, created("3")) is EventResult.QUEUED, "it needs no baseline"

    backend.archive.index.mark(is_complete=True)
    assert versions(backend) == ["1", "3"]
    assert handle_event(backend.ports, registry, event) is EventResult.QUEUED
    (gated,) = [analysis for analysis in list_created(backend) if analysis.request.gate_policy]
    assert gated.request.gate_baseline == list_created(backend)[0].id


# gates


def test_an_older_gate_is_not_used_while_a_newer_analysis_can_be_missing(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given an archived gate and a newer open analysis, it does not pass while the job store is unavailable."""
    registry = FakeRegistry([replace(CREATED, policy=PLAIN)])
    handle_event(backend.ports, registry, created("1"))
    finish(backend)
    backend.now += 1
    handle_event(backend.ports, registry, tagged("1", "errata.request", "analyze"))
    newest = list_created(backend)[1]
    assert find_newest(backend.ports.stores, "prod", "net", "1") == newest

    def fail() -> None:
        raise Unavailable("Redis is unavailable.")

    with monkeypatch.context() as unavailable:
        unavailable.setattr(backend.store, "snapshots", fail)
        with pytest.raises(Unavailable, match="missing") as caught:
            find_newest(backend.ports.stores, "prod", "net", "1")
    assert caught.value.retry_after is not None

    assert find_newest(backend.ports.stores, "prod", "net", "1") == newest


def test_a_gate_is_not_missing_while_the_index_is_built(backend: Backend) -> None:
    assert find_newest(backend.ports.stores, "prod", "net", "1") is None
    backend.archive.index.mark(is_complete=False)
    with pytest.raises(Unavailable, match="missing"):
        find_newest(backend.ports.stores, "prod", "net", "1")


def test_the_newest_analysis_of_a_version_with_a_gate_is_preferred(backend: Backend) -> None:
    registry = FakeRegistry([CREATED])
    assert find_newest(backend.ports.stores, "prod", "net", "1") is None
    handle_event(backend.ports, registry, created("1"))
    assert find_newest(backend.ports.stores, "prod", "net", "1") == list_created(backend)[0]
    registry.rules = [replace(CREATED, policy=PLAIN)]
    handle_event(backend.ports, registry, created("1"))
    gated = list_created(backend)[1]
    registry.rules = [replace(CREATED, dataset="demo")]
    handle_event(backend.ports, registry, tagged("1", "errata.request", "analyze"))

    assert len(list_created(backend)) == 3
    assert find_newest(backend.ports.stores, "prod", "net", "1") == gated
    assert find_newest(backend.ports.stores, "prod", "net", "2") is None
    assert find_newest(backend.ports.stores, "other", "net", "1") is None


def test_a_promoted_version_is_not_compared_with_itself(backend: Backend) -> None:
    """Given a challenger with a gate that becomes champion, polls do not change its gate."""
    registry = FakeRegistry([CREATED, CHALLENGER])
    handle_event(backend.ports, registry, created("1"))
    registry.set_alias("champion", "1")
    handle_event(backend.ports, registry, created("2"))
    challenged = registry.set_alias("challenger", "2")
    assert handle_event(backend.ports, registry, challenged) is EventResult.QUEUED
    before = len(list_created(backend))

    registry.set_alias("champion", "2")

    assert handle_event(backend.ports, registry, challenged) is EventResult.IGNORED
    assert len(list_created(backend)) == before


def test_a_request_id_reserved_by_a_killed_process_is_released_after_a_delay(backend: Backend) -> None:
    """Given a reserved id whose analysis is never archived, requests wait no longer than judging takes."""
    registry = FakeRegistry([CREATED])
    handle_event(backend.ports, registry, created("1"))
    (first,) = list_created(backend)
    finish(backend)
    backend.archive.delete(first.id)  # reserved, but not archived
    request = first.request
    backend.store.release_ids(request.request_id, first.id)
    backend.store.reserve(request.request_id, first.request_digest, first.id, needs_write_back=True)
    other = replace(CREATED, policy=PLAIN)
    handle_event(backend.ports, FakeRegistry([other]), created("1"))  # the same predictions, by another rule
    finish(backend)

    with pytest.raises(Unavailable):
        handle_event(backend.ports, registry, created("1"))
    backend.now += 301

    assert handle_event(backend.ports, registry, created("1")) is EventResult.QUEUED


def test_a_failed_event_does_not_stop_a_poll(backend: Backend) -> None:
    class PartlyUnavailableRegistry(FakeRegistry):
        def version_of(self, model: str, alias: str) -> str | None:
            if model == "slow":
                raise Unavailable("not now")
            return super().version_of(model, alias)

    registry = PartlyUnavailableRegistry([CREATED, CHALLENGER])
    registry.all_events = [registry.set_alias("challenger", "1", "slow"), created("5")]

    with pytest.raises(Unavailable, match="not now"):
        poll(backend.ports, registry)

    assert versions(backend) == ["5"]


def test_a_damaged_bundle_does_not_stop_a_poll(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given two rules for each version, the versions are analyzed on the data set whose bundle is intact."""
    find = EvidenceRepository.find

    def find_intact(repository: EvidenceRepository, dataset: str, evidence: str = "") -> Bundle:
        if dataset == "damaged":
            raise EvidenceDamaged("the bundle is damaged")
        return find(repository, dataset, evidence)

    monkeypatch.setattr(EvidenceRepository, "find", find_intact)
    registry = FakeRegistry([replace(CREATED, dataset="damaged"), CREATED])
    registry.all_events = [created(str(number)) for number in range(5)]

    with pytest.raises(EvidenceDamaged, match="the bundle is damaged"):
        poll(backend.ports, registry)

    assert sorted(versions(backend)) == list("01234")


def test_a_poll_ends_after_several_failures_in_a_row(backend: Backend) -> None:
    models = []

    class UnavailableRegistry(FakeRegistry):
        def version_of(self, model: str, alias: str) -> str | None:
            models.append(model)
            raise Unavailable("not now")

    registry = UnavailableRegistry([CHALLENGER])
    registry.all_events = [registry.set_alias("challenger", "1", f"net{number}") for number in range(50)]

    with pytest.raises(Unavailable, match="not now"):
        poll(backend.ports, registry)

    assert len(models) == 3


def test_a_repeated_analysis_of_a_promoted_version_does_not_change_its_gate(backend: Backend) -> None:
    registry = FakeRegistry([CHALLENGER])
    handle_event(backend.ports, registry, registry.set_alias("challenger", "1"))
    registry.set_alias("champion", "1")

    assert (
        handle_event(backend.ports, registry, tagged("1", "errata.request", "analyze", "again")) is EventResult.QUEUED
    )

    again = list_created(backend)[-1].request
    assert (again.gate_policy, again.labels.get("gate")) == ("", None)


def test_a_request_to_analyze_again_applies_only_rules_that_describe_the_version_now(backend: Backend) -> None:
    """Given a version without the alias of a rule, its gate is not evaluated for the version."""
    candidate = replace(CREATED, event="alias:candidate", policy=PLAIN)
    registry = FakeRegistry([CREATED, candidate, replace(candidate, event="tag:stage", policy=OTHER)])

    def policies_of_request(delivery: str, version: str = "1") -> list[str]:
        before = len(list_created(backend))
        handle_event(backend.ports, registry, tagged(version, "errata.request", "analyze", delivery))
        return [analysis.request.gate_policy for analysis in list_created(backend)[before:]]

    registry.set_alias("candidate", "2")
    assert policies_of_request("d1") == [""]
    registry.set_alias("candidate", "1")
    assert policies_of_request("d2") == ["", PLAIN]
    registry.tags = ["tag:stage"]
    assert policies_of_request("d3") == ["", PLAIN, OTHER]
    registry.rules = [candidate]
    assert policies_of_request("d4", version="2") == []


def test_a_request_to_a_registry_without_lookups_applies_all_rules(backend: Backend) -> None:
    candidate = replace(CREATED, event="alias:candidate", policy=PLAIN)
    registry = FakeRegistry([CREATED, candidate, replace(candidate, event="tag:stage", policy=OTHER)], has_lookup=False)

    assert handle_event(backend.ports, registry, tagged("1", "errata.request", "analyze")) is EventResult.QUEUED

    assert [analysis.request.gate_policy for analysis in list_created(backend)] == ["", PLAIN, OTHER]


def test_a_request_delivered_again_after_its_baseline_moved_has_no_effect(backend: Backend) -> None:
    registry = FakeRegistry([CHALLENGER])
    registry.set_alias("challenger", "3")
    registry.set_alias("champion", "1")
    request = tagged("3", "errata.request", "analyze")
    assert handle_event(backend.ports, registry, request) is EventResult.QUEUED
    registry.set_alias("champion", "2")

    assert handle_event(backend.ports, registry, request) is EventResult.REPEATED

    assert versions(backend).count("3") == 1


@pytest.mark.parametrize("name", ["a\nb", "a\x00", "1\n", "\ud800", "\x7f"])
def test_names_with_control_characters_are_rejected(backend: Backend, name: str) -> None:
    registry = FakeRegistry([CREATED])
    assert handle_event(backend.ports, registry, created("1", name)) is EventResult.REFUSED
    assert handle_event(backend.ports, registry, created(name)) is EventResult.REFUSED
    assert list_created(backend) == []
