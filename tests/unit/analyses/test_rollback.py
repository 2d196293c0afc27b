"""A job store restored from an older state has archived analyses as open: they stay finished with their results."""

from dataclasses import replace

import numpy as np
import pytest
from errata.errors import AnalysisNotFound

from service.analyses import queries
from service.analyses.judge import judge_job
from service.analyses.queries import AnalysisFilter
from service.domain import Analysis, Predictions, State

from .conftest import Desk
from .test_judge import predict_job


@pytest.fixture
def rolled_back(desk: Desk) -> tuple[Desk, str, Analysis]:
    """Return a desk whose store has a predicted job of an analysis that is archived with other predictions."""
    job, (open_analysis,) = predict_job(desk)
    finished = replace(open_analysis, state=State.SUCCEEDED, warnings=("of the first run",))
    desk.archive.put(finished, Predictions(np.full(20, 3, dtype=np.int16)))
    return desk, job, finished


def check_first_run_is_archived(desk: Desk, finished: Analysis) -> None:
    """Check that the archive has the result of the first run, with its predictions."""
    assert desk.archive.list() == [finished]
    predictions = desk.archive.predictions(finished.id)
    assert predictions is not None
    assert set(predictions.top1.tolist()) == {3}


def test_get_and_list_return_the_archived_analysis(rolled_back: tuple[Desk, str, Analysis]) -> None:
    desk, _, finished = rolled_back

    assert queries.get(desk.ports, finished.id) == finished
    assert queries.list_analyses(desk.ports, AnalysisFilter(), "") == [finished]


def test_cancel_returns_the_finished_analysis_without_a_change(rolled_back: tuple[Desk, str, Analysis]) -> None:
    desk, job, finished = rolled_back

    assert queries.cancel(desk.ports, finished.id) == finished

    judge_job(desk.ports, job)
    assert queries.cancel(desk.ports, finished.id) == finished
    check_first_run_is_archived(desk, finished)


def test_a_job_that_runs_again_keeps_the_archived_result(rolled_back: tuple[Desk, str, Analysis]) -> None:
    desk, job, finished = rolled_back

    judge_job(desk.ports, job)

    check_first_run_is_archived(desk, finished)
    assert list(desk.store.records()) == []


def test_a_cancellation_in_the_store_deletes_no_archived_result(rolled_back: tuple[Desk, str, Analysis]) -> None:
    desk, job, finished = rolled_back
    desk.store.cancel(finished.id, "by an older version")

    judge_job(desk.ports, job)

    check_first_run_is_archived(desk, finished)
    assert queries.get(desk.ports, finished.id) == finished


def test_a_deleted_analysis_does_not_come_back_when_its_job_runs_again(rolled_back: tuple[Desk, str, Analysis]) -> None:
    desk, job, finished = rolled_back
    queries.delete(desk.ports, finished.id)

    judge_job(desk.ports, job)

    with pytest.raises(AnalysisNotFound):
        queries.get(desk.ports, finished.id)
    assert list(desk.archive.list()) == []
