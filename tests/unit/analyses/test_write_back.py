"""Write-back: results are written to the registry that requested them, with retries, or dropped."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from threading import Event

import numpy as np
import pytest
from errata.errors import AnalysisNotFound, ModelNotFound, Unavailable
from huggingface_server import TOKEN, HuggingFaceServer, Repository
from structlog.testing import capture_logs

from service.analyses import queries
from service.analyses.judge import judge_job
from service.analyses.lifecycle import cancel, delete, retry
from service.analyses.ports import Workers
from service.analyses.request import new_id
from service.analyses.submit import submit
from service.analyses.upload import JUDGING_SECONDS
from service.analyses.write_back import LEASE_SECONDS, MAX_ATTEMPTS, POLL_SECONDS, WriteBack, WriteBackResult
from service.analyses.write_back_queues import MAX_QUEUED, WriteBackQueues
from service.domain import AnalysisRequest, Failure, GateDecision, ModelInfo, Predictions, State
from service.jobs import transitions
from service.jobs.transitions import OutboxItem, ShardResult, WorkerOffer
from service.predictions.registry_http import RegistryAddress
from service.report.messages.gate import reason_lines
from service.web.hooks.huggingface_registry import HuggingFaceRegistry

from .conftest import MODEL, Backend

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
    backend: Backend,
    policy: str = "",
    baseline: str = "",
    owner: str = "registry:prod",
    version: str = "3",
    **labels: str,
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
    return submit(backend.ports, request, owner).id


def job_of(backend: Backend, analysis: str) -> str:
    snapshot = backend.store.snapshot(analysis)
    assert snapshot is not None
    return snapshot.record.job


def finish(backend: Backend, analysis: str, predicted: int = 7) -> None:
    """Predict one class for every image, and judge."""
    job_id = job_of(backend, analysis)
    job = backend.store.job(job_id)
    assert job is not None
    for shard in range(job.spec.num_shards):
        start, stop = job.spec.bounds(shard)
        fencing_token = backend.store.change_shard(transitions.claim, job_id, shard, "w", 20.0).fencing_token
        predictions = Predictions(np.full(stop - start, predicted, dtype=np.int16))
        backend.store.change_shard(
            transitions.finish,
            job_id,
            shard,
            fencing_token,
            ShardResult(predictions, ModelInfo(MODEL, "net", "0" * 64, "none")),
        )
    judge_job(backend.ports, job_id)


def fail(backend: Backend, analysis: str, failure: Failure = OOPS) -> None:
    job = job_of(backend, analysis)
    assert backend.store.change_shard(
        transitions.fail,
        job,
        0,
        backend.store.change_shard(transitions.claim, job, 0, "w", 20.0).fencing_token,
        failure,
    )


def write_back(backend: Backend, writer: Recorder, after: float = MAX_RETRY_SECONDS) -> dict[WriteBackResult, int]:
    """Advance the clock, and write back what is due."""
    backend.now += after
    return write_back_due_results(backend, {"prod": writer})


def write_back_due_results(backend: Backend, writers: Mapping[str, Recorder]) -> dict[WriteBackResult, int]:
    """Write back what is due, registry by registry; return the number of items by outcome."""
    queues = WriteBackQueues(backend.ports, writers)
    outcomes = queues.dispatch()
    for registry in writers:
        while (outcome := queues.process(registry, timeout=0.001)) is not None:
            outcomes[outcome] += 1
    return dict(outcomes)


def write_back_until(backend: Backend, writer: Recorder, end: Callable[[dict[WriteBackResult, int]], bool]) -> int:
    """Write back what is due until a condition holds; return the number of calls."""
    for count in range(1, MAX_TRIES):
        if end(write_back(backend, writer)):
            return count
    raise AssertionError(f"no such outcome after {MAX_TRIES} calls")


def test_a_result_is_written_once(backend: Backend, writer: Recorder) -> None:
    analysis = request_analysis(backend)
    finish(backend, analysis)

    assert write_back(backend, writer) == {WriteBackResult.WRITTEN: 1}
    assert write_back(backend, writer, 1e6) == {}

    (result,) = writer.results
    assert (result.model, result.version, result.analysis) == ("net", "3", queries.get(backend.ports.stores, analysis))
    assert (result.gate, result.without_baseline, result.decision) == (None, False, None)
    assert result.report.lstrip().lower().startswith("<!doctype html")


@pytest.mark.parametrize(("policy", "decision"), [(POLICY, GateDecision.PASS), (STRICT, GateDecision.FAIL)])
def test_a_result_has_the_decision_of_the_policy_of_its_request(
    backend: Backend, writer: Recorder, policy: str, decision: GateDecision
) -> None:
    """One class for 20 images of different classes is correct for few of them, so that 90 % is not reached."""
    analysis = request_analysis(backend, policy)
    finish(backend, analysis)

    assert write_back(backend, writer) == {WriteBackResult.WRITTEN: 1}

    (result,) = writer.results
    assert result.gate is not None
    assert (result.gate.analysis, result.gate.policy) == (analysis, "ship it")
    assert (result.decision, result.gate.decision) == (decision, decision)


def test_an_open_analysis_is_not_written_back(backend: Backend, writer: Recorder) -> None:
    analysis = request_analysis(backend)
    for _ in range(100):
        assert write_back(backend, writer, 30) == {}
    assert writer.num_calls == 0
    finish(backend, analysis)

    assert write_back(backend, writer, 0) == {WriteBackResult.WRITTEN: 1}  # waiting does not count as a failure


def test_an_analysis_without_a_registry_is_not_written_back(backend: Backend, writer: Recorder) -> None:
    finish(backend, request_analysis(backend, owner=""))

    assert write_back(backend, writer) == {}
    assert writer.num_calls == 0


def test_a_cancelled_analysis_is_dropped(backend: Backend, writer: Recorder) -> None:
    cancel(backend.ports, request_analysis(backend))

    assert write_back(backend, writer) == {WriteBackResult.DROPPED: 1}
    assert write_back(backend, writer, 1e6) == {}
    assert writer.num_calls == 0


def test_a_failure_is_written_with_its_reason(backend: Backend, writer: Recorder) -> None:
    analysis = request_analysis(backend, POLICY)
    fail(backend, analysis)

    assert write_back(backend, writer) == {WriteBackResult.WRITTEN: 1}
    assert write_back(backend, writer, 1e6) == {}

    (result,) = writer.results
    assert (result.analysis.id, result.analysis.state, result.analysis.failure) == (analysis, State.FAILED, OOPS)
    assert (result.model, result.version) == ("net", "3")
    assert (result.report, result.decision) == (
        "",
        GateDecision.ERROR,
    )  # nothing was measured, so the gate does not pass
    assert reason_lines(result.gate, result.without_baseline) == [f"error: The analysis {analysis} failed: it broke"]


def test_a_version_that_does_not_exist_is_dropped_and_its_record_deleted(backend: Backend, writer: Recorder) -> None:
    """MLflow's test_webhook sends an event of a version that does not exist, which must not raise an alert."""
    analysis = request_analysis(backend)
    fail(backend, analysis, Failure("MODEL_NOT_FOUND", "no such version"))

    writer.errors = [ModelNotFound("gone")]

    assert write_back(backend, writer) == {WriteBackResult.DROPPED: 1}
    assert write_back(backend, writer, 1e6) == {}

    assert writer.results == []
    with pytest.raises(AnalysisNotFound):
        queries.get(backend.ports.stores, analysis)


def test_a_model_that_only_the_worker_did_not_find_is_written_as_failed(backend: Backend, writer: Recorder) -> None:
    """A file of the version can be missing. Only the answer of the registry shows that the version does not exist."""
    offer = WorkerOffer((("mlflow:*", "a registry"),), ("demo",))
    ports = replace(backend.ports, models=replace(backend.ports.models, workers=lambda: Workers([offer])))
    request = AnalysisRequest("demo", "mlflow:models://prod/net/3", labels={"model": "net", "version": "3"})
    analysis = submit(ports, request, "registry:prod").id
    fail(backend, analysis, Failure("MODEL_NOT_FOUND", "HTTP 404"))

    assert write_back(backend, writer) == {WriteBackResult.WRITTEN: 1}

    assert [result.analysis.id for result in writer.results] == [analysis]
    assert queries.get(backend.ports.stores, analysis).state is State.FAILED


@pytest.mark.slow
@pytest.mark.parametrize(
    "error", [Unavailable("the registry is unavailable"), ValueError("a bug of the registry's client")]
)
def test_a_failed_write_back_is_retried(backend: Backend, writer: Recorder, error: Exception) -> None:
    analysis = request_analysis(backend)
    finish(backend, analysis)
    writer.errors = [error] * 3

    assert write_back(backend, writer) == {WriteBackResult.FAILED: 1}
    assert write_back(backend, writer, FIRST_RETRY / 5) == {}  # not immediately
    assert write_back_until(backend, writer, lambda counts: counts == {WriteBackResult.WRITTEN: 1}) <= 3

    assert writer.num_calls == 4
    assert [result.analysis.id for result in writer.results] == [analysis]
    assert write_back(backend, writer, 1e6) == {}


def test_the_delay_between_attempts_grows_up_to_five_minutes(backend: Backend) -> None:
    down = Down()
    fail(backend, request_analysis(backend))
    attempt_times: list[float] = []
    while len(attempt_times) < 12:
        before = down.num_calls
        write_back(backend, down, 1)
        attempt_times += [backend.now] * (down.num_calls - before)

    pauses = np.diff(attempt_times)
    assert pauses[0] == pytest.approx(FIRST_RETRY, abs=8)
    assert (np.diff(pauses) > -8).all()  # each reading of the backend's clock advances it
    assert pauses[-1] == pytest.approx(MAX_RETRY_SECONDS, abs=8)


def test_a_write_back_is_retried_for_a_day(backend: Backend) -> None:
    down = Down()
    fail(backend, request_analysis(backend))  # a failed analysis has no report, which is slow to render
    day = backend.now + 86_400
    while backend.now < day:
        assert write_back(backend, down) == {WriteBackResult.FAILED: 1}

    write_back_until(backend, down, lambda counts: counts == {WriteBackResult.DROPPED: 1})

    assert write_back(backend, down, 1e6) == {}


def test_a_failed_write_back_does_not_delay_another(backend: Backend, writer: Recorder) -> None:
    first, second = request_analysis(backend, version="1"), request_analysis(backend, version="2")
    finish(backend, first)
    finish(backend, second)
    writer.errors = [RuntimeError("a bug")]

    assert write_back(backend, writer) == {WriteBackResult.FAILED: 1, WriteBackResult.WRITTEN: 1}
    assert write_back(backend, writer) == {WriteBackResult.WRITTEN: 1}

    assert sorted(result.version for result in writer.results) == ["1", "2"]


def test_a_version_deleted_from_its_registry_is_dropped(backend: Backend, writer: Recorder) -> None:
    finish(backend, request_analysis(backend))
    writer.errors = [ModelNotFound("gone")]

    assert write_back(backend, writer) == {WriteBackResult.DROPPED: 1}
    assert write_back(backend, writer, 1e6) == {}
    assert writer.num_calls == 1


@pytest.mark.parametrize("writers", [{}, {"prod-2": Recorder()}], ids=["none", "another"])
def test_the_result_of_an_unknown_registry_is_dropped(backend: Backend, writers: Mapping[str, Recorder]) -> None:
    finish(backend, request_analysis(backend))

    assert write_back_due_results(backend, writers) == {WriteBackResult.DROPPED: 1}
    backend.now += 1e6
    assert write_back_due_results(backend, writers) == {}
    assert [writer.num_calls for writer in writers.values()] == [0] * len(writers)


def test_each_registry_gets_its_own_results(backend: Backend) -> None:
    one, two = Recorder(), Recorder()
    first, second = request_analysis(backend, owner="registry:one"), request_analysis(backend, owner="registry:two")
    finish(backend, first)
    finish(backend, second)

    assert write_back_due_results(backend, {"one": one, "two": two}) == {WriteBackResult.WRITTEN: 2}

    assert [result.analysis.id for result in one.results] == [first]
    assert [result.analysis.id for result in two.results] == [second]


def test_the_result_of_a_deleted_analysis_is_not_written(backend: Backend, writer: Recorder) -> None:
    analysis = request_analysis(backend)
    finish(backend, analysis)
    delete(backend.ports.stores, analysis)

    assert write_back(backend, writer, 1e6) == {}
    assert writer.num_calls == 0


def test_a_missing_analysis_is_dropped_after_many_attempts(backend: Backend, writer: Recorder) -> None:
    analysis = request_analysis(backend)
    finish(backend, analysis)
    backend.archive.delete(analysis)

    attempts = write_back_until(backend, writer, lambda counts: counts == {WriteBackResult.DROPPED: 1})

    assert attempts == MAX_ATTEMPTS + 1
    assert write_back(backend, writer, 1e6) == {}


def test_a_result_is_written_after_its_archive_was_missing(backend: Backend, writer: Recorder) -> None:
    analysis = request_analysis(backend)
    finish(backend, analysis)
    result, predictions = queries.get(backend.ports.stores, analysis), backend.archive.predictions(analysis)
    backend.archive.delete(analysis)  # as if its volume was not mounted

    assert write_back(backend, writer, 2 * JUDGING_SECONDS) == {WriteBackResult.WAITS: 1}
    backend.archive.put(result, predictions)

    assert write_back(backend, writer) == {WriteBackResult.WRITTEN: 1}


def test_an_analysis_added_to_the_outbox_before_it_is_archived_is_written_later(
    backend: Backend, writer: Recorder
) -> None:
    """Given reused predictions, the outbox gets the analysis one step before the archive."""
    analysis = request_analysis(backend)
    finish(backend, analysis)
    result, predictions = queries.get(backend.ports.stores, analysis), backend.archive.predictions(analysis)
    backend.store.delete_outbox_item(OutboxItem(analysis, 0))
    later = new_id(backend.ports.stores.clock())
    backend.store.reserve("r", "body", later, needs_write_back=True)
    assert write_back(backend, writer, JUDGING_SECONDS / 2) == {WriteBackResult.WAITS: 1}

    backend.archive.put(replace(result, id=later), predictions)

    assert write_back(backend, writer) == {WriteBackResult.WRITTEN: 1}
    assert [result.analysis.id for result in writer.results] == [later]


def test_a_result_waits_for_its_baseline(backend: Backend, writer: Recorder) -> None:
    baseline = request_analysis(backend, version="2")
    analysis = request_analysis(backend, COMPARED, baseline)
    finish(backend, analysis)
    for _ in range(100):
        assert write_back(backend, writer, 30) == {WriteBackResult.WAITS: 1}
    assert writer.num_calls == 0
    finish(backend, baseline)

    assert write_back(backend, writer) == {WriteBackResult.WRITTEN: 2}

    result = next(result for result in writer.results if result.analysis.id == analysis)
    assert result.gate is not None
    assert (result.gate.baseline, result.decision) == (baseline, GateDecision.PASS)  # the same predictions: no change


def test_the_registry_is_the_actor_of_its_gate(backend: Backend, writer: Recorder) -> None:
    finish(backend, request_analysis(backend, POLICY))
    with capture_logs() as logs:
        assert write_back(backend, writer) == {WriteBackResult.WRITTEN: 1}

    assert [log["actor"] for log in logs if log.get("action") == "gate"] == ["registry:prod"]


def test_a_baseline_that_fails_makes_the_gate_an_error(backend: Backend, writer: Recorder) -> None:
    baseline = request_analysis(backend, version="2")
    analysis = request_analysis(backend, COMPARED, baseline)
    finish(backend, analysis)
    fail(backend, baseline)

    assert write_back(backend, writer) == {WriteBackResult.WRITTEN: 2}

    decisions = {result.version: result.decision for result in writer.results}
    assert decisions == {"2": None, "3": GateDecision.ERROR}
    result = next(result for result in writer.results if result.version == "3")
    assert reason_lines(result.gate, result.without_baseline) == [f"error: The baseline {baseline} failed with OOPS."]


def test_a_baseline_that_was_deleted_leaves_the_gate_undecided(backend: Backend, writer: Recorder) -> None:
    baseline = request_analysis(backend, version="2")
    analysis = request_analysis(backend, COMPARED, baseline)
    for analysis_id in (baseline, analysis):
        finish(backend, analysis_id)
    backend.store.delete_outbox_item(OutboxItem(baseline, 0))
    delete(backend.ports.stores, baseline)

    assert write_back(backend, writer) == {WriteBackResult.WRITTEN: 1}

    (result,) = writer.results
    assert (result.gate, result.without_baseline, result.decision) == (None, True, GateDecision.UNDECIDED)


def test_a_result_without_a_baseline_is_undecided_and_never_a_pass(backend: Backend, writer: Recorder) -> None:
    finish(backend, request_analysis(backend, gate="no-baseline"))

    assert write_back(backend, writer) == {WriteBackResult.WRITTEN: 1}

    (result,) = writer.results
    assert (result.gate, result.without_baseline, result.decision) == (None, True, GateDecision.UNDECIDED)


def test_a_retried_analysis_is_written_again(backend: Backend, writer: Recorder) -> None:
    analysis = request_analysis(backend)
    fail(backend, analysis)
    write_back(backend, writer)

    retry(backend.ports, analysis)
    assert write_back(backend, writer) == {}
    finish(backend, analysis)

    assert write_back(backend, writer) == {WriteBackResult.WRITTEN: 1}
    assert [result.analysis.state for result in writer.results] == [State.FAILED, State.SUCCEEDED]


@pytest.mark.parametrize("error", [None, Unavailable("not now"), ModelNotFound("gone")], ids=repr)
def test_an_analysis_retried_while_it_is_written_is_written_again(backend: Backend, error: Exception | None) -> None:
    class RetryingRecorder(Recorder):
        def write(self, result: WriteBack) -> None:
            if not self.num_calls:
                retry(backend.ports, analysis)
                self.errors = [error] if error else []
            super().write(result)

    analysis = request_analysis(backend)
    fail(backend, analysis)
    writer = RetryingRecorder()
    write_back(backend, writer)
    finish(backend, analysis)

    assert write_back(backend, writer, 0) == {WriteBackResult.WRITTEN: 1}
    assert writer.results[-1].analysis.state is State.SUCCEEDED
    assert write_back(backend, writer, 1e6) == {}


def test_a_process_killed_during_a_write_back_leaves_it_to_the_next(backend: Backend, writer: Recorder) -> None:
    class Killed(BaseException):
        """The process is killed."""

    class KilledRecorder(Recorder):
        def write(self, result: WriteBack) -> None:
            raise Killed

    first, second = request_analysis(backend, version="1"), request_analysis(backend, version="2")
    finish(backend, first)
    with pytest.raises(Killed):
        write_back(backend, KilledRecorder())
    finish(backend, second)

    assert write_back(backend, writer, LEASE_SECONDS / 2) == {WriteBackResult.WAITS: 1}  # the leases have not expired
    assert write_back(backend, writer, LEASE_SECONDS) == {WriteBackResult.WRITTEN: 2}


def test_a_slow_registry_delays_only_its_own_results(backend: Backend) -> None:
    released = Event()

    class SlowRecorder(Recorder):
        def write(self, result: WriteBack) -> None:
            assert released.wait(20)
            super().write(result)

    slow, fast = SlowRecorder(), Recorder()
    for owner in ("registry:slow", "registry:fast"):
        finish(backend, request_analysis(backend, owner=owner))
    backend.now += MAX_RETRY_SECONDS
    queues = WriteBackQueues(backend.ports, {"slow": slow, "fast": fast})
    queues.dispatch()
    with ThreadPoolExecutor() as pool:
        slow_write = pool.submit(queues.process, "slow", 10)
        fast_write = pool.submit(queues.process, "fast", 10)

        assert fast_write.result(20) is WriteBackResult.WRITTEN
        assert not slow_write.done()
        released.set()
        assert slow_write.result(20) is WriteBackResult.WRITTEN


class HeldRecorder(Recorder):
    """A fake registry whose writes wait until they are released."""

    def __init__(self) -> None:
        super().__init__()
        self.started, self.released = Event(), Event()

    def write(self, result: WriteBack) -> None:
        self.started.set()
        assert self.released.wait(20)
        super().write(result)


def test_only_one_process_writes_to_a_registry(backend: Backend, writer: Recorder) -> None:
    """Given a process that writes an older result slowly, another process writes the later result after it."""
    held = HeldRecorder()
    older, other, later = (
        request_analysis(backend, owner=owner) for owner in ("registry:prod", "registry:other", "registry:prod")
    )
    first, second = (WriteBackQueues(backend.ports, {"prod": prod, "other": writer}) for prod in (held, writer))
    finish(backend, older)
    first.dispatch()
    with ThreadPoolExecutor() as pool:
        write = pool.submit(first.process, "prod", 10)
        assert held.started.wait(20)
        for analysis in (other, later):
            finish(backend, analysis)
        second.dispatch()

        assert second.process("prod", 0.001) is WriteBackResult.WAITS
        assert second.process("other", 0.001) is WriteBackResult.WRITTEN
        held.released.set()
        assert write.result(20) is WriteBackResult.WRITTEN

    backend.now += POLL_SECONDS
    second.dispatch()
    assert second.process("prod", 0.001) is WriteBackResult.WRITTEN
    assert [result.analysis.id for result in held.results] == [older]
    assert [result.analysis.id for result in writer.results] == [other, later]


def test_two_processes_open_one_pull_request(backend: Backend) -> None:
    """Given a process that has found no pull request yet, another process opens none meanwhile."""
    started, released = Event(), Event()
    with HuggingFaceServer() as hub:
        repository = hub.repositories["team/net"] = Repository()
        repository.commit("main", {"README.md": b"# Net\n"})
        first, second = (
            WriteBackQueues(backend.ports, {"prod": HuggingFaceRegistry(RegistryAddress("prod", hub.url, TOKEN), ())})
            for _ in range(2)
        )
        analyses = [request_analysis(backend, model="team/net", version=digit * 40) for digit in "ab"]

        def hold(verb: str, path: str) -> None:
            started.set()
            assert released.wait(20)

        hub.after = hold
        finish(backend, analyses[0])
        first.dispatch()
        with ThreadPoolExecutor() as pool:
            write = pool.submit(first.process, "prod", 10)
            assert started.wait(20)
            finish(backend, analyses[1])
            second.dispatch()
            assert second.process("prod", 0.001) is WriteBackResult.WAITS
            released.set()
            assert write.result(20) is WriteBackResult.WRITTEN
        backend.now += POLL_SECONDS
        second.dispatch()
        assert second.process("prod", 0.001) is WriteBackResult.WRITTEN

    (pull,) = repository.pulls
    assert [any(id in text for text in repository.comments(pull.number)) for id in analyses] == [True, True]


def test_results_beyond_the_queue_of_a_registry_are_written_later(backend: Backend, writer: Recorder) -> None:
    for version in range(MAX_QUEUED + 2):
        fail(backend, request_analysis(backend, version=str(version)))

    assert write_back(backend, writer) == {WriteBackResult.WRITTEN: MAX_QUEUED}
    assert write_back(backend, writer) == {WriteBackResult.WRITTEN: 2}


def test_an_item_that_waited_too_long_is_left_to_the_next_lease(
    backend: Backend, writer: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.analyses.write_back_queues.MAX_WAITING_SECONDS", -1.0)
    finish(backend, request_analysis(backend))

    assert write_back(backend, writer) == {WriteBackResult.WAITS: 1}
    assert writer.num_calls == 0
    monkeypatch.undo()
    assert write_back(backend, writer, LEASE_SECONDS + 1) == {WriteBackResult.WRITTEN: 1}
