"""Judging a job: a result for each analysis that waits, an archive that is away, errors of our own."""

from dataclasses import replace

import numpy as np
import pytest
from errata.errors import NewerRecord, PermanentError, Unavailable

from service.analyses import judge
from service.analyses.judge import ATTEMPTS, LONGEST_RETRY, RETRY_SECONDS, digest_of, judge_job
from service.analyses.queries import get
from service.analyses.submit import submit
from service.domain import Analysis, AnalysisRequest, ModelInfo, Predictions, State
from service.jobs.transitions import ShardResult
from service.jobs.worker import RetryLater

from .conftest import MODEL, Desk

INFO = ModelInfo(MODEL, "net", "0" * 64, "none")


def predicted(desk: Desk, count: int = 1) -> tuple[str, list[Analysis]]:
    """Analyses that wait for one job, whose shards are all predicted: class 7 for every image."""
    waiting = [submit(desk.ports, AnalysisRequest("demo", MODEL, request_id=f"r{number}")) for number in range(count)]
    ((job, shards),) = desk.sent
    for shard in range(shards):
        start, stop = desk.store.job(job).spec.bounds(shard)
        fencing_token = desk.store.claim(job, shard, "w1", 20.0).fencing_token
        part = ShardResult(Predictions(np.full(stop - start, 7, dtype=np.int16)), INFO)
        desk.store.finish_shard(job, shard, fencing_token, part)
    return job, waiting


def test_each_analysis_that_waits_gets_the_result(desk: Desk) -> None:
    job, waiting = predicted(desk, count=3)

    judge_job(desk.ports, job)

    for item in waiting:
        result = get(desk.ports, item.id)
        assert result.state is State.SUCCEEDED
        assert result.model_info == INFO
        assert result.summary.groups["all"].num_samples == 20
        assert desk.archive.predictions(item.id).top1.tolist() == [7] * 20
    assert sorted(item.id for item in desk.ended) == sorted(item.id for item in waiting)
    assert list(desk.store.entries()) == []


def test_an_analysis_that_was_cancelled_gets_none(desk: Desk) -> None:
    job, (first, second) = predicted(desk, count=2)
    desk.store.cancel(first.id, "")

    judge_job(desk.ports, job)

    assert get(desk.ports, first.id).state is State.CANCELLED
    assert get(desk.ports, second.id).state is State.SUCCEEDED
    assert [item.id for item in desk.archive.list()] == [second.id]


def test_judging_twice_changes_nothing(desk: Desk) -> None:
    job, (analysis,) = predicted(desk)
    judge_job(desk.ports, job)
    before = get(desk.ports, analysis.id)

    judge_job(desk.ports, job)
    judge_job(desk.ports, "no-such-job")

    assert get(desk.ports, analysis.id) == before
    assert desk.archive.asked == 1


def test_a_job_for_a_newer_version_is_left_to_it_and_comes_back(desk: Desk) -> None:
    job, _ = predicted(desk)

    def refuse(job_id: str) -> int | None:
        raise NewerRecord(f"the job {job_id}: expected schema 1 at most, got 2")

    desk.store.claim_judging = refuse

    with pytest.raises(RetryLater) as later:
        judge_job(desk.ports, job)
    assert later.value.delay == RETRY_SECONDS
    assert desk.archive.asked == 0


def test_an_archive_that_is_away_is_come_back_for_later_each_time(desk: Desk) -> None:
    job, (analysis,) = predicted(desk)
    desk.archive.errors = [Unavailable("the disk is full")] * (ATTEMPTS - 1)

    delays = []
    for _ in range(ATTEMPTS - 1):
        with pytest.raises(RetryLater) as later:
            judge_job(desk.ports, job)
        delays.append(later.value.delay)
        assert not get(desk.ports, analysis.id).state.is_final
    judge_job(desk.ports, job)

    assert delays == sorted(delays)
    assert (delays[0], delays[1], delays[-1]) == (RETRY_SECONDS, 2 * RETRY_SECONDS, LONGEST_RETRY)
    assert sum(delays) > 4 * 3600  # an archive may be away for a night: predicting anew costs far more
    assert get(desk.ports, analysis.id).state is State.SUCCEEDED


def test_an_archive_that_stays_away_fails_the_analysis_with_its_reason(desk: Desk) -> None:
    job, (analysis,) = predicted(desk)
    desk.archive.errors = [Unavailable("the disk is full")] * 2 * ATTEMPTS

    for _ in range(ATTEMPTS - 1):
        with pytest.raises(RetryLater):
            judge_job(desk.ports, job)
    judge_job(desk.ports, job)
    judge_job(desk.ports, job)

    result = get(desk.ports, analysis.id)
    assert desk.archive.asked == ATTEMPTS
    assert result.state is State.FAILED
    assert (result.failure.reason, result.failure.message) == (Unavailable.reason, "the disk is full")


def test_an_error_of_our_own_fails_the_analysis_at_once_and_stays_out_of_sight(desk: Desk) -> None:
    job, waiting = predicted(desk, count=2)
    desk.archive.errors = [KeyError("/secret/path")]

    judge_job(desk.ports, job)

    for item in waiting:
        result = get(desk.ports, item.id)
        assert result.state is State.FAILED
        assert result.failure.reason == "INTERNAL"
        assert "secret" not in result.failure.message


def test_an_error_that_says_what_is_wrong_is_told(desk: Desk) -> None:
    job, (analysis,) = predicted(desk)
    desk.archive.errors = [PermanentError("never")]

    judge_job(desk.ports, job)

    assert get(desk.ports, analysis.id).failure.message == "never"


def test_an_archive_that_fails_after_the_first_of_several_loses_none(desk: Desk) -> None:
    """Given two that wait and an archive that takes one and is then away, both have their result in the end."""
    job, waiting = predicted(desk, count=2)
    desk.archive.errors = [None, Unavailable("away")]

    with pytest.raises(RetryLater):
        judge_job(desk.ports, job)
    judge_job(desk.ports, job)

    assert {get(desk.ports, item.id).state for item in waiting} == {State.SUCCEEDED}
    assert sorted(item.id for item in desk.archive.list()) == sorted(item.id for item in waiting)


def test_the_digest_of_predictions_tells_all_that_they_say() -> None:
    top1 = np.arange(4, dtype=np.int16)
    half = np.full(4, 0.5, dtype=np.float16)
    several = [
        Predictions(top1),
        Predictions(top1[::-1]),
        Predictions(top1, half),
        Predictions(top1, None, top1),
        Predictions(top1, half, top1),
        Predictions(top1, half, top1[::-1]),
    ]

    assert len({digest_of(item) for item in several}) == len(several)
    assert digest_of(Predictions(top1[::-1][::-1])) == digest_of(several[0])


def test_parts_of_different_weights_are_never_one_result(desk: Desk) -> None:
    """Given a file of weights that was replaced between two shards, the analysis fails and says so."""
    (waiting,) = [submit(desk.ports, AnalysisRequest("demo", MODEL))]
    ((job, shards),) = desk.sent
    for shard in range(shards):
        start, stop = desk.store.job(job).spec.bounds(shard)
        fencing_token = desk.store.claim(job, shard, "w1", 20.0).fencing_token
        info = replace(INFO, weights_sha256=f"{shard}" * 64)
        desk.store.finish_shard(
            job, shard, fencing_token, ShardResult(Predictions(np.zeros(stop - start, dtype=np.int16)), info)
        )

    judge_job(desk.ports, job)

    result = get(desk.ports, waiting.id)
    assert result.state is State.FAILED
    assert "weights changed" in result.failure.message
    assert list(desk.archive.list()) == []


def test_what_is_cancelled_while_it_is_archived_stays_cancelled(desk: Desk) -> None:
    job, (first, second) = predicted(desk, count=2)
    put = desk.archive.put

    def cancel_meanwhile(analysis: Analysis, predictions: Predictions) -> None:
        put(analysis, predictions)
        if analysis.id == first.id:
            desk.store.cancel(first.id, "")

    desk.archive.put = cancel_meanwhile  # type: ignore[method-assign]
    judge_job(desk.ports, job)

    assert get(desk.ports, first.id).state is State.CANCELLED
    assert get(desk.ports, second.id).state is State.SUCCEEDED
    assert [item.id for item in desk.archive.list()] == [second.id]
    assert [item.id for item in desk.ended] == [second.id]


def test_images_that_are_missing_are_named_and_too_many_fail_the_analysis(desk: Desk) -> None:
    for count, state in ((2, State.SUCCEEDED), (3, State.FAILED)):  # of 20, of which a tenth may be missing
        desk.sent.clear()
        waiting = submit(desk.ports, AnalysisRequest("demo", MODEL, fresh=True))
        ((job, shards),) = desk.sent
        missing = count
        for shard in range(shards):
            start, stop = desk.store.job(job).spec.bounds(shard)
            top1 = np.full(stop - start, 7, dtype=np.int16)
            top1[: min(missing, len(top1))] = -1
            missing -= min(missing, len(top1))
            fencing_token = desk.store.claim(job, shard, "w1", 20.0).fencing_token
            desk.store.finish_shard(job, shard, fencing_token, ShardResult(Predictions(top1), INFO))

        judge_job(desk.ports, job)

        result = get(desk.ports, waiting.id)
        told = result.warnings[0] if state is State.SUCCEEDED else result.failure.message
        assert result.state is state
        assert told.startswith(f"{count} of 20 images are missing or damaged: imagenet_00_")


def test_another_version_of_the_workers_packages_is_another_computation(desk: Desk) -> None:
    """Given predictions by one version of timm, where a name may mean other weights by now, they aren't served."""
    job, _ = predicted(desk)
    judge_job(desk.ports, job)
    assert submit(desk.ports, AnalysisRequest("demo", MODEL)).cached

    desk.runtime = "timm 1.1"

    assert not submit(desk.ports, AnalysisRequest("demo", MODEL)).cached


def test_a_store_that_is_away_is_waited_for_before_it_is_asked_to_come_back(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a Redis that goes away while a job is judged, the message can be queued again once it is back."""
    monkeypatch.setattr(judge, "LOOK_SECONDS", 0.001)
    job, (analysis,) = predicted(desk)
    looks = iter([False, False, True])
    finish = desk.store.finish

    def away(*_: object) -> bool:
        raise Unavailable("Redis can't be used")

    desk.store.finish = away  # type: ignore[method-assign]
    desk.store.ping = lambda: next(looks)  # type: ignore[method-assign]
    with pytest.raises(RetryLater):
        judge_job(desk.ports, job)
    assert next(looks, None) is None  # it looked until it was there

    desk.store.finish = finish  # type: ignore[method-assign]
    judge_job(desk.ports, job)
    assert get(desk.ports, analysis.id).state is State.SUCCEEDED
    assert [item.id for item in desk.ended] == [analysis.id]


def test_a_known_result_is_found_without_listing_the_archive(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    job, (first,) = predicted(desk)
    judge_job(desk.ports, job)

    def listed() -> list[Analysis]:
        raise AssertionError("the archive was listed")

    monkeypatch.setattr(desk.archive, "list", listed)
    assert submit(desk.ports, AnalysisRequest("demo", MODEL)).cached
    monkeypatch.undo()

    desk.archive.delete(first.id)  # what the store knows is gone: another one of the same computation answers
    assert submit(desk.ports, AnalysisRequest("demo", MODEL)).cached
