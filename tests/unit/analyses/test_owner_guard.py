"""Guarded stores: what exists for a restricted caller, and for tasks of the service."""

from datetime import UTC, datetime

import numpy as np
import pytest
from analyses_strategy import make_analysis
from errata.errors import AlreadyExists
from indexed_archive import temporary_files

from service.analyses.owner_guard import GuardedArchive, acting_for
from service.analyses.ports import Ports
from service.analyses.submit import build_job_spec, submit
from service.analyses.upload import JUDGING_SECONDS
from service.archive.archive import FileArchive
from service.caller import restricted_to, visible_owner
from service.domain import Analysis, AnalysisRequest, Predictions, State

from .conftest import MODEL, Backend

OWNERS = ["alice", "bob", "registry:prod", ""]


@pytest.fixture
def archive() -> FileArchive:
    stored = FileArchive(temporary_files())
    for number, owner in enumerate(OWNERS):
        created = datetime(2026, 1, 1, tzinfo=UTC)
        analysis = Analysis(f"a{number}", AnalysisRequest("demo"), State.FAILED, "e" * 64, created, owner=owner)
        stored.put(analysis, Predictions(np.zeros(3, dtype=np.int16)))
    return stored


def list_visible(archive: GuardedArchive) -> set[str]:
    return {f"a{number}" for number in range(len(OWNERS)) if archive.get(f"a{number}") is not None}


@pytest.mark.parametrize("number", range(len(OWNERS)))
def test_only_the_analyses_of_the_owner_exist(archive: FileArchive, number: int) -> None:
    guarded = GuardedArchive(archive)
    name, others = f"a{number}", {f"a{other}" for other in range(len(OWNERS))} - {f"a{number}"}

    with restricted_to(OWNERS[number]):
        assert list_visible(guarded) == {name}
        assert guarded.predictions(name) is not None
        for other in others:
            assert guarded.predictions(other) is None
            assert not guarded.delete(other)
        assert guarded.delete(name)

    assert list_visible(guarded) == archive.ids() == others


def test_a_task_of_the_service_sees_all_analyses(archive: FileArchive) -> None:
    assert visible_owner() is None
    assert list_visible(GuardedArchive(archive)) == archive.ids()


def test_a_registry_sees_its_own_analyses_if_owners_are_isolated(archive: FileArchive) -> None:
    guarded = GuardedArchive(archive)

    with acting_for(guarded, "registry:prod"):
        assert list_visible(guarded) == {"a2"}
    with acting_for(archive, "registry:prod"):
        assert visible_owner() is None
    assert visible_owner() is None


def test_a_request_id_of_an_open_analysis_of_another_owner_is_not_released(backend: Backend, isolated: Ports) -> None:
    """Given a long analysis of alice, bob cannot use its request ID, although his archive has the predictions."""
    request = AnalysisRequest("demo", MODEL, request_id="r")
    spec = build_job_spec(isolated, request)
    bobs = make_analysis("b1", owner="bob", computation=spec.computation)
    backend.archive.put(bobs, Predictions(np.full(spec.total, 7, dtype=np.int16)))
    with restricted_to("alice"):
        opened = submit(isolated, request, "alice")
    backend.now += JUDGING_SECONDS

    with restricted_to("bob"), pytest.raises(AlreadyExists, match="or by another caller"):
        submit(isolated, request, "bob")

    with restricted_to("alice"):
        assert submit(isolated, request, "alice").id == opened.id
