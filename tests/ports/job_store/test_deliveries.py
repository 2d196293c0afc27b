"""Traces and repeated deliveries of registries."""

from dataclasses import replace

from job_store_calls import get_job, spec

from service.domain import AnalysisRequest
from service.jobs.store import JobStore, Outcome
from service.jobs.transitions import AnalysisRecord


def test_the_trace_of_a_request_is_stored_with_its_analysis_and_its_job(store: JobStore) -> None:
    request = AnalysisRequest("demo", "demo:m")
    first = AnalysisRecord("a", request, "body", "e" * 64, 0.0, trace="00-1-2-01 vendor=1")
    second = AnalysisRecord("b", request, "body", "e" * 64, 0.0, trace="00-3-4-01")
    job = store.submit(first, replace(spec(), trace=first.trace), limit=10).job
    joined = store.submit(second, replace(spec(), trace=second.trace), limit=10)

    assert joined.outcome is Outcome.JOINED  # the trace does not change what is computed
    snapshots = [store.snapshot(id) for id in ("a", "b")]
    assert [snapshot and snapshot.record.trace for snapshot in snapshots] == [first.trace, second.trace]
    assert get_job(store, job).spec.trace == first.trace


def record_of_delivery(id: str, request_id: str, delivery: str) -> AnalysisRecord:
    request = AnalysisRequest("demo", "demo:m", request_id=request_id)
    return AnalysisRecord(id, request, "body", "e" * 64, 0.0, delivery=delivery)


def test_a_repeated_delivery_returns_the_first_analysis_for_any_request(store: JobStore) -> None:
    first, other = record_of_delivery("a", "r1", "prod:d1"), record_of_delivery("b", "r2", "prod:d1")
    assert store.submit(first, spec(), limit=10).outcome is Outcome.NEW

    repeated = store.submit(other, spec(), limit=10)
    reserved = store.reserve("r3", "body", "c", delivery="prod:d1")

    assert [(submission.outcome, submission.analysis) for submission in (repeated, reserved)] == [
        (Outcome.REPEATED, "a")
    ] * 2
    assert store.snapshot("b") is None
    assert store.reserve("r3", "body", "c", delivery="prod:d2").outcome is Outcome.NEW
    assert store.submit(record_of_delivery("b", "r2", "prod:d2"), spec(), limit=10).analysis == "c"


def test_a_delivery_rejected_at_the_limit_can_be_repeated(store: JobStore) -> None:
    store.submit(record_of_delivery("a", "r1", ""), spec(), limit=1)
    refused = record_of_delivery("b", "r2", "prod:d1")

    assert store.submit(refused, spec(), limit=1).outcome is Outcome.FULL
    assert store.submit(refused, spec(), limit=2).outcome is Outcome.JOINED
