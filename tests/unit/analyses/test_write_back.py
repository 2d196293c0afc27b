"""Write back: what a registry asked for is told to it once it has ended, again until it is, or dropped."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from errata.errors import AnalysisNotFound, ModelNotFound, Unavailable

from service.analyses import queries
from service.analyses.judge import judge_job
from service.analyses.retry import retry
from service.analyses.submit import submit
from service.analyses.write_back import LEASE_SECONDS, WriteBack, WriteBackResult, write_back_due_results
from service.domain import AnalysisRequest, Failure, GateDecision, ModelInfo, Predictions, State
from service.jobs.transitions import ShardResult

from .conftest import MODEL, Desk

OOPS = Failure("OOPS", "it broke")
FIRST_RETRY, MAX_RETRY_SECONDS = 5.0, 300.0  # seconds between two tries, at least and at most
MOST_TRIES = 1000  # more than anything is tried
POLICY = """
version: 1
name: ship it
min_samples: 10
bounds: [{name: few failures, measure: count, types: MODEL_FAILURE, max: 20}]
"""  # of 20 images no more than 20 can fail: it passes whatever is predicted
STRICT = POLICY.replace("measure: count, types: MODEL_FAILURE, max: 20", "measure: top1_accuracy, min: 0.9")
COMPARED = POLICY.replace("max: 20", "max_increase: 0")


@dataclass
class Recorder:
    """A registry that remembers what it was told; its next calls raise the given errors, one each."""

    results: list[WriteBack] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)
    asked: int = 0

    def write(self, result: WriteBack) -> None:
        self.asked += 1
        if self.errors:
            raise self.errors.pop(0)
        self.results.append(result)


class Down(Recorder):
    """A registry that is always away."""

    def write(self, result: WriteBack) -> None:
        self.asked += 1
        raise Unavailable("the registry is away")


@pytest.fixture
def writer() -> Recorder:
    return Recorder()


def asked(
    desk: Desk, policy: str = "", baseline: str = "", owner: str = "registry:prod", version: str = "3", **labels: str
) -> str:
    """An analysis that a registry asked for: its id."""
    request = AnalysisRequest(
        "demo",
        MODEL,
        labels={"registry": "prod", "model": "net", "version": version, **labels},
        fresh=True,
        gate_policy=policy,
        gate_baseline=baseline,
    )
    return submit(desk.ports, request, owner).id


def job_of(desk: Desk, analysis: str) -> str:
    snapshot = desk.store.snapshot(analysis)
    assert snapshot is not None
    return snapshot.record.job


def finish(desk: Desk, analysis: str, predicted: int = 7) -> None:
    """Predict one class for every image, and judge."""
    job_id = job_of(desk, analysis)
    job = desk.store.job(job_id)
    assert job is not None
    for shard in range(job.spec.num_shards):
        start, stop = job.spec.bounds(shard)
        fencing_token = desk.store.claim_shard(job_id, shard, "w", 20.0).fencing_token
        predictions = Predictions(np.full(stop - start, predicted, dtype=np.int16))
        desk.store.finish_shard(
            job_id, shard, fencing_token, ShardResult(predictions, ModelInfo(MODEL, "net", "0" * 64, "none"))
        )
    judge_job(desk.ports, job_id)


def fail(desk: Desk, analysis: str, failure: Failure = OOPS) -> None:
    job = job_of(desk, analysis)
    assert desk.store.fail_job(job, 0, desk.store.claim_shard(job, 0, "w", 20.0).fencing_token, failure)


def tell(desk: Desk, writer: Recorder, after: float = MAX_RETRY_SECONDS) -> dict[WriteBackResult, int]:
    """Let time pass, and tell what is due."""
    desk.now += after
    return write_back_due_results(desk.ports, {"prod": writer})


def tell_until(desk: Desk, writer: Recorder, end: Callable[[dict[WriteBackResult, int]], bool]) -> int:
    """Tell what is due until something comes of it: how often that took."""
    for times in range(1, MOST_TRIES):
        if end(tell(desk, writer)):
            return times
    raise AssertionError(f"still not after {MOST_TRIES} times")


def test_a_result_is_told_once(desk: Desk, writer: Recorder) -> None:
    analysis = asked(desk)
    finish(desk, analysis)

    assert tell(desk, writer) == {WriteBackResult.WRITTEN: 1}
    assert tell(desk, writer, 1e6) == {}

    (result,) = writer.results
    assert (result.model, result.version, result.analysis) == ("net", "3", queries.get(desk.ports, analysis))
    assert (result.gate, result.without_baseline, result.decision) == (None, False, None)
    assert result.report.lstrip().lower().startswith("<!doctype html")


@pytest.mark.parametrize(("policy", "decision"), [(POLICY, GateDecision.PASS), (STRICT, GateDecision.FAIL)])
def test_a_result_says_what_the_policy_of_its_request_decides(
    desk: Desk, writer: Recorder, policy: str, decision: GateDecision
) -> None:
    """One class for 20 photographs of different things is right for few: 90 % is not reached."""
    analysis = asked(desk, policy)
    finish(desk, analysis)

    assert tell(desk, writer) == {WriteBackResult.WRITTEN: 1}

    (result,) = writer.results
    assert result.gate is not None
    assert (result.gate.analysis, result.gate.policy) == (analysis, "ship it")
    assert (result.decision, result.gate.decision) == (decision, decision)


def test_nothing_is_told_of_what_is_open(desk: Desk, writer: Recorder) -> None:
    analysis = asked(desk)
    for _ in range(100):
        assert tell(desk, writer, 30) == {}
    assert writer.asked == 0
    finish(desk, analysis)

    assert tell(desk, writer, 0) == {WriteBackResult.WRITTEN: 1}  # waiting was no failure


def test_what_nobody_owes_is_not_told(desk: Desk, writer: Recorder) -> None:
    finish(desk, asked(desk, owner=""))

    assert tell(desk, writer) == {}
    assert writer.asked == 0


def test_what_was_cancelled_is_dropped(desk: Desk, writer: Recorder) -> None:
    queries.cancel(desk.ports, asked(desk))

    assert tell(desk, writer) == {WriteBackResult.DROPPED: 1}
    assert tell(desk, writer, 1e6) == {}
    assert writer.asked == 0


def test_a_failure_is_told_with_its_reason(desk: Desk, writer: Recorder) -> None:
    analysis = asked(desk, POLICY)
    fail(desk, analysis)

    assert tell(desk, writer) == {WriteBackResult.WRITTEN: 1}
    assert tell(desk, writer, 1e6) == {}

    (result,) = writer.results
    assert (result.analysis.id, result.analysis.state, result.analysis.failure) == (analysis, State.FAILED, OOPS)
    assert (result.model, result.version) == ("net", "3")
    assert (result.report, result.decision) == ("", GateDecision.ERROR)  # nothing was measured: never a pass


def test_a_version_that_is_not_there_is_dropped_and_forgotten(desk: Desk, writer: Recorder) -> None:
    """MLflow's test_webhook tells of a version that doesn't exist: no alert, and nothing is kept of it."""
    analysis = asked(desk)
    fail(desk, analysis, Failure("MODEL_NOT_FOUND", "no such version"))

    writer.errors = [ModelNotFound("gone")]

    assert tell(desk, writer) == {WriteBackResult.DROPPED: 1}
    assert tell(desk, writer, 1e6) == {}

    assert writer.results == []
    with pytest.raises(AnalysisNotFound):
        queries.get(desk.ports, analysis)


@pytest.mark.parametrize("error", [Unavailable("the registry is away"), ValueError("a bug of the registry's client")])
def test_what_can_not_be_told_now_is_told_later(desk: Desk, writer: Recorder, error: Exception) -> None:
    analysis = asked(desk)
    finish(desk, analysis)
    writer.errors = [error] * 3

    assert tell(desk, writer) == {WriteBackResult.FAILED: 1}
    assert tell(desk, writer, FIRST_RETRY / 5) == {}  # not at once
    assert tell_until(desk, writer, lambda told: told == {WriteBackResult.WRITTEN: 1}) <= 3

    assert writer.asked == 4
    assert [result.analysis.id for result in writer.results] == [analysis]
    assert tell(desk, writer, 1e6) == {}


def test_tries_are_further_and_further_apart_but_never_more_than_five_minutes(desk: Desk) -> None:
    down = Down()
    fail(desk, asked(desk))
    tried: list[float] = []
    while len(tried) < 12:
        before = down.asked
        tell(desk, down, 1)
        tried += [desk.now] * (down.asked - before)

    pauses = np.diff(tried)
    assert pauses[0] == pytest.approx(FIRST_RETRY, abs=8)
    assert (np.diff(pauses) > -8).all()  # the desk's clock moves by itself as it is asked
    assert pauses[-1] == pytest.approx(MAX_RETRY_SECONDS, abs=8)


def test_a_registry_that_is_away_for_a_day_is_told_and_one_that_never_comes_back_is_given_up(desk: Desk) -> None:
    down = Down()
    fail(desk, asked(desk))  # without a report, which takes long to make
    day = desk.now + 86_400
    while desk.now < day:
        assert tell(desk, down) == {WriteBackResult.FAILED: 1}

    tell_until(desk, down, lambda told: told == {WriteBackResult.DROPPED: 1})

    assert tell(desk, down, 1e6) == {}


def test_one_that_can_not_be_told_does_not_hold_up_another(desk: Desk, writer: Recorder) -> None:
    first, second = asked(desk, version="1"), asked(desk, version="2")
    finish(desk, first)
    finish(desk, second)
    writer.errors = [RuntimeError("a bug")]

    assert tell(desk, writer) == {WriteBackResult.FAILED: 1, WriteBackResult.WRITTEN: 1}
    assert tell(desk, writer) == {WriteBackResult.WRITTEN: 1}

    assert sorted(result.version for result in writer.results) == ["1", "2"]


def test_a_version_that_is_gone_from_its_registry_is_dropped(desk: Desk, writer: Recorder) -> None:
    finish(desk, asked(desk))
    writer.errors = [ModelNotFound("gone")]

    assert tell(desk, writer) == {WriteBackResult.DROPPED: 1}
    assert tell(desk, writer, 1e6) == {}
    assert writer.asked == 1


@pytest.mark.parametrize("writers", [{}, {"prod-2": Recorder()}], ids=["none", "another"])
def test_a_registry_that_is_not_configured_any_more_is_dropped(desk: Desk, writers: Mapping[str, Recorder]) -> None:
    finish(desk, asked(desk))

    assert write_back_due_results(desk.ports, writers) == {WriteBackResult.DROPPED: 1}
    desk.now += 1e6
    assert write_back_due_results(desk.ports, writers) == {}
    assert [item.asked for item in writers.values()] == [0] * len(writers)


def test_each_registry_is_told_its_own(desk: Desk) -> None:
    one, two = Recorder(), Recorder()
    first, second = asked(desk, owner="registry:one"), asked(desk, owner="registry:two")
    finish(desk, first)
    finish(desk, second)

    assert write_back_due_results(desk.ports, {"one": one, "two": two}) == {WriteBackResult.WRITTEN: 2}

    assert [result.analysis.id for result in one.results] == [first]
    assert [result.analysis.id for result in two.results] == [second]


def test_what_was_deleted_is_dropped_after_some_tries(desk: Desk, writer: Recorder) -> None:
    analysis = asked(desk)
    finish(desk, analysis)
    queries.delete(desk.ports, analysis)

    times = tell_until(desk, writer, lambda told: told == {WriteBackResult.DROPPED: 1})

    assert 1 < times < 100
    assert tell(desk, writer, 1e6) == {}
    assert writer.asked == 0


def test_what_is_owed_before_it_is_archived_is_told_once_it_is(desk: Desk, writer: Recorder) -> None:
    """Given an answer from the archive, the debt is noted one step before the analysis is written."""
    analysis = asked(desk)
    finish(desk, analysis)
    result, predictions = queries.get(desk.ports, analysis), desk.archive.predictions(analysis)
    desk.store.delete_outbox_item(analysis)
    desk.store.reserve("r", "body", "later", needs_write_back=True)
    assert tell(desk, writer) == {WriteBackResult.FAILED: 1}

    desk.archive.put(replace(result, id="later"), predictions)

    assert tell(desk, writer) == {WriteBackResult.WRITTEN: 1}
    assert [result.analysis.id for result in writer.results] == ["later"]


def test_a_result_waits_for_its_baseline(desk: Desk, writer: Recorder) -> None:
    baseline = asked(desk, version="2")
    analysis = asked(desk, COMPARED, baseline)
    finish(desk, analysis)
    for _ in range(100):
        assert tell(desk, writer, 30) == {WriteBackResult.WAITS: 1}
    assert writer.asked == 0
    finish(desk, baseline)

    assert tell(desk, writer) == {WriteBackResult.WRITTEN: 2}

    result = next(item for item in writer.results if item.analysis.id == analysis)
    assert result.gate is not None
    assert (result.gate.baseline, result.decision) == (baseline, GateDecision.PASS)  # the same predictions: no change


def test_a_baseline_that_fails_makes_the_gate_an_error(desk: Desk, writer: Recorder) -> None:
    baseline = asked(desk, version="2")
    analysis = asked(desk, COMPARED, baseline)
    finish(desk, analysis)
    fail(desk, baseline)

    assert tell(desk, writer) == {WriteBackResult.WRITTEN: 2}

    decisions = {result.version: result.decision for result in writer.results}
    assert decisions == {"2": None, "3": GateDecision.ERROR}


def test_a_baseline_that_was_deleted_leaves_the_gate_undecided(desk: Desk, writer: Recorder) -> None:
    baseline = asked(desk, version="2")
    analysis = asked(desk, COMPARED, baseline)
    for item in (baseline, analysis):
        finish(desk, item)
    desk.store.delete_outbox_item(baseline)
    queries.delete(desk.ports, baseline)

    assert tell(desk, writer) == {WriteBackResult.WRITTEN: 1}

    (result,) = writer.results
    assert (result.gate, result.without_baseline, result.decision) == (None, True, GateDecision.UNDECIDED)


def test_a_result_without_a_baseline_is_undecided_and_never_a_pass(desk: Desk, writer: Recorder) -> None:
    finish(desk, asked(desk, gate="no-baseline"))

    assert tell(desk, writer) == {WriteBackResult.WRITTEN: 1}

    (result,) = writer.results
    assert (result.gate, result.without_baseline, result.decision) == (None, True, GateDecision.UNDECIDED)


def test_what_is_queued_again_after_a_failure_is_told_again(desk: Desk, writer: Recorder) -> None:
    analysis = asked(desk)
    fail(desk, analysis)
    tell(desk, writer)

    retry(desk.ports, analysis)
    assert tell(desk, writer) == {}
    finish(desk, analysis)

    assert tell(desk, writer) == {WriteBackResult.WRITTEN: 1}
    assert [result.analysis.state for result in writer.results] == [State.FAILED, State.SUCCEEDED]


def test_who_ends_while_he_tells_leaves_it_to_be_told_again(desk: Desk, writer: Recorder) -> None:
    class Killed(BaseException):
        """The process ends."""

    class Last(Recorder):
        def write(self, result: WriteBack) -> None:
            raise Killed

    finish(desk, asked(desk))
    with pytest.raises(Killed):
        tell(desk, Last())

    assert tell(desk, writer, LEASE_SECONDS / 2) == {}  # it may be told still
    assert tell(desk, writer, LEASE_SECONDS) == {WriteBackResult.WRITTEN: 1}
