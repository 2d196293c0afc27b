"""Submitting the analysis of a model: reserved request IDs, and a queue that is unavailable."""

from contextvars import copy_context
from dataclasses import replace

import pytest
from errata.errors import QuotaExceeded, Unavailable

from service.analyses.judge import judge_job
from service.analyses.lifecycle import delete, retry
from service.analyses.submit import submit
from service.analyses.upload import JUDGING_SECONDS
from service.caller import CALLER, Caller
from service.domain import AnalysisRequest, Failure, State
from service.jobs import transitions
from service.jobs.store import MODELS

from .conftest import MODEL, Backend
from .test_judge import predict_job

REQUEST = AnalysisRequest("demo", MODEL, request_id="r")


class Killed(BaseException):
    """Ends a process."""


def test_a_request_whose_process_was_killed_is_accepted_again(backend: Backend) -> None:
    """Given archived predictions that are deleted after the process was killed, the model runs again."""
    job, (first,) = predict_job(backend)
    judge_job(backend.ports, job)
    backend.archive.errors = [Killed()]  # type: ignore[list-item]  # raised after the request ID was reserved
    with pytest.raises(Killed):
        submit(backend.ports, REQUEST)
    delete(backend.ports.stores, first.id)

    with pytest.raises(Unavailable, match="in progress"):
        submit(backend.ports, REQUEST)
    backend.now += JUDGING_SECONDS
    analysis = submit(backend.ports, REQUEST)

    assert analysis.state is State.QUEUED
    assert submit(backend.ports, REQUEST).id == analysis.id


def test_an_analysis_is_accepted_while_its_shards_cannot_be_sent(backend: Backend) -> None:
    def refuse(job: str, count: int) -> None:
        raise Unavailable("the queue is unavailable")

    ports = replace(backend.ports, models=replace(backend.ports.models, send_shards=refuse))

    analysis = submit(ports, REQUEST)

    assert analysis.state is State.QUEUED
    backend.now += backend.store.heartbeat_timeout
    snapshot = backend.store.snapshot(analysis.id)
    assert snapshot is not None
    lost = backend.store.mark_lost_messages({MODELS})
    assert lost == [(snapshot.record.job, index) for index in range(3)]  # of 20 images, at most 8 in a shard


def test_only_the_limit_of_the_owner_applies_to_a_retry(backend: Backend) -> None:
    for owner in ("alice", "alice", "bob"):
        submit(backend.ports, AnalysisRequest("demo", MODEL, fresh=True), owner=owner)
    first, *_ = sorted(backend.store.snapshots(), key=lambda snapshot: snapshot.record.id)
    token = backend.store.change_shard(transitions.claim, first.record.job, 0, "w1", 60.0).fencing_token
    backend.store.change_shard(transitions.fail, first.record.job, 0, token, Failure("OOPS", "it broke"))

    def retry_as(name: str, max_open: int) -> State:
        context = copy_context()
        context.run(CALLER.set, Caller(name, max_open=max_open))
        return context.run(retry, backend.ports, first.record.id).state

    with pytest.raises(QuotaExceeded, match="1 of 1"):
        retry_as("alice", 1)
    assert retry_as("bob", 1) is State.QUEUED
