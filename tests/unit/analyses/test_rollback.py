"""A job store restored from an older state has archived analyses as open: they stay finished with their results."""

from dataclasses import replace

import numpy as np
import pytest
from analyses_strategy import make_summary
from errata.errors import AnalysisNotFound

from service.analyses import queries
from service.analyses.judge import judge_job
from service.analyses.lifecycle import cancel, delete
from service.domain import NEWEST_FIRST, Analysis, AnalysisFilter, Predictions, Progress, State

from .conftest import Backend
from .test_judge import predict_job


@pytest.fixture
def rolled_back(backend: Backend) -> tuple[Backend, str, Analysis]:
    """Return a backend whose store has a predicted job of an analysis that is archived with other predictions."""
    job, (open_analysis,) = predict_job(backend)
    summary, warnings = make_summary(0.5, 7), ("of the first run",)
    finished = replace(
        open_analysis, state=State.SUCCEEDED, progress=Progress(20, 20), summary=summary, warnings=warnings
    )
    backend.archive.put(finished, Predictions(np.full(20, 3, dtype=np.int16)))
    return backend, job, finished


def check_first_run_is_archived(backend: Backend, finished: Analysis) -> None:
    """Check that the archive has the result of the first run, with its predictions."""
    assert backend.archive.list() == [finished]
    predictions = backend.archive.predictions(finished.id)
    assert predictions is not None
    assert set(predictions.top1.tolist()) == {3}


def test_get_and_list_return_the_archived_analysis(rolled_back: tuple[Backend, str, Analysis]) -> None:
    backend, _, finished = rolled_back

    assert queries.get(backend.ports.stores, finished.id) == finished
    page = queries.list_analyses(backend.ports.stores, AnalysisFilter(), NEWEST_FIRST, None, 10)
    assert [(item.id, item.state, item.warnings) for item in page.analyses] == [
        (finished.id, State.SUCCEEDED, finished.warnings)
    ]
    assert page.next is None
    assert queries.count_analyses(backend.ports.stores, AnalysisFilter(), NEWEST_FIRST) == 1


def test_cancel_returns_the_finished_analysis_without_a_change(rolled_back: tuple[Backend, str, Analysis]) -> None:
    backend, job, finished = rolled_back

    assert cancel(backend.ports, finished.id) == finished

    judge_job(backend.ports, job)
    assert cancel(backend.ports, finished.id) == finished
    check_first_run_is_archived(backend, finished)


def test_a_job_that_runs_again_keeps_the_archived_result(rolled_back: tuple[Backend, str, Analysis]) -> None:
    backend, job, finished = rolled_back

    judge_job(backend.ports, job)

    check_first_run_is_archived(backend, finished)
    assert list(backend.store.snapshots()) == []


def test_a_cancellation_in_the_store_deletes_no_archived_result(rolled_back: tuple[Backend, str, Analysis]) -> None:
    backend, job, finished = rolled_back
    backend.store.cancel(finished.id, "by an older version")

    judge_job(backend.ports, job)

    check_first_run_is_archived(backend, finished)
    assert queries.get(backend.ports.stores, finished.id) == finished


def test_a_deleted_analysis_stays_deleted_when_its_job_runs_again(
    rolled_back: tuple[Backend, str, Analysis],
) -> None:
    backend, job, finished = rolled_back
    delete(backend.ports.stores, finished.id)

    judge_job(backend.ports, job)

    with pytest.raises(AnalysisNotFound):
        queries.get(backend.ports.stores, finished.id)
    assert list(backend.archive.list()) == []
