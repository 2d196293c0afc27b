"""State transitions of jobs and shards: shards cover the images, and only legal transitions happen."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from errata.errors import ImagesMissing, InvalidModelId, ModelNotFound
from example_counts import max_examples
from hypothesis import given
from hypothesis import strategies as st

from service.domain import Failure, ModelInfo, Predictions, State
from service.jobs import transitions
from service.jobs.transitions import (
    CRASHES,
    REFUSED,
    Claim,
    ClaimOutcome,
    Job,
    JobSpec,
    JobStatus,
    Shard,
    ShardResult,
    Step,
)

NOW = 1_000.0
LEASE_SECONDS, HEARTBEAT = 20.0, 30.0
OOPS = Failure("OOPS", "it broke")
RESULT = ShardResult(Predictions(np.arange(4, dtype=np.int16)), ModelInfo("demo:m", "net", "0" * 64, "t"))
RUNNING = Shard(State.RUNNING, fencing_token=4, lease=NOW + 5, worker="w1", done=2)


def spec(total: int = 10, shard_size: int = 4) -> JobSpec:
    return JobSpec("demo:m", "demo", "e", "i", total, shard_size)


def job(*shards: Shard, state: State = State.RUNNING) -> Job:
    return Job(**vars(status(state)), spec=spec(len(shards) * 4, 4), shards=shards)


@given(total=st.integers(1, 5000), shard_size=st.integers(1, 600))
@max_examples(200)
def test_shards_cover_every_image_once(total: int, shard_size: int) -> None:
    job_spec = spec(total, shard_size)

    images = [image for shard in range(job_spec.num_shards) for image in range(*job_spec.bounds(shard))]

    assert images == list(range(total))
    assert all(1 <= stop - start <= shard_size for start, stop in map(job_spec.bounds, range(job_spec.num_shards)))


def test_a_job_counts_the_images_that_are_done() -> None:
    assert job(Shard(State.SUCCEEDED, done=4), replace(RUNNING, done=3), Shard()).done == 7


def status(state: State = State.RUNNING, left: int = 2, **fields: Any) -> JobStatus:
    return JobStatus("j", 2, left, "key", created=NOW - 100, state=state, **fields)


def claim(job: JobStatus, shard: Shard, now: float = NOW) -> Step[Claim]:
    return transitions.claim(job, shard, now, "w2", LEASE_SECONDS)


def test_a_queued_shard_is_claimed() -> None:
    step = claim(status(State.QUEUED), Shard(sent=NOW - 9))

    assert step.reply == Claim(ClaimOutcome.CLAIMED, fencing_token=1, waiting_since=NOW - 9)
    assert step.shard == Shard(
        State.RUNNING, fencing_token=1, lease=NOW + LEASE_SECONDS, worker="w2", claimed_at=NOW, sent=NOW - 9
    )
    assert (step.job.state, step.job.started) == (State.RUNNING, NOW)
    assert step.counter == ""


def test_a_later_claim_keeps_the_start_of_the_job() -> None:
    assert claim(status(started=NOW - 50), Shard()).job.started == NOW - 50


def test_a_live_worker_keeps_its_shard() -> None:
    assert claim(status(), RUNNING) == Step(Claim(ClaimOutcome.WAIT, delay=5.0), status(), RUNNING)


def test_a_shard_in_backoff_is_claimed_after_its_delay() -> None:
    before = Shard(fencing_token=2, retries=1, retry_at=NOW + 3)

    assert claim(status(), before) == Step(Claim(ClaimOutcome.WAIT, delay=3.0), status(), before)
    assert claim(status(), before, NOW + 3).reply == Claim(ClaimOutcome.CLAIMED, 3, waiting_since=status().created)


def test_a_shard_that_the_worker_cannot_run_is_postponed() -> None:
    step = transitions.claim(status(), Shard(sent=NOW - 9), NOW, "w2", LEASE_SECONDS, can_run=False)

    assert step == Step(Claim(ClaimOutcome.WAIT, delay=5.0), status(), Shard(sent=NOW + 5))


def start_archiving(job: JobStatus) -> JobStatus:
    """Return a job whose judge begins to write a result."""
    archiving = transitions.mark_archiving(job, NOW, job.judging_token, 30.0)
    assert archiving is not None
    return archiving


@pytest.mark.parametrize("state", [State.SUCCEEDED, State.FAILED, State.CANCELLED])
def test_an_ended_job_or_shard_is_skipped_without_a_change(state: State) -> None:
    ended, done = status(state), Shard(State.SUCCEEDED, fencing_token=1, done=4)

    assert claim(ended, Shard()) == Step(Claim(ClaimOutcome.SKIP), ended, Shard())
    assert claim(status(), done) == Step(Claim(ClaimOutcome.SKIP), status(), done)


def test_an_expired_lease_counts_as_a_crash_and_gets_a_new_fencing_token() -> None:
    step = claim(status(), RUNNING, NOW + 5.1)

    assert step.reply == Claim(ClaimOutcome.CLAIMED, fencing_token=5, waiting_since=RUNNING.lease)
    assert (step.shard.crashes, step.shard.done, step.shard.worker) == (1, 0, "w2")
    assert step.counter == CRASHES


@pytest.mark.parametrize(
    ("crashes", "kind"), [(0, ClaimOutcome.CLAIMED), (1, ClaimOutcome.CLAIMED), (2, ClaimOutcome.JOB_FAILED)]
)
def test_the_third_crash_fails_the_job(crashes: int, kind: ClaimOutcome) -> None:
    step = claim(status(), replace(RUNNING, crashes=crashes), NOW + 20)

    failure = step.job.failure
    assert step.reply.kind is kind
    assert (failure is not None and failure.reason == "WORKER_LOST") == (kind is ClaimOutcome.JOB_FAILED)
    assert (step.job.state is State.FAILED) == (kind is ClaimOutcome.JOB_FAILED)


def test_a_shard_runs_again_immediately_after_its_first_crash_and_10_seconds_after_its_second() -> None:
    second = replace(RUNNING, crashes=1)
    just_before = claim(status(), second, RUNNING.lease + 9)

    assert claim(status(), RUNNING, RUNNING.lease).reply.kind is ClaimOutcome.CLAIMED
    assert just_before == Step(Claim(ClaimOutcome.WAIT, delay=1.0), status(), second)  # and not counted as a crash yet
    assert claim(status(), second, RUNNING.lease + 10).reply.kind is ClaimOutcome.CLAIMED
    assert claim(status(), replace(RUNNING, crashes=2), RUNNING.lease).reply.kind is ClaimOutcome.JOB_FAILED


def test_only_the_current_fencing_token_of_a_running_shard_is_valid() -> None:
    assert transitions.holds_lease(status(), RUNNING, 4)
    assert not transitions.holds_lease(status(), RUNNING, 3)
    assert not transitions.holds_lease(status(), RUNNING, 5)
    assert not transitions.holds_lease(status(), replace(RUNNING, state=State.QUEUED), 4)
    assert not transitions.holds_lease(status(), replace(RUNNING, state=State.SUCCEEDED), 4)
    assert not transitions.holds_lease(status(State.FAILED), RUNNING, 4)
    assert not transitions.holds_lease(status(State.CANCELLED), RUNNING, 4)


@pytest.mark.parametrize(("state", "counts"), [(State.RUNNING, True), (State.FAILED, False), (State.CANCELLED, False)])
def test_a_refused_write_counts_unless_its_job_failed_or_was_cancelled(state: State, counts: bool) -> None:
    finished = transitions.finish(status(state), RUNNING, NOW, 3, RESULT)

    assert (finished.reply, finished.job, finished.shard) == (None, status(state), RUNNING)
    assert (finished.counter == REFUSED) == counts
    progressed = transitions.progress(status(state), RUNNING, NOW, 3, 4)
    assert (progressed.reply, progressed.counter) == (False, finished.counter)


def test_the_last_shard_notes_when_the_judging_was_sent() -> None:
    first = transitions.finish(status(left=2), RUNNING, NOW, 4, RESULT)
    last = transitions.finish(status(left=1), RUNNING, NOW, 4, RESULT)

    assert (first.reply, first.job.judging_sent) == (1, 0.0)
    assert (last.reply, last.job.judging_sent) == (0, NOW)


@pytest.mark.parametrize(("retries", "delay"), [(0, 5), (1, 10), (2, 20)])
def test_the_delay_after_a_transient_error_doubles(retries: int, delay: float) -> None:
    step = transitions.retry(status(), replace(RUNNING, retries=retries), NOW, 4, OOPS)

    after = step.shard
    assert step.reply == delay
    assert (after.state, after.retries, after.retry_at) == (State.QUEUED, retries + 1, NOW + delay)
    assert (after.crashes, after.done, after.fencing_token) == (RUNNING.crashes, 0, RUNNING.fencing_token)


def test_the_fourth_transient_error_fails_the_job() -> None:
    step = transitions.retry(status(), replace(RUNNING, retries=3), NOW, 4, OOPS)

    assert step.reply == transitions.NO_RETRY
    assert (step.job.state, step.job.failure) == (State.FAILED, OOPS)


@pytest.mark.parametrize(("attempts", "delay"), [(1, 5), (2, 10), (12, 60), (500, 60)])
def test_the_delay_before_the_next_judging_grows_up_to_a_minute(attempts: int, delay: float) -> None:
    assert transitions.judging_delay(attempts) == delay


# lost messages: the engine redelivers the messages of dead workers within a heartbeat of 30 s

SENT = Shard(sent=NOW)


@pytest.mark.parametrize(
    ("shard", "seconds", "is_lost"),
    [
        (SENT, 9.0, False),
        (SENT, 11.0, True),
        (replace(SENT, retry_at=NOW + 20), 19.0, False),
        (replace(SENT, state=State.RUNNING, lease=NOW + 20), 59.0, False),
        (replace(SENT, state=State.RUNNING, lease=NOW + 20), 61.0, True),
        (replace(SENT, state=State.RUNNING, lease=NOW + 20, crashes=1), 69.0, False),
        (replace(SENT, state=State.RUNNING, lease=NOW + 20, crashes=1), 71.0, True),
        (replace(SENT, state=State.RUNNING, lease=NOW + 20, sent=NOW + 30), 61.0, False),
        (replace(SENT, state=State.SUCCEEDED), 1e6, False),
    ],
)
def test_a_message_is_lost_if_its_shard_can_be_claimed_for_some_time(
    shard: Shard, seconds: float, is_lost: bool
) -> None:
    later = NOW + seconds

    assert transitions.is_lost(shard, later, HEARTBEAT) == is_lost
    marked = replace(shard, sent=later) if is_lost else shard
    assert transitions.mark_lost(status(), shard, later, HEARTBEAT) == Step(is_lost, status(), marked)
    assert transitions.mark_lost(status(State.FAILED), shard, later, HEARTBEAT).reply is False


def test_the_message_of_a_released_shard_is_not_lost_immediately() -> None:
    released = transitions.release(status(), RUNNING, NOW, 4).shard

    assert not transitions.is_lost(released, NOW + HEARTBEAT / 3, HEARTBEAT)
    assert transitions.is_lost(released, NOW + HEARTBEAT / 2, HEARTBEAT)


@pytest.mark.parametrize(
    ("job", "seconds", "is_lost"),
    [
        (status(left=0, judging_sent=NOW), 9.0, False),
        (status(left=0, judging_sent=NOW), 11.0, True),
        (status(left=0, judging_sent=NOW, judging_token=2), 29.0, False),
        (status(left=0, judging_sent=NOW, judging_token=2), 31.0, True),
        (start_archiving(status(left=0, judging_sent=NOW - 100, judging_token=2)), 59.0, False),
        (start_archiving(status(left=0, judging_sent=NOW - 100, judging_token=2)), 61.0, True),
        (status(left=1, judging_sent=NOW), 1e6, False),
        (status(State.FAILED, left=0, judging_sent=NOW), 1e6, False),
    ],
)
def test_a_judging_is_lost_after_the_delay_of_its_next_attempt(job: JobStatus, seconds: float, is_lost: bool) -> None:
    marked = transitions.mark_judging_lost(job, NOW + seconds, HEARTBEAT)

    assert marked == (replace(job, judging_sent=NOW + seconds) if is_lost else None)


@pytest.mark.parametrize(
    "error", [ImagesMissing("no folder"), ModelNotFound("no such model"), InvalidModelId("no colon")]
)
def test_users_see_the_messages_of_erratas_errors(error: ModelNotFound) -> None:
    assert transitions.failure_of(error) == Failure(type(error).reason, str(error))


def test_users_do_not_see_the_messages_of_other_errors() -> None:
    failure = transitions.failure_of(RuntimeError("password=hunter2"))

    assert failure.reason == "INTERNAL"
    assert "hunter2" not in failure.message
    assert "RuntimeError" in failure.message


def test_the_rate_counts_only_workers_with_a_lease() -> None:
    """Given two workers at 4 and 2 images per second, a finished shard, and an expired lease, the rate is 6."""
    running = Shard(State.RUNNING, fencing_token=1, lease=NOW + 5, worker="w1", claimed_at=NOW - 2, done=8)
    slower = replace(running, worker="w2", claimed_at=NOW - 1, done=2)
    done = Shard(State.SUCCEEDED, fencing_token=1, claimed_at=NOW - 90, done=4)
    expired = replace(running, lease=NOW - 1)

    assert job(running, slower, done, expired, Shard()).images_per_second(NOW) == pytest.approx(6.0)
    assert job(done, expired, Shard(), replace(running, done=0)).images_per_second(NOW) is None
