"""Submitting the analysis of a model: reserved request IDs, and a queue that is unavailable."""

from dataclasses import replace

import pytest
from errata.errors import Unavailable

from service.analyses.judge import judge_job
from service.analyses.lifecycle import delete
from service.analyses.submit import submit
from service.analyses.upload import JUDGING_SECONDS
from service.domain import AnalysisRequest, State
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
