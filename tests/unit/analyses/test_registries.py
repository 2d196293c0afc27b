"""Registries: which events become analyses, once for each meaning, and what they are compared with."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from errata.errors import TooBusy, Unavailable

from service.analyses import queries
from service.analyses.judge import judge_job
from service.analyses.ports import Limits, Ports
from service.analyses.registries import EventResult, newest, poll, take
from service.analyses.write_back import Result
from service.domain import Action, Analysis, ModelInfo, Predictions, RegistryEvent, RegistryRule, State
from service.jobs.transitions import ShardResult

from .conftest import MODEL, Desk

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
class Twin:
    """A registry in memory: versions, and aliases that point to them."""

    rules: Sequence[RegistryRule]
    id: str = "prod"
    aliases: dict[tuple[str, str], str] = field(default_factory=dict)
    held: list[RegistryEvent] = field(default_factory=list)
    away: bool = False

    def model_id(self, event: RegistryEvent) -> str:
        return MODEL

    def version_of(self, model: str, alias: str) -> str | None:
        if self.away:
            raise Unavailable("the registry is away")
        return self.aliases.get((model, alias))

    def events(self) -> Iterator[RegistryEvent]:
        if self.away:
            raise Unavailable("the registry is away")
        return iter(self.held)

    def write(self, result: Result) -> None:
        raise AssertionError("nobody writes here")

    def point(self, alias: str, version: str, model: str = "net", delivery: str = "") -> RegistryEvent:
        """Set an alias, and return the event of it."""
        self.aliases[model, alias] = version
        return RegistryEvent(Action.ALIAS, model, version, alias, delivery=delivery)


def created(version: str, model: str = "net", delivery: str = "d") -> RegistryEvent:
    return RegistryEvent(Action.CREATED, model, version, delivery=delivery)


def tagged(version: str, key: str, value: str = "", delivery: str = "d") -> RegistryEvent:
    return RegistryEvent(Action.TAG, "net", version, key, value, delivery)


def made(desk: Desk) -> list[Analysis]:
    """All analyses, the first one first."""
    return list(queries.list_analyses(desk.ports, queries.AnalysisFilter(), "create_time"))


def versions(desk: Desk) -> list[str]:
    return [item.request.labels["version"] for item in made(desk)]


def finish(desk: Desk) -> None:
    """Predict and judge whatever is open."""
    for job_id, shards in desk.sent:
        job = desk.store.job(job_id)
        if job is None or job.state.is_final:
            continue
        for shard in range(shards):
            start, stop = job.spec.bounds(shard)
            fencing_token = desk.store.claim(job_id, shard, "w", 20.0).fencing_token
            top1 = np.full(stop - start, 7, dtype=np.int16)
            desk.store.finish_shard(
                job_id, shard, fencing_token, ShardResult(Predictions(top1), ModelInfo(MODEL, "n", "0" * 64, "t"))
            )
        judge_job(desk.ports, job_id)


# rules


@pytest.mark.parametrize(
    ("glob", "model", "is_taken"),
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
def test_a_rule_is_for_the_models_that_its_glob_names(desk: Desk, glob: str, model: str, is_taken: bool) -> None:
    registry = Twin([replace(CREATED, model=glob)])

    assert take(desk.ports, registry, created("1", model)) is (EventResult.QUEUED if is_taken else EventResult.IGNORED)

    assert len(made(desk)) == is_taken


@pytest.mark.parametrize(
    ("rule", "event", "is_taken"),
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
def test_a_rule_is_for_its_events_alone(desk: Desk, rule: str, event: RegistryEvent, is_taken: bool) -> None:
    registry = Twin([RegistryRule(rule, dataset="demo")])

    assert take(desk.ports, registry, event) is (EventResult.QUEUED if is_taken else EventResult.IGNORED)


def test_without_a_rule_nothing_is_taken(desk: Desk) -> None:
    assert take(desk.ports, Twin([]), created("1")) is EventResult.IGNORED
    assert take(desk.ports, Twin([]), tagged("1", "errata.request", "analyze")) is EventResult.IGNORED


def test_what_is_queued_says_where_it_comes_from_and_is_owed_to_it(desk: Desk) -> None:
    take(desk.ports, Twin([replace(CREATED, policy=PLAIN)]), created("3"))

    (analysis,) = made(desk)
    assert (analysis.state, analysis.owner) == (State.QUEUED, "registry:prod")
    assert (analysis.request.model, analysis.request.dataset) == (MODEL, "demo")
    assert (analysis.request.gate_policy, analysis.request.gate_baseline) == (PLAIN, "")
    assert analysis.request.labels == {"registry": "prod", "model": "net", "version": "3"}
    finish(desk)
    assert [item.analysis for item in desk.store.owed(9)] == [analysis.id]


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
def test_the_echo_of_errata_s_own_writing_is_ignored_whatever_the_rules(desk: Desk, event: RegistryEvent) -> None:
    rules = [CREATED, *(RegistryRule(f"{event.action}:{name}", dataset="demo") for name in (event.name, "*"))]

    assert take(desk.ports, Twin(rules), event) is EventResult.IGNORED

    assert made(desk) == []


def test_what_can_never_be_analyzed_is_refused_and_does_not_hold_up_another_rule(desk: Desk) -> None:
    nowhere = RegistryRule("created", dataset="nowhere")

    assert take(desk.ports, Twin([nowhere]), created("1")) is EventResult.REFUSED
    assert take(desk.ports, Twin([nowhere, CREATED]), created("1")) is EventResult.QUEUED
    assert len(made(desk)) == 1


# once for each meaning


def test_a_version_that_is_told_of_many_times_and_polled_is_one_analysis_by_one_rule(desk: Desk) -> None:
    registry = Twin([CREATED])
    assert take(desk.ports, registry, created("1", delivery="d1")) is EventResult.QUEUED
    registry.held = [created("1", delivery=""), registry.point("champion", "1")]

    assert take(desk.ports, registry, created("1", delivery="d1")) is EventResult.REPEATED
    assert take(desk.ports, registry, created("1", delivery="d2")) is EventResult.REPEATED
    assert take(desk.ports, registry, registry.point("champion", "1")) is EventResult.IGNORED
    assert poll(desk.ports, registry) == 0
    finish(desk)
    assert take(desk.ports, registry, created("1", delivery="d3")) is EventResult.REPEATED
    assert poll(desk.ports, registry) == 0

    assert len(made(desk)) == 1


def test_an_alias_that_is_told_of_and_polled_is_one_analysis_by_one_rule(desk: Desk) -> None:
    registry = Twin([RegistryRule("alias:champion", dataset="demo", policy=PLAIN)])
    event = registry.point("champion", "1", delivery="d1")
    registry.held = [created("1", delivery=""), replace(event, delivery="")]

    assert take(desk.ports, registry, event) is EventResult.QUEUED
    assert take(desk.ports, registry, replace(event, delivery="d2")) is EventResult.REPEATED
    assert poll(desk.ports, registry) == 0
    finish(desk)
    assert poll(desk.ports, registry) == 0

    (analysis,) = made(desk)
    assert analysis.request.labels["alias"] == "champion"


def test_a_poll_queues_what_no_event_told_of_and_counts_it(desk: Desk) -> None:
    registry = Twin([replace(CREATED, model="net")])
    take(desk.ports, registry, created("1"))
    registry.held = [created(version, delivery="") for version in "321"] + [created("9", "another")]

    assert poll(desk.ports, registry) == 2
    assert poll(desk.ports, registry) == 0

    assert versions(desk) == ["1", "3", "2"]


def test_two_rules_with_other_policies_are_two_analyses(desk: Desk) -> None:
    registry = Twin([replace(CREATED, policy=PLAIN), replace(CREATED, policy=OTHER)])

    assert take(desk.ports, registry, created("1")) is EventResult.QUEUED
    assert take(desk.ports, registry, created("1")) is EventResult.REPEATED

    assert sorted(item.request.gate_policy for item in made(desk)) == sorted([PLAIN, OTHER])
    finish(desk)
    assert len(desk.store.owed(9)) == 2


def test_two_rules_that_mean_the_same_are_one_analysis(desk: Desk) -> None:
    assert take(desk.ports, Twin([CREATED, replace(CREATED, model="n*")]), created("1")) is EventResult.QUEUED

    assert len(made(desk)) == 1


def test_versions_models_and_registries_are_kept_apart(desk: Desk) -> None:
    for registry in (Twin([CREATED]), Twin([CREATED], id="other")):
        for model, version in itertools.product(("net", "net 1"), ("1", "11")):
            assert take(desk.ports, registry, created(version, model)) is EventResult.QUEUED

    assert len(made(desk)) == 8


def test_who_asks_for_it_has_a_version_analyzed_again_once_for_each_delivery(desk: Desk) -> None:
    registry = Twin([CREATED])
    take(desk.ports, registry, created("1"))
    finish(desk)
    again = tagged("1", "errata.request", "analyze", delivery="d1")

    assert take(desk.ports, registry, again) is EventResult.QUEUED
    assert take(desk.ports, registry, again) is EventResult.REPEATED
    assert take(desk.ports, registry, replace(again, delivery="d2")) is EventResult.QUEUED
    assert take(desk.ports, registry, replace(again, delivery="d1")) is EventResult.REPEATED

    states = [(item.state, item.request.fresh) for item in made(desk)]
    assert states == [(State.SUCCEEDED, False), (State.QUEUED, True), (State.QUEUED, True)]


def test_a_version_that_was_computed_before_is_answered_at_once_and_owed(desk: Desk) -> None:
    take(desk.ports, Twin([CREATED], id="one"), created("1"))
    finish(desk)
    desk.store.owed(1e9)

    assert take(desk.ports, Twin([CREATED], id="two"), created("1")) is EventResult.QUEUED

    _, second = made(desk)
    assert (second.state, second.owner, second.cached) == (State.SUCCEEDED, "registry:two", True)
    assert [item.analysis for item in desk.store.owed(9)] == [second.id]


# baselines


def test_a_baseline_is_the_analysis_of_the_version_that_an_alias_points_to(desk: Desk) -> None:
    registry = Twin([CREATED, CHALLENGER])
    for version in "123":
        take(desk.ports, registry, created(version))
    first, second, third = made(desk)
    registry.point("champion", "2")

    assert take(desk.ports, registry, registry.point("challenger", "1")) is EventResult.QUEUED

    assert {first.id, second.id, third.id} < {item.id for item in made(desk)}
    compared = made(desk)[-1]
    assert (compared.request.gate_policy, compared.request.gate_baseline) == (COMPARED, second.id)
    assert "gate" not in compared.request.labels


def test_a_baseline_that_is_not_there_is_made(desk: Desk) -> None:
    registry = Twin([CHALLENGER])
    registry.point("champion", "1")

    assert take(desk.ports, registry, registry.point("challenger", "2")) is EventResult.QUEUED

    baseline, compared = made(desk)
    assert (baseline.request.labels["version"], compared.request.labels["version"]) == ("1", "2")
    assert (baseline.state, baseline.request.gate_policy) == (State.QUEUED, "")
    assert compared.request.gate_baseline == baseline.id
    assert take(desk.ports, registry, registry.point("challenger", "2")) is EventResult.REPEATED
    assert len(made(desk)) == 2


def test_a_baseline_that_was_made_is_what_the_created_rule_would_have_made(desk: Desk) -> None:
    registry = Twin([CREATED, CHALLENGER])
    registry.point("champion", "1")
    take(desk.ports, registry, registry.point("challenger", "2"))

    assert take(desk.ports, registry, created("1")) is EventResult.REPEATED


@pytest.mark.parametrize("other", ["another model", "another registry", "another user's", "another data set's"])
def test_what_is_not_the_registry_s_own_analysis_of_the_model_is_no_baseline(desk: Desk, other: str) -> None:
    registry = Twin([CHALLENGER])
    registry.point("champion", "1")
    match other:
        case "another model":
            take(desk.ports, Twin([CREATED]), created("1", "net-2"))
        case "another registry":
            take(desk.ports, Twin([CREATED], id="prod-2"), created("1"))
        case "another data set's":
            take(desk.ports, Twin([CREATED]), created("1"))
            registry.rules = [replace(CHALLENGER, dataset="imagenet-real")]
        case _:
            take(desk.ports, Twin([CREATED], id="other"), created("1"))
            finish(desk)
            (before,) = made(desk)
            labels = {"registry": "prod", "model": "net", "version": "1"}
            forged = replace(before, id="z" * 21, owner="", request=replace(before.request, labels=labels))
            desk.archive.put(forged, desk.archive.predictions(before.id))
    before_it = {item.id for item in made(desk)}

    ports = replace(desk.ports, has_images=lambda dataset: True)
    take(ports, registry, registry.point("challenger", "2"))

    baselines = {item.request.gate_baseline for item in made(desk)} - {""}
    assert len(baselines) == 1
    assert not baselines & before_it


def test_an_alias_that_was_just_moved_means_the_version_that_had_it_before(desk: Desk) -> None:
    registry = Twin([CREATED, CHAMPION])
    take(desk.ports, registry, created("1"))
    take(desk.ports, registry, registry.point("champion", "1"))
    for version in "23":
        take(desk.ports, registry, created(version))

    assert take(desk.ports, registry, registry.point("champion", "3")) is EventResult.QUEUED

    compared = made(desk)[-1]
    (had_it,) = [item for item in made(desk) if item.id == compared.request.gate_baseline]
    assert (compared.request.labels["version"], had_it.request.labels["version"]) == ("3", "1")
    assert take(desk.ports, registry, registry.point("champion", "3")) is EventResult.REPEATED


def test_an_alias_that_goes_back_is_compared_with_the_version_that_it_left(desk: Desk) -> None:
    registry = Twin([CHAMPION])
    for version in "123":
        take(desk.ports, registry, registry.point("champion", version))
    third = made(desk)[-1]
    assert third.request.labels["version"] == "3"

    assert take(desk.ports, registry, registry.point("champion", "2")) is EventResult.QUEUED

    assert made(desk)[-1].request.gate_baseline == third.id


def test_without_anything_to_compare_with_there_is_no_gate_and_a_label_says_so(desk: Desk) -> None:
    registry = Twin([CHAMPION])

    assert take(desk.ports, registry, registry.point("champion", "1")) is EventResult.QUEUED

    (analysis,) = made(desk)
    assert (analysis.request.gate_policy, analysis.request.gate_baseline) == ("", "")
    assert analysis.request.labels["gate"] == "no-baseline"


def test_an_alias_that_nothing_has_is_nothing_to_compare_with(desk: Desk) -> None:
    assert (
        take(desk.ports, Twin([CHALLENGER]), RegistryEvent(Action.ALIAS, "net", "2", "challenger"))
        is EventResult.QUEUED
    )

    (analysis,) = made(desk)
    assert analysis.request.labels["gate"] == "no-baseline"


def test_a_policy_that_bounds_no_change_has_no_baseline(desk: Desk) -> None:
    registry = Twin([replace(CHALLENGER, policy=PLAIN)])
    registry.point("champion", "1")

    take(desk.ports, registry, registry.point("challenger", "2"))

    (analysis,) = made(desk)
    assert (analysis.request.gate_policy, analysis.request.gate_baseline) == (PLAIN, "")
    assert "gate" not in analysis.request.labels


def test_a_created_version_that_is_told_of_again_after_the_alias_moved_is_not_analyzed_again(desk: Desk) -> None:
    registry = Twin([replace(CHAMPION, event="created")])
    registry.point("champion", "1")
    take(desk.ports, registry, created("2"))
    registry.point("champion", "3")

    assert take(desk.ports, registry, created("2", delivery="later")) is EventResult.REPEATED

    assert sum(item.request.labels["version"] == "2" for item in made(desk)) == 1


@pytest.mark.parametrize("champion_s_baseline", ["alias:champion", "alias:challenger"])
def test_polls_of_what_has_not_changed_end_though_two_aliases_are_watched(desk: Desk, champion_s_baseline: str) -> None:
    """Given an analysis that is a baseline, comparing its own version anew must not make the baseline another."""
    registry = Twin([CHALLENGER, replace(CHAMPION, baseline=champion_s_baseline)])
    registry.held = [registry.point("champion", "1"), registry.point("challenger", "2")]
    for _ in range(4):
        poll(desk.ports, registry)
        finish(desk)
    before = len(made(desk))

    assert poll(desk.ports, registry) == 0
    assert len(made(desk)) == before


def test_an_alias_that_never_moved_is_not_compared_with_a_version_that_came_later(desk: Desk) -> None:
    registry = Twin([CREATED, CHAMPION])
    take(desk.ports, registry, created("1"))
    take(desk.ports, registry, created("2"))

    take(desk.ports, registry, registry.point("champion", "1"))

    compared = made(desk)[-1]
    assert compared.request.labels["version"] == "1"
    assert compared.request.labels.get("gate") == "no-baseline"


# what may come again


def limited(ports: Ports, max_open: int) -> Ports:
    limits: Limits = replace(ports.limits, max_open=max_open)
    return replace(ports, limits=limits)


def test_a_full_queue_is_told_and_what_comes_again_is_queued_once(desk: Desk) -> None:
    registry = Twin([replace(CREATED, policy=PLAIN), replace(CREATED, policy=OTHER)])

    with pytest.raises(TooBusy):
        take(limited(desk.ports, 1), registry, created("1"))
    assert len(made(desk)) == 1

    assert take(desk.ports, registry, created("1")) is EventResult.QUEUED
    assert len(made(desk)) == 2


def test_while_nobody_loads_the_model_it_is_asked_to_come_again(desk: Desk) -> None:
    nobody = replace(desk.ports, models=list)

    with pytest.raises(Unavailable) as caught:
        take(nobody, Twin([CREATED]), created("1"))

    assert caught.value.retry_after
    assert caught.value.retry_after <= 30  # what a registry may be told
    assert made(desk) == []
    assert take(desk.ports, Twin([CREATED]), created("1")) is EventResult.QUEUED


def test_a_registry_that_can_not_be_asked_for_the_baseline_is_asked_again_later(desk: Desk) -> None:
    registry = Twin([CHALLENGER], away=True)
    event = registry.point("challenger", "2")

    with pytest.raises(Unavailable):
        take(desk.ports, registry, event)
    with pytest.raises(Unavailable):
        poll(desk.ports, registry)
    assert made(desk) == []


# what a gate is asked about


def test_the_newest_analysis_of_a_version_is_the_last_with_a_gate_or_else_the_last(desk: Desk) -> None:
    registry = Twin([CREATED])
    assert newest(desk.ports, "prod", "net", "1") is None
    take(desk.ports, registry, created("1"))
    assert newest(desk.ports, "prod", "net", "1") == made(desk)[0]
    registry.rules = [replace(CREATED, policy=PLAIN)]
    take(desk.ports, registry, created("1"))
    gated = made(desk)[1]
    registry.rules = [replace(CREATED, dataset="demo")]
    take(desk.ports, registry, tagged("1", "errata.request", "analyze"))

    assert len(made(desk)) == 3
    assert newest(desk.ports, "prod", "net", "1") == gated
    assert newest(desk.ports, "prod", "net", "2") is None
    assert newest(desk.ports, "other", "net", "1") is None


def test_a_version_that_was_promoted_is_not_compared_with_itself(desk: Desk) -> None:
    """Given a challenger that has its gate, when it becomes champion, then polls leave it as it is."""
    registry = Twin([CREATED, CHALLENGER])
    take(desk.ports, registry, created("1"))
    registry.point("champion", "1")
    take(desk.ports, registry, created("2"))
    challenged = registry.point("challenger", "2")
    assert take(desk.ports, registry, challenged) is EventResult.QUEUED
    before = len(made(desk))

    registry.point("champion", "2")

    assert take(desk.ports, registry, challenged) is EventResult.IGNORED
    assert len(made(desk)) == before


def test_what_was_reserved_by_somebody_who_died_is_made_after_a_while(desk: Desk) -> None:
    """Given an id that was reserved and never archived, then it holds nobody up for longer than judging takes."""
    registry = Twin([CREATED])
    take(desk.ports, registry, created("1"))
    (first,) = made(desk)
    finish(desk)
    desk.archive.delete(first.id)  # reserved, and nothing came of it
    request = first.request
    desk.store.release(request.request_id)
    desk.store.reserve(request.request_id, first.request_digest, first.id)
    other = replace(CREATED, policy=PLAIN)
    take(desk.ports, Twin([other]), created("1"))  # the same predictions, by another rule
    finish(desk)

    with pytest.raises(Unavailable):
        take(desk.ports, registry, created("1"))
    desk.now += 301

    assert take(desk.ports, registry, created("1")) is EventResult.QUEUED


def test_one_event_that_can_not_be_taken_does_not_keep_back_the_rest_of_a_poll(desk: Desk) -> None:
    class Stubborn(Twin):
        def version_of(self, model: str, alias: str) -> str | None:
            if model == "slow":
                raise Unavailable("not now")
            return super().version_of(model, alias)

    registry = Stubborn([CREATED, CHALLENGER])
    registry.held = [registry.point("challenger", "1", "slow"), created("5")]

    with pytest.raises(Unavailable, match="not now"):
        poll(desk.ports, registry)

    assert versions(desk) == ["5"]


def test_a_poll_ends_where_nothing_can_be_taken(desk: Desk) -> None:
    asked = []

    class Away(Twin):
        def version_of(self, model: str, alias: str) -> str | None:
            asked.append(model)
            raise Unavailable("not now")

    registry = Away([CHALLENGER])
    registry.held = [registry.point("challenger", "1", f"net{number}") for number in range(50)]

    with pytest.raises(Unavailable, match="not now"):
        poll(desk.ports, registry)

    assert len(asked) == 3


def test_who_asks_again_for_what_was_promoted_leaves_its_gate_as_it_is(desk: Desk) -> None:
    registry = Twin([CHALLENGER])
    take(desk.ports, registry, registry.point("challenger", "1"))
    registry.point("champion", "1")

    assert take(desk.ports, registry, tagged("1", "errata.request", "analyze", "again")) is EventResult.QUEUED

    again = made(desk)[-1].request
    assert (again.gate_policy, again.labels.get("gate")) == ("", None)


@pytest.mark.parametrize("name", ["a\nb", "a\x00", "1\n", "\ud800", "\x7f"])
def test_names_that_are_no_names_are_refused(desk: Desk, name: str) -> None:
    registry = Twin([CREATED])
    assert take(desk.ports, registry, created("1", name)) is EventResult.REFUSED
    assert take(desk.ports, registry, created(name)) is EventResult.REFUSED
    assert made(desk) == []
