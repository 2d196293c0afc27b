"""Submissions: equal requests, the limit of open analyses, and request IDs."""

from collections import Counter
from dataclasses import replace

import pytest
from errata.errors import Unavailable
from job_store_calls import (
    DAY,
    OOPS,
    call_concurrently,
    claim_judging,
    claim_token,
    get_job,
    lease_due_items,
    pass_time,
    run_all,
    spec,
    state_of,
    submit,
)
from manual_clock import Clock

from service.domain import State, class_lines, parse_class_lines
from service.jobs import transitions
from service.jobs.store import JobStore, Outcome
from service.jobs.transitions import JobSpec
from service.taxonomy.imagenet_1k import imagenet_1k


def test_a_first_request_creates_a_job_with_all_its_shards(store: JobStore) -> None:
    submission = submit(store, "a", of=spec(total=10, shard_size=4))

    assert (submission.outcome, submission.analysis) == (Outcome.NEW, "a")
    job = get_job(store, submission.job)
    assert [shard.state for shard in job.shards] == [State.QUEUED] * 3
    assert (job.done, job.num_shards_left, job.analyses) == (0, 3, {"a"})
    assert state_of(store, "a") is State.QUEUED


def test_an_equal_request_joins_the_open_job(store: JobStore) -> None:
    first, second = submit(store, "a"), submit(store, "b")

    assert (second.outcome, second.analysis, second.job) == (Outcome.JOINED, "b", first.job)
    assert get_job(store, first.job).analyses == {"a", "b"}


def test_a_request_joins_a_running_job(store: JobStore) -> None:
    first = submit(store, "a")
    claim_token(store, first.job)

    assert submit(store, "b").job == first.job


def test_a_different_computation_gets_its_own_job(store: JobStore) -> None:
    first, second = submit(store, "a", key="one"), submit(store, "b", key="two")

    assert second.outcome is Outcome.NEW
    assert first.job != second.job


def test_a_fresh_request_neither_joins_nor_is_joined(store: JobStore) -> None:
    plain = submit(store, "a")
    fresh = submit(store, "b", fresh=True)
    fresh_too = submit(store, "c", fresh=True)
    plain_too = submit(store, "d")

    assert [submission.outcome for submission in (plain, fresh, fresh_too, plain_too)] == [
        Outcome.NEW,
        Outcome.NEW,
        Outcome.NEW,
        Outcome.JOINED,
    ]
    assert plain_too.job == plain.job
    assert len({plain.job, fresh.job, fresh_too.job}) == 3


def test_a_fresh_job_is_not_joined(store: JobStore) -> None:
    fresh = submit(store, "a", fresh=True)
    plain = submit(store, "b")

    assert plain.outcome is Outcome.NEW
    assert plain.job != fresh.job


def test_the_end_of_a_fresh_job_does_not_affect_joins(store: JobStore) -> None:
    plain = submit(store, "a")
    submit(store, "b", fresh=True)
    store.cancel("b", "why not")

    assert submit(store, "c").job == plain.job


def test_of_200_concurrent_requests_exactly_50_are_accepted_at_a_limit_of_50(store: JobStore) -> None:
    submissions = call_concurrently(200, lambda number: submit(store, f"a{number}", key=f"k{number % 70}", limit=50))

    outcomes = Counter(submission.outcome for submission in submissions)
    assert outcomes[Outcome.FULL] == 150
    assert outcomes[Outcome.NEW] + outcomes[Outcome.JOINED] == 50
    accepted = {submission.analysis for submission in submissions if submission.outcome is not Outcome.FULL}
    assert {snapshot.record.id for snapshot in store.snapshots()} == accepted
    assert {submission.open for submission in submissions if submission.outcome is Outcome.FULL} == {50}


def test_50_concurrent_equal_requests_are_50_analyses_of_one_job(store: JobStore) -> None:
    submissions = call_concurrently(50, lambda number: submit(store, f"a{number}"))

    assert Counter(submission.outcome for submission in submissions) == {Outcome.NEW: 1, Outcome.JOINED: 49}
    assert len({submission.job for submission in submissions}) == 1
    assert len(get_job(store, submissions[0].job).analyses) == 50


def test_a_rejected_request_leaves_no_record(store: JobStore) -> None:
    submit(store, "a", key="one", limit=1)
    refused = submit(store, "b", key="two", request_id="r", limit=1)

    assert (refused.outcome, refused.open) == (Outcome.FULL, 1)
    assert store.snapshot("b") is None
    store.cancel("a", "make room")
    assert submit(store, "c", key="two", request_id="r", body="another", limit=1).outcome is Outcome.NEW


@pytest.mark.parametrize("end", ["cancelled", "failed", "succeeded"])
def test_an_ended_analysis_does_not_count_against_the_limit_and_is_not_joined(store: JobStore, end: str) -> None:
    first = submit(store, "a", limit=1)
    if end == "cancelled":
        store.cancel("a", "make room")
    elif end == "failed":
        store.change_shard(transitions.fail, first.job, 0, claim_token(store, first.job), OOPS)
    else:
        run_all(store, first.job)
        store.change_job(transitions.finish_judging, first.job, claim_judging(store, first.job) or 0)

    second = submit(store, "b", limit=1)

    assert second.outcome is Outcome.NEW
    assert second.job != first.job


def test_a_repeated_request_id_returns_the_same_analysis_even_at_the_limit(store: JobStore) -> None:
    submit(store, "a", request_id="r", limit=1)
    repeated = submit(store, "b", request_id="r", limit=1)

    assert (repeated.outcome, repeated.analysis) == (Outcome.REPEATED, "a")
    assert store.snapshot("b") is None


def test_a_request_id_with_another_body_is_reported_as_reused(store: JobStore) -> None:
    submit(store, "a", request_id="r", body="one")

    assert submit(store, "b", request_id="r", body="two").outcome is Outcome.REUSED
    assert store.snapshot("b") is None


def test_requests_without_an_id_are_never_repeated(store: JobStore) -> None:
    submit(store, "a", request_id="")

    assert submit(store, "b", request_id="").analysis == "b"
    assert store.reserve("", "body", "c").outcome is Outcome.NEW
    assert store.reserve("", "another", "d").outcome is Outcome.NEW


def test_the_same_request_id_from_many_threads_makes_one_analysis(store: JobStore) -> None:
    submissions = call_concurrently(32, lambda number: submit(store, f"a{number}", request_id="r"))

    assert Counter(submission.outcome for submission in submissions) == {Outcome.NEW: 1, Outcome.REPEATED: 31}
    assert len({submission.analysis for submission in submissions}) == 1
    assert len(store.snapshots()) == 1


def test_a_reserved_request_id_applies_to_uploads_and_models(store: JobStore) -> None:
    assert store.reserve("r", "body", "u1").outcome is Outcome.NEW

    repeated = store.reserve("r", "body", "u2")
    assert (repeated.outcome, repeated.analysis) == (Outcome.REPEATED, "u1")
    assert store.reserve("r", "another", "u3").outcome is Outcome.REUSED
    assert submit(store, "a", request_id="r", body="another").outcome is Outcome.REUSED


def test_a_released_request_id_can_be_used_with_another_body(store: JobStore) -> None:
    store.reserve("r", "body", "u1")
    store.reserve("s", "body", "u2")

    store.release_ids("r", "u1")

    assert store.reserve("r", "another", "u3").outcome is Outcome.NEW
    assert store.reserve("s", "another", "u4").outcome is Outcome.REUSED


@pytest.mark.parametrize(("request_id", "analysis_id"), [("", "u1"), ("unknown", "u1"), ("r", "u0"), ("r", "")])
def test_releasing_an_unreserved_request_id_or_that_of_another_analysis_changes_nothing(
    store: JobStore, request_id: str, analysis_id: str
) -> None:
    store.reserve("r", "body", "u1")

    store.release_ids(request_id, analysis_id)

    assert store.reserve("r", "body", "u2").analysis == "u1"


def test_a_cancelled_reservation_binds_nothing_and_adds_no_outbox_item(store: JobStore) -> None:
    store.reserve("r", "body", "a", needs_write_back=True, delivery="prod:d1")

    store.release_ids("r", "a", "prod:d1")

    assert lease_due_items(store) == {}
    assert store.reserve("r", "another", "b", needs_write_back=True, delivery="prod:d1").outcome is Outcome.NEW
    assert lease_due_items(store) == {"b": 0}


def test_cancelling_the_reservation_of_one_analysis_does_not_change_that_of_another(store: JobStore) -> None:
    store.reserve("r", "body", "a", needs_write_back=True, delivery="prod:d1")

    store.release_ids("r", "b", "prod:d1")

    assert store.reserve("r", "body", "c").analysis == "a"
    assert store.reserve("s", "body", "c", delivery="prod:d1").analysis == "a"
    assert lease_due_items(store) == {"a": 0}


def test_a_reserved_request_id_expires_after_a_week(store: JobStore, clock: Clock) -> None:
    store.reserve("r", "body", "u1")
    pass_time(store, clock, 7 * DAY + 60)

    assert store.reserve("r", "another", "u2").outcome is Outcome.NEW


def test_the_images_and_classes_of_jobs_are_stored_once_by_digest(store: JobStore) -> None:
    lines = ['["a","apple","apfel"]', '["b","äpple"]']
    on_imagenet = JobSpec("demo:m", "demo", "e", "d1", total=2, shard_size=2)
    on_own_classes = replace(on_imagenet, images="d3", classes="d2")

    store.store_inputs(on_imagenet, ["a.jpg", "b.jpg"], imagenet_1k())
    store.store_inputs(on_own_classes, ["c.jpg"], parse_class_lines("fruit", lines))
    store.store_inputs(on_own_classes, ["other.jpg"], imagenet_1k())  # in fact, a digest never has other content

    assert list(store.image_names("d1")) == ["a.jpg", "b.jpg"]
    assert list(store.image_names("d3")) == ["c.jpg"]
    assert class_lines(store.label_space("d2")) == ['["a","apple","apfel"]', '["b","\\u00e4pple"]']
    for read, digest in ((store.image_names, "d2"), (store.label_space, "d1")):
        with pytest.raises(Unavailable, match=digest):
            read(digest)
