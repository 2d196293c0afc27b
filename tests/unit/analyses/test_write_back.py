"""Write-back: results are written to the registry that requested them, with retries, or dropped."""

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
MAX_TRIES = 1000  # more than the maximum number of attempts
POLICY = """
version: 1
name: ship it
min_samples: 10
bounds: [{name: few failures, measure: count, types: MODEL_FAILURE, max: 20}]
"""  # it passes for all predictions, because there are 20 images
STRICT = POLICY.replace("measure: count, types: MODEL_FAILURE, max: 20", "measure: top1_accuracy, min: 0.9")
COMPARED = POLICY.replace("max: 20", "max_increase: 0")


@dataclass
class Recorder:
    """A fake registry that records results; each of its next calls raises one of `errors`."""

    results: list[WriteBack] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)
    num_calls: int = 0

    def write(self, result: WriteBack) -> None:
        self.num_calls += 1
        if self.errors:
            raise self.errors.pop(0)
        self.results.append(result)


class Down(Recorder):
    """A fake registry that is always unavailable."""

    def write(self, result: WriteBack) -> None:
        self.num_calls += 1
        raise Unavailable("the registry is unavailable")


@pytest.fixture
def writer() -> Recorder:
    return Recorder()


def request_analysis(
    desk: Desk, policy: str = "", baseline: str = "", owner: str = "registry:prod", version: str = "3", **labels: str
) -> str:
    """Submit the analysis of a registry; return its id."""
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


def write_back(desk: Desk, writer: Recorder, after: float = MAX_RETRY_SECONDS) -> dict[WriteBackResult, int]:
    """Advance the clock, and write back what is due."""
    desk.now += after
    return write_back_due_results(desk.ports, {"prod": writer})


def write_back_until(desk: Desk, writer: Recorder, end: Callable[[dict[WriteBackResult, int]], bool]) -> int:
    """Write back what is due until a condition holds; return the number of calls."""
    for count in range(1, MAX_TRIES):
        if end(write_back(desk, writer)):
            return count
    raise AssertionError(f"no such outcome after {MAX_TRIES} calls")


def test_a_result_is_written_once(desk: Desk, writer: Recorder) -> None:
    analysis = request_analysis(desk)
    finish(desk, analysis)

    assert write_back(desk, writer) == {WriteBackResult.WRITTEN: 1}
    assert write_back(desk, writer, 1e6) == {}

    (result,) = writer.results
    assert (result.model, result.version, result.analysis) == ("net", "3", queries.get(desk.ports, analysis))
    assert (result.gate, result.without_baseline, result.decision) == (None, False, None)
    assert result.report.lstrip().lower().startswith("<!doctype html")


@pytest.mark.parametrize(("policy", "decision"), [(POLICY, GateDecision.PASS), (STRICT, GateDecision.FAIL)])
def test_a_result_has_the_decision_of_the_policy_of_its_request(
    desk: Desk, writer: Recorder, policy: str, decision: GateDecision
) -> None:
    """One class for 20 images of different classes is correct for few of them, so that 90 % is not reached."""
    analysis = request_analysis(desk, policy)
    finish(desk, analysis)

    assert write_back(desk, writer) == {WriteBackResult.WRITTEN: 1}

    (result,) = writer.results
    assert result.gate is not None
    assert (result.gate.analysis, result.gate.policy) == (analysis, "ship it")
    assert (result.decision, result.gate.decision) == (decision, decision)


def test_an_open_analysis_is_not_written_back(desk: Desk, writer: Recorder) -> None:
    analysis = request_analysis(desk)
    for _ in range(100):
        assert write_back(desk, writer, 30) == {}
    assert writer.num_calls == 0
    finish(desk, analysis)

    assert write_back(desk, writer, 0) == {WriteBackResult.WRITTEN: 1}  # waiting does not count as a failure


def test_an_analysis_without_a_registry_is_not_written_back(desk: Desk, writer: Recorder) -> None:
    finish(desk, request_analysis(desk, owner=""))

    assert write_back(desk, writer) == {}
    assert writer.num_calls == 0


def test_a_cancelled_analysis_is_dropped(desk: Desk, writer: Recorder) -> None:
    queries.cancel(desk.ports, request_analysis(desk))

    assert write_back(desk, writer) == {WriteBackResult.DROPPED: 1}
    assert write_back(desk, writer, 1e6) == {}
    assert writer.num_calls == 0


def test_a_failure_is_written_with_its_reason(desk: Desk, writer: Recorder) -> None:
    analysis = request_analysis(desk, POLICY)
    fail(desk, analysis)

    assert write_back(desk, writer) == {WriteBackResult.WRITTEN: 1}
    assert write_back(desk, writer, 1e6) == {}

    (result,) = writer.results
    assert (result.analysis.id, result.analysis.state, result.analysis.failure) == (analysis, State.FAILED, OOPS)
    assert (result.model, result.version) == ("net", "3")
    assert (result.report, result.decision) == (
        "",
        GateDecision.ERROR,
    )  # nothing was measured, so the gate does not pass


def test_a_version_that_does_not_exist_is_dropped_and_its_record_deleted(desk: Desk, writer: Recorder) -> None:
    """MLflow's test_webhook sends an event of a version that does not exist, which must not raise an alert."""
    analysis = request_analysis(desk)
    fail(desk, analysis, Failure("MODEL_NOT_FOUND", "no such version"))

    writer.errors = [ModelNotFound("gone")]

    assert write_back(desk, writer) == {WriteBackResult.DROPPED: 1}
    assert write_back(desk, writer, 1e6) == {}

    assert writer.results == []
    with pytest.raises(AnalysisNotFound):
        queries.get(desk.ports, analysis)


@pytest.mark.parametrize(
    "error", [Unavailable("the registry is unavailable"), ValueError("a bug of the registry's client")]
)
def test_a_failed_write_back_is_retried(desk: Desk, writer: Recorder, error: Exception) -> None:
    analysis = request_analysis(desk)
    finish(desk, analysis)
    writer.errors = [error] * 3

    assert write_back(desk, writer) == {WriteBackResult.FAILED: 1}
    assert write_back(desk, writer, FIRST_RETRY / 5) == {}  # not immediately
    assert write_back_until(desk, writer, lambda counts: counts == {WriteBackResult.WRITTEN: 1}) <= 3

    assert writer.num_calls == 4
    assert [result.analysis.id for result in writer.results] == [analysis]
    assert write_back(desk, writer, 1e6) == {}


def test_the_delay_between_attempts_grows_up_to_five_minutes(desk: Desk) -> None:
    down = Down()
    fail(desk, request_analysis(desk))
    attempt_times: list[float] = []
    while len(attempt_times) < 12:
        before = down.num_calls
        write_back(desk, down, 1)
        attempt_times += [desk.now] * (down.num_calls - before)

    pauses = np.diff(attempt_times)
    assert pauses[0] == pytest.approx(FIRST_RETRY, abs=8)
    assert (np.diff(pauses) > -8).all()  # each reading of the desk's clock advances it
    assert pauses[-1] == pytest.approx(MAX_RETRY_SECONDS, abs=8)


def test_a_registry_is_retried_for_a_day_and_given_up_in_the_end(desk: Desk) -> None:
    down = Down()
    fail(desk, request_analysis(desk))  # a failed analysis has no report, which is slow to render
    day = desk.now + 86_400
    while desk.now < day:
        assert write_back(desk, down) == {WriteBackResult.FAILED: 1}

    write_back_until(desk, down, lambda counts: counts == {WriteBackResult.DROPPED: 1})

    assert write_back(desk, down, 1e6) == {}


def test_a_failed_write_back_does_not_delay_another(desk: Desk, writer: Recorder) -> None:
    first, second = request_analysis(desk, version="1"), request_analysis(desk, version="2")
    finish(desk, first)
    finish(desk, second)
    writer.errors = [RuntimeError("a bug")]

    assert write_back(desk, writer) == {WriteBackResult.FAILED: 1, WriteBackResult.WRITTEN: 1}
    assert write_back(desk, writer) == {WriteBackResult.WRITTEN: 1}

    assert sorted(result.version for result in writer.results) == ["1", "2"]


def test_a_version_deleted_from_its_registry_is_dropped(desk: Desk, writer: Recorder) -> None:
    finish(desk, request_analysis(desk))
    writer.errors = [ModelNotFound("gone")]

    assert write_back(desk, writer) == {WriteBackResult.DROPPED: 1}
    assert write_back(desk, writer, 1e6) == {}
    assert writer.num_calls == 1


@pytest.mark.parametrize("writers", [{}, {"prod-2": Recorder()}], ids=["none", "another"])
def test_the_result_of_an_unknown_registry_is_dropped(desk: Desk, writers: Mapping[str, Recorder]) -> None:
    finish(desk, request_analysis(desk))

    assert write_back_due_results(desk.ports, writers) == {WriteBackResult.DROPPED: 1}
    desk.now += 1e6
    assert write_back_due_results(desk.ports, writers) == {}
    assert [writer.num_calls for writer in writers.values()] == [0] * len(writers)


def test_each_registry_gets_its_own_results(desk: Desk) -> None:
    one, two = Recorder(), Recorder()
    first, second = request_analysis(desk, owner="registry:one"), request_analysis(desk, owner="registry:two")
    finish(desk, first)
    finish(desk, second)

    assert write_back_due_results(desk.ports, {"one": one, "two": two}) == {WriteBackResult.WRITTEN: 2}

    assert [result.analysis.id for result in one.results] == [first]
    assert [result.analysis.id for result in two.results] == [second]


def test_a_deleted_analysis_is_dropped_after_some_attempts(desk: Desk, writer: Recorder) -> None:
    analysis = request_analysis(desk)
    finish(desk, analysis)
    queries.delete(desk.ports, analysis)

    attempts = write_back_until(desk, writer, lambda counts: counts == {WriteBackResult.DROPPED: 1})

    assert 1 < attempts < 100
    assert write_back(desk, writer, 1e6) == {}
    assert writer.num_calls == 0


def test_an_analysis_added_to_the_outbox_before_it_is_archived_is_written_later(desk: Desk, writer: Recorder) -> None:
    """Given reused predictions, the outbox gets the analysis one step before the archive."""
    analysis = request_analysis(desk)
    finish(desk, analysis)
    result, predictions = queries.get(desk.ports, analysis), desk.archive.predictions(analysis)
    desk.store.delete_outbox_item(analysis)
    desk.store.reserve("r", "body", "later", needs_write_back=True)
    assert write_back(desk, writer) == {WriteBackResult.FAILED: 1}

    desk.archive.put(replace(result, id="later"), predictions)

    assert write_back(desk, writer) == {WriteBackResult.WRITTEN: 1}
    assert [result.analysis.id for result in writer.results] == ["later"]


def test_a_result_waits_for_its_baseline(desk: Desk, writer: Recorder) -> None:
    baseline = request_analysis(desk, version="2")
    analysis = request_analysis(desk, COMPARED, baseline)
    finish(desk, analysis)
    for _ in range(100):
        assert write_back(desk, writer, 30) == {WriteBackResult.WAITS: 1}
    assert writer.num_calls == 0
    finish(desk, baseline)

    assert write_back(desk, writer) == {WriteBackResult.WRITTEN: 2}

    result = next(result for result in writer.results if result.analysis.id == analysis)
    assert result.gate is not None
    assert (result.gate.baseline, result.decision) == (baseline, GateDecision.PASS)  # the same predictions: no change


def test_a_baseline_that_fails_makes_the_gate_an_error(desk: Desk, writer: Recorder) -> None:
    baseline = request_analysis(desk, version="2")
    analysis = request_analysis(desk, COMPARED, baseline)
    finish(desk, analysis)
    fail(desk, baseline)

    assert write_back(desk, writer) == {WriteBackResult.WRITTEN: 2}

    decisions = {result.version: result.decision for result in writer.results}
    assert decisions == {"2": None, "3": GateDecision.ERROR}


def test_a_baseline_that_was_deleted_leaves_the_gate_undecided(desk: Desk, writer: Recorder) -> None:
    baseline = request_analysis(desk, version="2")
    analysis = request_analysis(desk, COMPARED, baseline)
    for analysis_id in (baseline, analysis):
        finish(desk, analysis_id)
    desk.store.delete_outbox_item(baseline)
    queries.delete(desk.ports, baseline)

    assert write_back(desk, writer) == {WriteBackResult.WRITTEN: 1}

    (result,) = writer.results
    assert (result.gate, result.without_baseline, result.decision) == (None, True, GateDecision.UNDECIDED)


def test_a_result_without_a_baseline_is_undecided_and_never_a_pass(desk: Desk, writer: Recorder) -> None:
    finish(desk, request_analysis(desk, gate="no-baseline"))

    assert write_back(desk, writer) == {WriteBackResult.WRITTEN: 1}

    (result,) = writer.results
    assert (result.gate, result.without_baseline, result.decision) == (None, True, GateDecision.UNDECIDED)


def test_a_retried_analysis_is_written_again(desk: Desk, writer: Recorder) -> None:
    analysis = request_analysis(desk)
    fail(desk, analysis)
    write_back(desk, writer)

    retry(desk.ports, analysis)
    assert write_back(desk, writer) == {}
    finish(desk, analysis)

    assert write_back(desk, writer) == {WriteBackResult.WRITTEN: 1}
    assert [result.analysis.state for result in writer.results] == [State.FAILED, State.SUCCEEDED]


def test_a_process_killed_during_a_write_back_leaves_it_to_the_next(desk: Desk, writer: Recorder) -> None:
    class Killed(BaseException):
        """The process is killed."""

    class KilledRecorder(Recorder):
        def write(self, result: WriteBack) -> None:
            raise Killed

    finish(desk, request_analysis(desk))
    with pytest.raises(Killed):
        write_back(desk, KilledRecorder())

    assert write_back(desk, writer, LEASE_SECONDS / 2) == {}  # the lease has not expired
    assert write_back(desk, writer, LEASE_SECONDS) == {WriteBackResult.WRITTEN: 1}
