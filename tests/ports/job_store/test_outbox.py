"""The outbox of write-backs."""

from dataclasses import replace

import pytest
from job_store_calls import (
    DAY,
    LEASE_SECONDS,
    OOPS,
    call_concurrently,
    claim_judging,
    claim_token,
    lease_due_items,
    outbox_item,
    pass_time,
    resubmit,
    run_all,
    spec,
    submit,
    submit_failed,
)
from manual_clock import Clock

from service.domain import AnalysisRequest
from service.jobs import transitions
from service.jobs.store import JobStore, Outcome, Submission
from service.jobs.transaction import JobTransaction
from service.jobs.transitions import AnalysisRecord, OutboxItem


def submit_for(store: JobStore, id: str, owner: str, request_id: str = "", limit: int = 1000) -> Submission:
    """Submit an analysis of an owner, in its own job."""
    record = AnalysisRecord(
        id, AnalysisRequest("demo", "demo:m", request_id=request_id), "body", "e" * 64, 0.0, owner=owner
    )
    return store.submit(record, replace(spec(), model=f"demo:{id}"), limit=limit)


def submit_ended(store: JobStore, *ids: str, owner: str = "registry:x") -> None:
    """Submit and cancel analyses of a registry."""
    for id in ids:
        submit_for(store, id, owner)
        store.cancel(id, "")


def test_only_ended_analyses_of_registries_are_due(store: JobStore) -> None:
    for id, owner in {"a": "registry:x", "b": "", "c": "registry", "d": "user@registry:x"}.items():
        submit_for(store, id, owner)
    assert lease_due_items(store) == {}  # all are open
    for id in "abcd":
        store.cancel(id, "")

    assert lease_due_items(store) == {"a": 0}


def test_rejected_and_repeated_requests_add_no_outbox_item(store: JobStore) -> None:
    submit_for(store, "a", "registry:x", request_id="r", limit=1)

    assert submit_for(store, "b", "registry:x", request_id="r", limit=1).outcome is Outcome.REPEATED
    assert submit_for(store, "c", "registry:x", limit=1).outcome is Outcome.FULL
    store.cancel("a", "")

    assert lease_due_items(store) == {"a": 0}


def test_an_analysis_that_joins_a_job_gets_an_outbox_item(store: JobStore) -> None:
    for id in ("a", "b"):
        record = AnalysisRecord(id, AnalysisRequest("demo", "demo:m"), "body", "e" * 64, 0.0, owner="registry:x")
        store.submit(record, spec(), limit=10)
    store.cancel("a", "")
    assert lease_due_items(store) == {"a": 0}
    store.cancel("b", "")

    assert lease_due_items(store) == {"b": 0}


def test_a_reservation_adds_an_outbox_item_only_on_request(store: JobStore) -> None:
    store.reserve("r", "body", "a", needs_write_back=True)
    store.reserve("s", "body", "b")
    store.reserve("t", "body", "c", needs_write_back=False)

    assert lease_due_items(store) == {"a": 0}
    assert [store.has_outbox_item(id) for id in ("a", "b")] == [True, False]


@pytest.mark.parametrize("body", ["body", "another"], ids=["repeated", "reused"])
def test_a_repeated_reservation_adds_no_outbox_item(store: JobStore, clock: Clock, body: str) -> None:
    store.reserve("r", "body", "a", needs_write_back=True)
    store.delete_outbox_item(outbox_item(store, "a"))

    assert store.reserve("r", body, "b", needs_write_back=True).analysis == "a"

    clock.advance(DAY)
    assert lease_due_items(store) == {}


def test_a_leased_item_is_not_due_until_the_lease_expires(store: JobStore, clock: Clock) -> None:
    submit_ended(store, "a")

    assert lease_due_items(store, lease=60) == {"a": 0}
    assert lease_due_items(store, lease=60) == {}
    clock.advance(59)
    assert lease_due_items(store, lease=60) == {}
    clock.advance(1)
    assert lease_due_items(store, lease=60) == {"a": 0}  # an expired lease does not count as a failed attempt
    clock.advance(59)
    assert lease_due_items(store, lease=60) == {}


def test_one_of_many_concurrent_calls_leases_an_item(store: JobStore) -> None:
    submit_ended(store, "a", "b")

    leased = call_concurrently(16, lambda _: store.next_outbox_item(LEASE_SECONDS))

    assert sorted(item.analysis for item in leased if item) == ["a", "b"]


def test_one_of_many_concurrent_holders_leases_a_registry(store: JobStore) -> None:
    leased = call_concurrently(16, lambda holder: store.lease_registry("x", f"holder {holder}", LEASE_SECONDS))

    assert sorted(leased) == [False] * 15 + [True]


def test_a_registry_has_one_holder_until_its_lease_ends(store: JobStore, clock: Clock) -> None:
    assert store.lease_registry("x", "a", 60)
    assert store.lease_registry("y", "b", 60)  # another registry
    assert not store.lease_registry("x", "b", 60)
    assert store.lease_registry("x", "a", 60)  # the same holder
    store.release_registry("x", "b")
    assert not store.lease_registry("x", "b", 60)

    store.release_registry("x", "a")
    assert store.lease_registry("x", "b", 60)

    pass_time(store, clock, 60)
    assert store.lease_registry("x", "a", 60)
    store.release_registry("x", "b")  # too late
    assert not store.lease_registry("x", "b", 60)


def test_a_postponed_item_is_due_later_and_only_failures_are_counted(store: JobStore, clock: Clock) -> None:
    submit_ended(store, "a")
    for failed, attempts in ((True, 1), (False, 1), (True, 2), (False, 2)):
        lease_due_items(store)
        store.postpone_outbox_item(outbox_item(store, "a"), 5, failed=failed)
        clock.advance(4.5)
        assert lease_due_items(store) == {}
        clock.advance(0.5)
        assert store.next_outbox_item(0.0) == replace(outbox_item(store, "a"), attempts=attempts)


def test_a_postponed_item_does_not_delay_another(store: JobStore) -> None:
    submit_ended(store, "a", "b")
    store.postpone_outbox_item(outbox_item(store, "a"), 100, failed=True)

    assert lease_due_items(store) == {"b": 0}


def test_a_deleted_item_is_never_due_even_if_it_is_postponed_later(store: JobStore, clock: Clock) -> None:
    submit_ended(store, "a")
    lease_due_items(store)
    store.delete_outbox_item(outbox_item(store, "a"))
    store.delete_outbox_item(outbox_item(store, "a"))
    store.postpone_outbox_item(outbox_item(store, "a"), 1, failed=True)
    store.postpone_outbox_item(outbox_item(store, "a"), 1, failed=False)
    store.delete_outbox_item(outbox_item(store, "unknown"))
    store.postpone_outbox_item(outbox_item(store, "unknown"), 1, failed=True)

    clock.advance(DAY)

    assert lease_due_items(store) == {}


@pytest.mark.parametrize("end", ["succeeded", "cancelled", "failed"])
def test_an_ended_analysis_is_due_immediately(store: JobStore, clock: Clock, end: str) -> None:
    job = submit_for(store, "a", "registry:x").job
    assert lease_due_items(store) == {}
    claim_token(store, job, shard=1)
    clock.advance(1)
    assert lease_due_items(store) == {}
    if end == "succeeded":
        clock.advance(LEASE_SECONDS)
        run_all(store, job)
        assert lease_due_items(store) == {}  # it must be judged and archived first
        store.change_job(transitions.finish_judging, job, claim_judging(store, job) or 0)
    elif end == "cancelled":
        store.cancel("a", "")
    else:
        store.change_shard(transitions.fail, job, 0, claim_token(store, job), OOPS)

    assert lease_due_items(store) == {"a": 0}


def test_an_outbox_item_that_is_deleted_meanwhile_leaves_nothing(store: JobStore) -> None:
    submit_ended(store, "a")

    def postpone(tx: JobTransaction) -> None:
        item = tx.outbox_item("a")
        store.delete_outbox_item(outbox_item(store, "a"))
        if item is not None:
            tx.update_outbox_item(item, tx.now)

    store.run(postpone)

    assert store._backend.read([("HMGET", "errata:owed:tries", "a")]) == [[None]]


def test_outbox_items_do_not_expire_with_records(store: JobStore, clock: Clock) -> None:
    store.reserve("r", "body", "a", needs_write_back=True)
    store.postpone_outbox_item(outbox_item(store, "a"), 1, failed=True)

    pass_time(store, clock, 8 * DAY)
    submit(store, "new", created=clock.now)

    assert lease_due_items(store) == {"a": 1}


def test_a_retried_analysis_gets_a_new_outbox_item_without_attempts(store: JobStore) -> None:
    job = submit_for(store, "a", "registry:x").job
    store.postpone_outbox_item(outbox_item(store, "a"), 1, failed=True)
    store.delete_outbox_item(outbox_item(store, "a"))
    store.change_shard(transitions.fail, job, 0, claim_token(store, job), OOPS)
    record = AnalysisRecord("a", AnalysisRequest("demo", "demo:m"), "body", "e" * 64, 0.0, owner="registry:x")

    assert store.resubmit(record, replace(spec(), model="demo:a"), limit=10) is not None
    assert lease_due_items(store) == {}
    store.cancel("a", "")

    assert lease_due_items(store) == {"a": 0}


@pytest.mark.parametrize("end", ["open", "failed", "succeeded"])
def test_an_item_of_a_retried_analysis_outlives_the_lease_before_the_retry(
    store: JobStore, clock: Clock, end: str
) -> None:
    """Given a retry while the failed result is written, the end of that write changes no item."""
    job = submit_for(store, "a", "registry:x").job
    store.change_shard(transitions.fail, job, 0, claim_token(store, job), OOPS)
    item = store.next_outbox_item(LEASE_SECONDS) or OutboxItem("", 0)
    record = AnalysisRecord("a", AnalysisRequest("demo", "demo:m"), "body", "e" * 64, 0.0, owner="registry:x")
    submission = store.resubmit(record, replace(spec(), model="demo:a"), limit=10)
    assert submission is not None
    if end == "failed":
        store.change_shard(transitions.fail, submission.job, 0, claim_token(store, submission.job), OOPS)
    elif end == "succeeded":
        run_all(store, submission.job)
        store.change_job(transitions.finish_judging, submission.job, claim_judging(store, submission.job) or 0)

    store.postpone_outbox_item(item, DAY, failed=True)
    store.delete_outbox_item(item)

    if end == "open":
        store.cancel("a", "")
    assert lease_due_items(store) == {"a": 0}


def test_a_retried_analysis_without_a_registry_gets_no_outbox_item(store: JobStore) -> None:
    submit_failed(store)

    assert resubmit(store) is not None
    store.cancel("a", "")

    assert lease_due_items(store) == {}
