"""Reanalyze: archived predictions are judged again as a new analysis; a failure leaves nothing behind."""

import io
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from errata.errors import AlreadyExists, AnalysisNotFound, NotReady, TooBusy, Unavailable

from service.analyses.reanalyze import reanalyze
from service.analyses.upload import upload
from service.domain import Analysis, AnalysisRequest, Predictions, State
from service.evidence.bundle import Bundle

from .conftest import Backend


@pytest.fixture
def before(backend: Backend, demo: Bundle) -> Analysis:
    rows = "".join(f"{name},7\n" for name in demo.judged_names)
    return upload(
        backend.ports, AnalysisRequest("demo", labels={"k": "v"}), io.BytesIO(f"file_name,top1\n{rows}".encode())
    )


def test_the_result_is_a_new_analysis_with_the_same_predictions(backend: Backend, before: Analysis) -> None:
    after = reanalyze(backend.ports, before.id, before.evidence[:9], owner="me")

    assert after.id != before.id
    assert after.create_time > before.create_time
    assert (after.owner, after.request.labels) == ("me", {"k": "v"})
    assert (after.summary, after.predictions_digest) == (before.summary, before.predictions_digest)
    assert backend.archive.get(after.id) == after
    assert backend.archive.predictions(after.id).top1.tolist() == [7] * 20
    assert [analysis.id for analysis in backend.finished] == [before.id, after.id]


def test_the_same_request_is_judged_once_and_another_body_is_rejected(backend: Backend, before: Analysis) -> None:
    first = reanalyze(backend.ports, before.id, "", "r")

    assert reanalyze(backend.ports, before.id, "", "r") == first
    with pytest.raises(AlreadyExists):
        reanalyze(backend.ports, before.id, before.evidence, "r")
    with pytest.raises(AlreadyExists):
        reanalyze(backend.ports, first.id, "", "r")
    assert len(backend.archive.list()) == 2


def test_the_request_id_of_an_open_request_is_rejected(backend: Backend, before: Analysis) -> None:
    backend.store.reserve("r", "the body of an upload that is being judged", "u1")

    with pytest.raises(AlreadyExists):
        reanalyze(backend.ports, before.id, "", "r")


def test_a_request_can_be_repeated_after_the_archive_was_unavailable(backend: Backend, before: Analysis) -> None:
    backend.archive.errors = [Unavailable("the disk is full")]
    with pytest.raises(Unavailable):
        reanalyze(backend.ports, before.id, "", "r")
    assert [analysis.id for analysis in backend.archive.list()] == [before.id]

    assert reanalyze(backend.ports, before.id, "", "r").state is State.SUCCEEDED


def test_a_full_archive_rejects_only_new_requests(backend: Backend, before: Analysis) -> None:
    first = reanalyze(backend.ports, before.id, "", "r")
    full = replace(backend.ports, limits=replace(backend.ports.limits, max_stored_bytes=1))

    with pytest.raises(TooBusy, match="ERRATA_MAX_STORED_BYTES"):
        reanalyze(full, before.id, "", "s")

    assert reanalyze(full, before.id, "", "r") == first
    assert reanalyze(backend.ports, before.id, "", "s").request.request_id == "s"
    assert len(backend.archive.list()) == 3


def failed(analysis: Analysis) -> Analysis:
    return replace(analysis, id="failed", state=State.FAILED, summary=None)


@pytest.mark.parametrize(
    ("name", "error"), [("nosuch", AnalysisNotFound), ("failed", NotReady)], ids=["unknown", "failed"]
)
def test_an_analysis_without_predictions_is_rejected(
    backend: Backend, before: Analysis, name: str, error: Callable
) -> None:
    backend.archive.put(failed(before), Predictions(np.zeros(0, dtype=np.int16)))

    with pytest.raises(error):
        reanalyze(backend.ports, name, "")
