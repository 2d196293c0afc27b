"""Judging a job: the results of its analyses, an unavailable archive, and internal errors."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from errata.errors import AnalysisNotFound, DamagedRecord, NewerRecord, PermanentError, Unavailable

from service.analyses import judge, lifecycle
from service.analyses import submit as submitting
from service.analyses.judge import MAX_ATTEMPTS, digest_predictions, judge_job, notify_job_failed
from service.analyses.queries import get
from service.analyses.submit import submit
from service.archive.port import OutcomeUnknown
from service.domain import NO_PREDICTION, Analysis, AnalysisRequest, Failure, ModelInfo, Predictions, State
from service.jobs import transitions
from service.jobs.transitions import FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS, Job, ShardResult
from service.jobs.worker import RetryLater

from .conftest import MODEL, Backend

INFO = ModelInfo(MODEL, "net", "0" * 64, "none")


def predict_job(backend: Backend, count: int = 1, predicted: int = 7) -> tuple[str, list[Analysis]]:
    """Submit analyses that share a job, and predict one class for every image; return the job and the analyses."""
    analyses = [
        submit(backend.ports, AnalysisRequest("demo", MODEL, request_id=f"r{number}")) for number in range(count)
    ]
    ((job, shards),) = backend.sent
    for shard in range(shards):
        start, stop = backend.store.job(job).spec.bounds(shard)
        fencing_token = backend.store.change_shard(transitions.claim, job, shard, "w1", 20.0).fencing_token
        result = ShardResult(Predictions(np.full(stop - start, predicted, dtype=np.int16)), INFO)
        backend.store.change_shard(transitions.finish, job, shard, fencing_token, result)
    return job, analyses


def test_each_analysis_of_a_job_gets_the_result(backend: Backend) -> None:
    job, analyses = predict_job(backend, count=3)

    judge_job(backend.ports, job)

    for analysis in analyses:
        result = get(backend.ports.stores, analysis.id)
        assert result.state is State.SUCCEEDED
        assert result.model_info == INFO
        assert result.summary.groups["all"].num_samples == 20
        assert backend.archive.predictions(analysis.id).top1.tolist() == [7] * 20
    assert sorted(analysis.id for analysis in backend.finished) == sorted(analysis.id for analysis in analyses)
    assert list(backend.store.snapshots()) == []


def test_a_cancelled_analysis_gets_no_result(backend: Backend) -> None:
    job, (first, second) = predict_job(backend, count=2)
    backend.store.cancel(first.id, "")

    judge_job(backend.ports, job)

    assert get(backend.ports.stores, first.id).state is State.CANCELLED
    assert get(backend.ports.stores, second.id).state is State.SUCCEEDED
    assert [analysis.id for analysis in backend.archive.list()] == [second.id]


def test_judging_twice_changes_nothing(backend: Backend) -> None:
    job, (analysis,) = predict_job(backend)
    judge_job(backend.ports, job)
    before = get(backend.ports.stores, analysis.id)

    judge_job(backend.ports, job)
    judge_job(backend.ports, "no-such-job")

    assert get(backend.ports.stores, analysis.id) == before
    assert backend.archive.num_writes == 1


def test_a_job_of_a_newer_version_is_retried_later(backend: Backend) -> None:
    job, _ = predict_job(backend)
    before = backend.store.job(job)
    backend.store.run(lambda tx: tx.write("HSET", f"errata:job:{job}", "spec", '{"schema": 999}'))

    with pytest.raises(RetryLater) as later:
        judge_job(backend.ports, job)

    assert later.value.seconds == FIRST_RETRY_SECONDS
    assert backend.archive.num_writes == 0
    newer = backend.store.run(lambda tx: tx.job(job))
    assert before is not None
    assert newer is not None
    assert newer.judging_sent >= before.judging_sent + FIRST_RETRY_SECONDS


def test_a_damaged_job_fails_after_the_last_attempt(backend: Backend) -> None:
    job, (analysis,) = predict_job(backend)
    read = backend.store.job

    def refuse(job_id: str) -> Job | None:
        raise DamagedRecord("the job is damaged")

    backend.store.job = refuse
    for _ in range(MAX_ATTEMPTS - 1):
        with pytest.raises(RetryLater):
            judge_job(backend.ports, job)
    judge_job(backend.ports, job)
    backend.store.job = read

    result = get(backend.ports.stores, analysis.id)
    assert (result.state, result.failure.message) == (State.FAILED, "the job is damaged")


@pytest.mark.parametrize("field", ["entry", "state"])
def test_a_damaged_record_fails_without_the_other_analyses_of_its_job(backend: Backend, field: str) -> None:
    job, analyses = predict_job(backend, count=3)
    first, damaged, last = sorted(analysis.id for analysis in analyses)
    backend.store.run(lambda tx: tx.write("HSET", f"errata:analysis:{damaged}", field, "{"))

    judge_job(backend.ports, job)

    assert [get(backend.ports.stores, id).state for id in (first, last)] == [State.SUCCEEDED] * 2
    assert sorted(analysis.id for analysis in backend.finished) == [first, last]
    record = backend.store.run(lambda tx: tx.record(damaged))
    assert record is not None
    assert record.failure is not None
    assert (record.state, record.failure.reason) == (State.FAILED, "DAMAGED_RECORD")
    assert backend.store.depth().queued_analyses + backend.store.depth().running_analyses == 0


def test_a_damaged_record_does_not_hide_the_failures_of_the_other_analyses(backend: Backend) -> None:
    job, analyses = predict_job(backend, count=3, predicted=NO_PREDICTION)
    first, damaged, last = sorted(analysis.id for analysis in analyses)
    backend.store.run(lambda tx: tx.write("HSET", f"errata:analysis:{damaged}", "entry", "{"))

    judge_job(backend.ports, job)

    assert sorted(analysis.id for analysis in backend.finished) == [first, last]
    assert {analysis.state for analysis in backend.finished} == {State.FAILED}


def test_an_unavailable_archive_is_retried_with_growing_delays(backend: Backend) -> None:
    job, (analysis,) = predict_job(backend)
    backend.archive.errors = [Unavailable("the disk is full")] * (MAX_ATTEMPTS - 1)

    delays = []
    for _ in range(MAX_ATTEMPTS - 1):
        with pytest.raises(RetryLater) as later:
            judge_job(backend.ports, job)
        delays.append(later.value.seconds)
        assert not get(backend.ports.stores, analysis.id).state.is_final
    judge_job(backend.ports, job)

    assert delays == sorted(delays)
    assert (delays[0], delays[1], delays[-1]) == (FIRST_RETRY_SECONDS, 2 * FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS)
    assert sum(delays) > 4 * 3600  # an archive can be unavailable for a night
    assert get(backend.ports.stores, analysis.id).state is State.SUCCEEDED


def test_an_archive_that_stays_unavailable_fails_the_analysis_with_the_reason(backend: Backend) -> None:
    job, (analysis,) = predict_job(backend)
    backend.archive.errors = [Unavailable("the disk is full")] * 2 * MAX_ATTEMPTS

    for _ in range(MAX_ATTEMPTS - 1):
        with pytest.raises(RetryLater):
            judge_job(backend.ports, job)
    judge_job(backend.ports, job)
    judge_job(backend.ports, job)

    result = get(backend.ports.stores, analysis.id)
    assert backend.archive.num_writes == MAX_ATTEMPTS
    assert result.state is State.FAILED
    assert (result.failure.reason, result.failure.message) == (Unavailable.reason, "the disk is full")


def test_an_internal_error_fails_the_analysis_without_showing_its_message(backend: Backend) -> None:
    job, analyses = predict_job(backend, count=2)
    backend.archive.errors = [KeyError("/secret/path")]

    judge_job(backend.ports, job)

    for analysis in analyses:
        result = get(backend.ports.stores, analysis.id)
        assert result.state is State.FAILED
        assert result.failure.reason == "INTERNAL"
        assert "secret" not in result.failure.message


def test_the_message_of_a_permanent_error_is_shown(backend: Backend) -> None:
    job, (analysis,) = predict_job(backend)
    backend.archive.errors = [PermanentError("never")]

    judge_job(backend.ports, job)

    assert get(backend.ports.stores, analysis.id).failure.message == "never"


@pytest.mark.parametrize("errors", [[PermanentError("never")], [Unavailable("away"), PermanentError("never")]])
def test_the_archived_analyses_of_a_failed_job_are_counted_as_succeeded(
    backend: Backend, errors: list[Exception]
) -> None:
    job, (first, second) = predict_job(backend, count=2)
    backend.archive.errors = [None, *errors]

    for _ in errors[:-1]:
        with pytest.raises(RetryLater):
            judge_job(backend.ports, job)
    judge_job(backend.ports, job)

    outcomes = [(first.id, State.SUCCEEDED), (second.id, State.FAILED)]
    assert [(analysis.id, analysis.state) for analysis in backend.finished] == outcomes
    assert [(id, get(backend.ports.stores, id).state) for id, _ in outcomes] == outcomes


def test_an_archive_that_fails_after_the_first_of_several_analyses_loses_none(backend: Backend) -> None:
    """Given two analyses and an archive that fails after the first, both have their result in the end."""
    job, analyses = predict_job(backend, count=2)
    backend.archive.errors = [None, Unavailable("away")]

    with pytest.raises(RetryLater):
        judge_job(backend.ports, job)
    judge_job(backend.ports, job)

    assert {get(backend.ports.stores, analysis.id).state for analysis in analyses} == {State.SUCCEEDED}
    assert sorted(analysis.id for analysis in backend.archive.list()) == sorted(analysis.id for analysis in analyses)


def test_the_digest_of_predictions_covers_all_their_arrays() -> None:
    top1 = np.arange(4, dtype=np.int16)
    half = np.full(4, 0.5, dtype=np.float16)
    variants = [
        Predictions(top1),
        Predictions(top1[::-1]),
        Predictions(top1, half),
        Predictions(top1, None, top1),
        Predictions(top1, half, top1),
        Predictions(top1, half, top1[::-1]),
    ]

    assert len({digest_predictions(variant) for variant in variants}) == len(variants)
    assert digest_predictions(Predictions(top1[::-1][::-1])) == digest_predictions(variants[0])


def test_shards_of_different_weights_are_never_one_result(backend: Backend) -> None:
    """Given weights that were replaced between two shards, the analysis fails with a message about it."""
    analysis = submit(backend.ports, AnalysisRequest("demo", MODEL))
    ((job, shards),) = backend.sent
    for shard in range(shards):
        start, stop = backend.store.job(job).spec.bounds(shard)
        fencing_token = backend.store.change_shard(transitions.claim, job, shard, "w1", 20.0).fencing_token
        info = replace(INFO, weights_sha256=f"{shard}" * 64)
        backend.store.change_shard(
            transitions.finish,
            job,
            shard,
            fencing_token,
            ShardResult(Predictions(np.zeros(stop - start, dtype=np.int16)), info),
        )

    judge_job(backend.ports, job)

    result = get(backend.ports.stores, analysis.id)
    assert result.state is State.FAILED
    assert "weights changed" in result.failure.message
    assert list(backend.archive.list()) == []


def test_an_analysis_cannot_be_cancelled_while_it_is_archived(backend: Backend) -> None:
    """Otherwise, a caller could see the result of an analysis that is canceled afterwards."""
    job, (first, second) = predict_job(backend, count=2)
    put = backend.archive.put

    def cancel_meanwhile(analysis: Analysis, predictions: Predictions) -> None:
        for open_analysis in {first.id: [first, second], second.id: [second]}[analysis.id]:
            with pytest.raises(Unavailable, match="may be archived already"):
                lifecycle.cancel(backend.ports, open_analysis.id)
        put(analysis, predictions)

    backend.archive.put = cancel_meanwhile  # type: ignore[method-assign]
    judge_job(backend.ports, job)

    for analysis in (first, second):
        assert lifecycle.cancel(backend.ports, analysis.id) == backend.archive.get(analysis.id)
    assert [analysis.id for analysis in backend.finished] == [first.id, second.id]


def test_a_cancellation_returns_an_archived_analysis_once_it_has_ended_for_readers(backend: Backend) -> None:
    """The judge writes the analysis to the archive, and then to the index."""
    job, (analysis,) = predict_job(backend)

    def put(archived: Analysis, predictions: Predictions) -> None:
        backend.archive.stored.put(archived, predictions)
        with pytest.raises(lifecycle.BeingArchived):
            lifecycle.cancel(backend.ports, analysis.id)
        assert get(backend.ports.stores, analysis.id).state is State.RUNNING

    backend.archive.put = put  # type: ignore[method-assign, assignment]
    judge_job(backend.ports, job)

    assert [analysis.state for analysis in backend.finished] == [State.SUCCEEDED]
    assert lifecycle.cancel(backend.ports, analysis.id) == get(backend.ports.stores, analysis.id)


def test_an_analysis_can_be_cancelled_while_its_job_waits_for_the_archive(backend: Backend) -> None:
    job, (analysis,) = predict_job(backend)
    put = backend.archive.put

    def fail(*_: object) -> None:
        raise Unavailable("The archive is unavailable.")

    backend.archive.put = fail  # type: ignore[method-assign, assignment]
    with pytest.raises(RetryLater):
        judge_job(backend.ports, job)

    assert lifecycle.cancel(backend.ports, analysis.id).state is State.CANCELLED
    backend.archive.put = put  # type: ignore[method-assign]
    judge_job(backend.ports, job)
    assert list(backend.archive.list()) == []


def test_an_analysis_cannot_be_cancelled_between_its_check_and_its_write(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, analyses = predict_job(backend, count=2)
    find = backend.archive.get

    def cancel_meanwhile(analysis_id: str) -> Analysis | None:
        with monkeypatch.context() as patch:
            patch.setattr(backend.archive, "get", find)
            with pytest.raises(Unavailable, match="may be archived already"):
                lifecycle.cancel(backend.ports, analysis_id)
        return find(analysis_id)

    monkeypatch.setattr(backend.archive, "get", cancel_meanwhile)
    judge_job(backend.ports, job)

    assert [analysis.id for analysis in backend.finished] == [analysis.id for analysis in analyses]


@pytest.mark.parametrize("count", [1, 2])
def test_an_analysis_that_may_have_been_archived_cannot_be_cancelled(backend: Backend, count: int) -> None:
    """Not after the next attempts either, and not until another analysis of its job is archived."""
    job, (analysis, *_) = predict_job(backend, count=count)
    unavailable = Unavailable("The archive is unavailable.")
    backend.archive.errors = [OutcomeUnknown("The analysis may have been stored."), unavailable, unavailable]

    for _ in range(3):
        with pytest.raises(RetryLater):
            judge_job(backend.ports, job)
        backend.now += 3600
        with pytest.raises(lifecycle.BeingArchived):
            lifecycle.cancel(backend.ports, analysis.id)


def test_an_archived_analysis_stays_so_while_another_one_waits_for_the_archive(backend: Backend) -> None:
    job, (first, second) = predict_job(backend, count=2)
    put, get_archived = backend.archive.put, backend.archive.get

    def put_first(analysis: Analysis, predictions: Predictions) -> None:
        if analysis.id == second.id:
            raise Unavailable("The archive is unavailable.")
        put(analysis, predictions)

    backend.archive.put = put_first  # type: ignore[method-assign]
    with pytest.raises(RetryLater):
        judge_job(backend.ports, job)
    backend.archive.get = lambda _: None  # type: ignore[method-assign]  # a cancellation that has checked it before
    with pytest.raises(lifecycle.BeingArchived):
        lifecycle.cancel(backend.ports, first.id)

    backend.archive.get, backend.archive.put = get_archived, put  # type: ignore[method-assign]
    judge_job(backend.ports, job)
    assert [lifecycle.cancel(backend.ports, analysis.id).state for analysis in (first, second)] == [State.SUCCEEDED] * 2


def test_a_judge_stops_before_its_next_write_if_another_one_has_begun(backend: Backend) -> None:
    job, (first, second) = predict_job(backend, count=2)
    put = backend.archive.put

    def claim_meanwhile(analysis: Analysis, predictions: Predictions) -> None:
        backend.store.change_job(transitions.claim_judging, job)
        put(analysis, predictions)

    backend.archive.put = claim_meanwhile  # type: ignore[method-assign]
    judge_job(backend.ports, job)

    assert [analysis.id for analysis in backend.archive.list()] == [first.id]
    assert backend.finished == []
    backend.archive.put = put  # type: ignore[method-assign]
    judge_job(backend.ports, job)
    assert [analysis.id for analysis in backend.finished] == [first.id, second.id]


def test_the_analyses_of_a_failed_job_are_counted(backend: Backend) -> None:
    """Given a worker, whose observer counts the analyses."""
    analyses = [submit(backend.ports, AnalysisRequest("demo", MODEL, request_id=f"r{number}")) for number in range(3)]
    ((job, _),) = backend.sent
    fencing_token = backend.store.change_shard(transitions.claim, job, 0, "w1", 20.0).fencing_token
    backend.store.change_shard(transitions.fail, job, 0, fencing_token, Failure("MODEL_REFUSED", "too large"))

    notify_job_failed(backend.store, backend.ports.observer, job)

    assert [analysis.id for analysis in backend.finished] == sorted(analysis.id for analysis in analyses)
    assert {analysis.state for analysis in backend.finished} == {State.FAILED}


def test_the_analyses_of_a_failed_job_are_counted_although_the_archived_record_of_one_is_newer(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a newer version that archived a result and was rolled back, and a job that then fails."""
    monkeypatch.setattr(judge, "MAX_ATTEMPTS", 1)
    job, analyses = predict_job(backend, count=3)
    analysis_ids = sorted(analysis.id for analysis in analyses)

    def read(analysis_id: str) -> None:
        if analysis_id == analysis_ids[0]:
            raise NewerRecord("A newer version wrote the record.")

    monkeypatch.setattr(backend.archive, "get", read)
    judge_job(backend.ports, job)

    assert [analysis.id for analysis in backend.finished] == analysis_ids


@pytest.mark.parametrize("num_written", [0, 1])
def test_an_analysis_stays_archived_after_its_judge_is_killed(backend: Backend, num_written: int) -> None:
    """A cancellation that cannot read the archive does not know what the judge has written, even much later."""
    job, (first, second) = predict_job(backend, count=2)
    put, get_archived = backend.archive.put, backend.archive.get

    def put_and_die(analysis: Analysis, predictions: Predictions) -> None:
        if num_written:
            put(analysis, predictions)
        raise KeyboardInterrupt

    backend.archive.put = put_and_die  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        judge_job(backend.ports, job)
    backend.now += 3600
    backend.archive.get = lambda _: None  # type: ignore[method-assign]
    with pytest.raises(lifecycle.BeingArchived):
        lifecycle.cancel(backend.ports, first.id)

    backend.archive.get, backend.archive.put = get_archived, put  # type: ignore[method-assign]
    judge_job(backend.ports, job)
    assert [(analysis.id, analysis.state) for analysis in backend.finished] == [
        (first.id, State.SUCCEEDED),
        (second.id, State.SUCCEEDED),
    ]


@pytest.mark.parametrize("count", [1, 2])
def test_an_analysis_that_is_deleted_before_its_job_ends_stays_deleted(backend: Backend, count: int) -> None:
    job, (first, *others) = predict_job(backend, count)
    put = backend.archive.put

    def delete_meanwhile(analysis: Analysis, predictions: Predictions) -> None:
        put(analysis, predictions)
        if analysis.id == first.id:
            lifecycle.delete(backend.ports.stores, first.id)

    backend.archive.put = delete_meanwhile  # type: ignore[method-assign]
    judge_job(backend.ports, job)

    with pytest.raises(AnalysisNotFound):
        get(backend.ports.stores, first.id)
    assert [analysis.id for analysis in backend.archive.list()] == [analysis.id for analysis in others]
    assert [analysis.id for analysis in backend.finished] == [analysis.id for analysis in others]


def test_an_analysis_that_is_retried_while_it_is_deleted_stays_deleted(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, (analysis,) = predict_job(backend)
    fencing_token = backend.store.change_job(transitions.claim_judging, job).judging_token
    backend.store.change_job(transitions.finish_judging, job, fencing_token, Failure("UNAVAILABLE", "no archive"))
    cancel = backend.store.cancel

    def retry_after(*arguments: Any, **options: Any) -> bool | None:
        monkeypatch.setattr(backend.store, "cancel", cancel)
        is_canceled = cancel(*arguments, **options)
        lifecycle.retry(backend.ports, analysis.id)
        return is_canceled

    monkeypatch.setattr(backend.store, "cancel", retry_after)
    lifecycle.delete(backend.ports.stores, analysis.id)

    with pytest.raises(AnalysisNotFound):
        get(backend.ports.stores, analysis.id)
    assert list(backend.store.snapshots()) == []


def test_a_result_stays_archived_if_another_process_finishes_the_job_meanwhile(backend: Backend) -> None:
    job, (analysis,) = predict_job(backend)
    put = backend.archive.put

    def judge_meanwhile(analysis: Analysis, predictions: Predictions) -> None:
        backend.archive.put = put  # type: ignore[method-assign]
        judge_job(backend.ports, job)
        put(analysis, predictions)

    backend.archive.put = judge_meanwhile  # type: ignore[method-assign]
    judge_job(backend.ports, job)

    assert get(backend.ports.stores, analysis.id).state is State.SUCCEEDED
    assert [analysis.id for analysis in backend.finished] == [analysis.id]


def test_missing_images_are_named_and_too_many_fail_the_analysis(backend: Backend) -> None:
    for count, state in ((2, State.SUCCEEDED), (3, State.FAILED)):  # of 20 images; the limit is 10 %
        backend.sent.clear()
        analysis = submit(backend.ports, AnalysisRequest("demo", MODEL, fresh=True))
        ((job, shards),) = backend.sent
        missing = count
        for shard in range(shards):
            start, stop = backend.store.job(job).spec.bounds(shard)
            top1 = np.full(stop - start, 7, dtype=np.int16)
            top1[: min(missing, len(top1))] = -1
            missing -= min(missing, len(top1))
            fencing_token = backend.store.change_shard(transitions.claim, job, shard, "w1", 20.0).fencing_token
            backend.store.change_shard(
                transitions.finish, job, shard, fencing_token, ShardResult(Predictions(top1), INFO)
            )

        judge_job(backend.ports, job)

        result = get(backend.ports.stores, analysis.id)
        message = result.warnings[0] if state is State.SUCCEEDED else result.failure.message
        assert result.state is state
        assert message.startswith(f"{count} of 20 images are missing or damaged: imagenet_00_")


def test_another_version_of_the_workers_packages_is_another_computation(backend: Backend) -> None:
    """Given predictions of one version of timm, another version does not reuse them: its weights can differ."""
    job, _ = predict_job(backend)
    judge_job(backend.ports, job)
    assert submit(backend.ports, AnalysisRequest("demo", MODEL)).cached

    backend.runtime = "timm 1.1"

    assert not submit(backend.ports, AnalysisRequest("demo", MODEL)).cached


def test_an_unavailable_store_is_awaited_before_the_message_is_retried(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a Redis that fails while a job is judged, the message is queued again only when Redis answers."""
    monkeypatch.setattr(judge, "POLL_SECONDS", 0.001)
    job, (analysis,) = predict_job(backend)
    pings = iter([False, False, True])
    change_job = backend.store.change_job

    def fail_to_finish(transition: Callable[..., Any], *arguments: Any) -> Any:
        if transition is transitions.finish_judging:
            raise Unavailable("Redis is unavailable")
        return change_job(transition, *arguments)

    backend.store.change_job = fail_to_finish  # type: ignore[method-assign]
    backend.store.ping = lambda: next(pings)  # type: ignore[method-assign]
    with pytest.raises(RetryLater):
        judge_job(backend.ports, job)
    assert next(pings, None) is None  # it waited for the store

    backend.store.change_job = change_job  # type: ignore[method-assign]
    judge_job(backend.ports, job)
    assert get(backend.ports.stores, analysis.id).state is State.SUCCEEDED
    assert [analysis.id for analysis in backend.finished] == [analysis.id]


def test_a_cached_result_is_found_without_a_search(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    job, (first,) = predict_job(backend)
    judge_job(backend.ports, job)

    def fail_to_find(*_: object) -> list[Analysis]:
        raise AssertionError("the index was searched")

    monkeypatch.setattr(backend.archive.index, "find", fail_to_find)
    assert submit(backend.ports, AnalysisRequest("demo", MODEL)).cached
    monkeypatch.undo()

    backend.archive.delete(first.id)  # the cached analysis is gone: another one of the same computation is used
    assert submit(backend.ports, AnalysisRequest("demo", MODEL)).cached


@pytest.mark.parametrize("predicted", [1000, 32_766])
def test_classes_that_the_label_space_does_not_have_fail_the_analysis(backend: Backend, predicted: int) -> None:
    job, (analysis,) = predict_job(backend, predicted=predicted)

    judge_job(backend.ports, job)

    failure = get(backend.ports.stores, analysis.id).failure
    assert failure.message.startswith(
        f"The predictions have class {predicted}, but label space 'imagenet-1k' has the classes 0 to 999."
    )


def test_predictions_for_other_classes_fail_the_analysis(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job for other classes than those of its bundle, in range."""
    build = submitting.build_job_spec
    monkeypatch.setattr(submitting, "build_job_spec", lambda *arguments: replace(build(*arguments), classes="c" * 64))
    job, (analysis,) = predict_job(backend)

    judge_job(backend.ports, job)

    failure = get(backend.ports.stores, analysis.id).failure
    assert "The predictions are for other classes than those of bundle" in failure.message
    assert "Run the model again." in failure.message
