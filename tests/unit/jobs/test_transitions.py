"""State transitions of jobs and shards: shards cover the images, and only legal transitions happen."""

from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest
from errata.errors import ImagesMissing, InvalidModelId, ModelNotFound
from hypothesis import given, settings
from hypothesis import strategies as st

from service.domain import Failure, Predictions, State
from service.jobs import memory, transitions
from service.jobs.transitions import Claim, ClaimOutcome, Job, JobSpec, Shard

NOW = 1_000.0
LEASE_SECONDS = 20.0
RUNNING = Shard(State.RUNNING, fencing_token=4, lease=NOW + 5, worker="w1", done=2)


def spec(total: int = 10, shard_size: int = 4) -> JobSpec:
    return JobSpec("demo:m", "demo", "e", "i", total, shard_size)


def job(*shards: Shard, state: State = State.RUNNING) -> Job:
    return Job("j", spec(len(shards) * 4, 4), shards, created=NOW - 100, state=state)


@given(total=st.integers(1, 5000), shard_size=st.integers(1, 600))
@settings(max_examples=200, deadline=None)
def test_shards_cover_every_image_once(total: int, shard_size: int) -> None:
    job_spec = spec(total, shard_size)

    images = [image for shard in range(job_spec.num_shards) for image in range(*job_spec.bounds(shard))]

    assert images == list(range(total))
    assert all(1 <= stop - start <= shard_size for start, stop in map(job_spec.bounds, range(job_spec.num_shards)))


def test_a_job_counts_the_images_and_shards_that_are_done() -> None:
    result = job(Shard(State.SUCCEEDED, done=4), replace(RUNNING, done=3), Shard())

    assert (result.done, result.num_shards_left) == (7, 2)


def test_a_queued_shard_is_claimed() -> None:
    after, claim = transitions.claim(job(Shard(), state=State.QUEUED), 0, NOW, LEASE_SECONDS, "w1")

    assert claim == Claim(ClaimOutcome.CLAIMED, fencing_token=1)
    assert after.shards[0] == Shard(
        State.RUNNING, fencing_token=1, lease=NOW + LEASE_SECONDS, worker="w1", claimed_at=NOW
    )
    assert (after.state, after.started) == (State.RUNNING, NOW)


def test_a_later_claim_keeps_the_start_of_the_job() -> None:
    after, _ = transitions.claim(replace(job(Shard(), Shard()), started=NOW - 50), 1, NOW, LEASE_SECONDS, "w2")

    assert after.started == NOW - 50


def test_a_live_worker_keeps_its_shard() -> None:
    before = job(RUNNING)

    assert transitions.claim(before, 0, NOW, LEASE_SECONDS, "w2") == (before, Claim(ClaimOutcome.WAIT, delay=5.0))


def test_a_shard_in_backoff_is_claimed_after_its_delay() -> None:
    before = job(Shard(fencing_token=2, retries=1, retry_at=NOW + 3))

    assert transitions.claim(before, 0, NOW, LEASE_SECONDS, "w2") == (before, Claim(ClaimOutcome.WAIT, delay=3.0))
    assert transitions.claim(before, 0, NOW + 3, LEASE_SECONDS, "w2")[1] == Claim(ClaimOutcome.CLAIMED, fencing_token=3)


@pytest.mark.parametrize("state", [State.SUCCEEDED, State.FAILED, State.CANCELLED])
def test_an_ended_job_or_shard_is_skipped_without_a_change(state: State) -> None:
    ended, done = job(Shard(), state=state), job(Shard(State.SUCCEEDED, fencing_token=1, done=4), Shard())

    assert transitions.claim(ended, 0, NOW, LEASE_SECONDS, "w2") == (ended, Claim(ClaimOutcome.SKIP))
    assert transitions.claim(done, 0, NOW, LEASE_SECONDS, "w2") == (done, Claim(ClaimOutcome.SKIP))


def test_an_expired_lease_counts_as_a_crash_and_gets_a_new_fencing_token() -> None:
    after, claim = transitions.claim(job(RUNNING), 0, NOW + 5.1, LEASE_SECONDS, "w2")

    assert claim == Claim(ClaimOutcome.CLAIMED, fencing_token=5)
    assert (after.shards[0].crashes, after.shards[0].done, after.shards[0].worker) == (1, 0, "w2")


@pytest.mark.parametrize(
    ("crashes", "kind"), [(0, ClaimOutcome.CLAIMED), (1, ClaimOutcome.CLAIMED), (2, ClaimOutcome.LOST)]
)
def test_the_third_crash_fails_the_job(crashes: int, kind: ClaimOutcome) -> None:
    after, claim = transitions.claim(job(replace(RUNNING, crashes=crashes)), 0, NOW + 6, LEASE_SECONDS, "w2")

    assert claim.kind is kind
    assert (after.failure is not None and after.failure.reason == "WORKER_LOST") == (kind is ClaimOutcome.LOST)
    assert (after.state is State.FAILED) == (kind is ClaimOutcome.LOST)


def test_only_the_current_fencing_token_of_a_running_shard_is_valid() -> None:
    assert transitions.holds_lease(job(RUNNING), 0, 4)
    assert not transitions.holds_lease(job(RUNNING), 0, 3)
    assert not transitions.holds_lease(job(RUNNING), 0, 5)
    assert not transitions.holds_lease(job(replace(RUNNING, state=State.QUEUED)), 0, 4)
    assert not transitions.holds_lease(job(replace(RUNNING, state=State.SUCCEEDED)), 0, 4)
    assert not transitions.holds_lease(job(RUNNING, state=State.FAILED), 0, 4)
    assert not transitions.holds_lease(job(RUNNING, state=State.CANCELLED), 0, 4)


@pytest.mark.parametrize(("retries", "delay"), [(0, 5), (1, 10), (2, 20), (3, 40), (4, 60), (9, 60)])
def test_the_delay_after_a_transient_error_grows_up_to_a_minute(retries: int, delay: float) -> None:
    after = transitions.requeue_with_backoff(replace(RUNNING, retries=retries), NOW)

    assert (after.state, after.retries, after.retry_at) == (State.QUEUED, retries + 1, NOW + delay)
    assert (after.crashes, after.done, after.fencing_token) == (RUNNING.crashes, 0, RUNNING.fencing_token)


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


def pieces(with_probability: list[bool]) -> list[Predictions]:
    return [
        Predictions(np.array([index], dtype=np.int16), np.array([index / 8], dtype=np.float16) if present else None)
        for index, present in enumerate(with_probability)
    ]


def test_pieces_are_concatenated_in_order() -> None:
    predictions = transitions.concatenate_predictions(pieces([True, True, True]))

    assert predictions.top1.tolist() == [0, 1, 2]
    assert predictions.top1.dtype == np.int16
    assert predictions.probability is not None
    assert predictions.probability.tolist() == [0, 0.125, 0.25]
    assert predictions.probability.dtype == np.float16


@pytest.mark.parametrize("with_probability", [[False, False], [True, False], [False, True]])
def test_probabilities_are_dropped_unless_all_pieces_have_them(with_probability: list[bool]) -> None:
    assert transitions.concatenate_predictions(pieces(with_probability)).probability is None


def test_the_script_for_redis_has_the_same_constants() -> None:
    script = (files("service.jobs") / "transitions.lua").read_text()

    assert (
        f"local MAX_CRASHES, MAX_RETRIES, FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS = {transitions.MAX_CRASHES}, "
        f"{transitions.MAX_RETRIES}, {transitions.FIRST_RETRY_SECONDS:g}, {transitions.LAST_RETRY_SECONDS:g}\n"
    ) in script
    assert f"local WORKER_TIMEOUT = {memory.WORKER_TIMEOUT:g} " in script
    assert memory.FINISHED_TTL == 7 * 86_400
    assert "local FINISHED_TTL = 7 * 86400 " in script


def test_the_rate_counts_only_workers_with_a_lease() -> None:
    """Given two workers at 4 and 2 images per second, a finished shard, and an expired lease, the rate is 6."""
    running = Shard(State.RUNNING, fencing_token=1, lease=NOW + 5, worker="w1", claimed_at=NOW - 2, done=8)
    slower = replace(running, worker="w2", claimed_at=NOW - 1, done=2)
    done = Shard(State.SUCCEEDED, fencing_token=1, claimed_at=NOW - 90, done=4)
    expired = replace(running, lease=NOW - 1)

    assert job(running, slower, done, expired, Shard()).images_per_second(NOW) == pytest.approx(6.0)
    assert job(done, expired, Shard(), replace(running, done=0)).images_per_second(NOW) is None
