"""Uploads and request ids: an id is released if its analysis is not archived or is deleted."""

import io
import re
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

import pytest
import structlog
from errata.errors import AlreadyExists, AnalysisNotFound, InvalidUpload, Unavailable

from service.analyses import upload as use_case
from service.analyses.lifecycle import delete
from service.analyses.request import new_id
from service.analyses.retention import delete_expired
from service.analyses.upload import JUDGING_SECONDS, find_repeated_or_reserve, upload
from service.archive.port import OutcomeUnknown
from service.bootstrap.build import Inputs, build_evidence
from service.domain import Analysis, AnalysisRequest, Summary
from service.evidence.bundle import Bundle
from service.evidence.repository import EvidenceRepository
from service.jobs.transaction import FINISHED_TTL

from .conftest import Backend


@pytest.fixture
def rows(demo: Bundle) -> list[str]:
    return [f"{name},7" for name in demo.judged_names]


def send(backend: Backend, rows: list[str], request_id: str = "r", **fields: Any) -> Analysis:
    content = io.BytesIO(("file_name,top1\n" + "\n".join(rows) + "\n").encode())
    return upload(backend.ports, AnalysisRequest("demo", request_id=request_id, **fields), content)


def test_the_same_request_is_judged_once(backend: Backend, rows: list[str]) -> None:
    first = send(backend, rows)

    assert send(backend, rows) == first
    assert backend.archive.num_writes == 1
    assert [analysis.id for analysis in backend.finished] == [first.id]


@pytest.mark.parametrize("error", [Unavailable("the disk is full"), OSError("oops"), ValueError("a bug")])
def test_an_upload_that_could_not_be_archived_can_be_sent_again(
    backend: Backend, rows: list[str], error: Exception
) -> None:
    backend.archive.errors = [error]
    with structlog.testing.capture_logs() as entries:
        with pytest.raises(type(error)):
            send(backend, rows)

        again = send(backend, rows)

    assert backend.archive.get(again.id) == again
    assert [entry["analysis"] for entry in entries if entry["event"] == "audit"] == [again.id]
    assert [analysis.id for analysis in backend.finished] == [again.id]


@pytest.mark.parametrize("name", ["compute_summary", "check_capacity"])
def test_an_upload_that_fails_before_it_is_archived_can_be_sent_again(
    backend: Backend, rows: list[str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise Unavailable("The archive could not be read.")

    with monkeypatch.context() as patch:
        patch.setattr(use_case, name, fail)
        with pytest.raises(Unavailable, match="could not be read"):
            send(backend, rows)

    assert send(backend, rows).request.request_id == "r"


def test_an_upload_that_may_have_been_archived_is_not_judged_again(
    backend: Backend, rows: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    put = backend.archive.put

    def store_and_fail(*args: Any, **kwargs: Any) -> NoReturn:
        put(*args, **kwargs)
        raise OutcomeUnknown("The analysis may have been stored.")

    with monkeypatch.context() as patch:
        patch.setattr(backend.archive, "put", store_and_fail)
        with pytest.raises(OutcomeUnknown):
            send(backend, rows)
    (stored,) = backend.archive.stored.ids()
    backend.archive.index.remove([stored])  # which the refused request did not change

    assert send(backend, rows).id == stored
    assert backend.archive.stored.ids() == {stored}


@pytest.mark.parametrize(
    ("request_id", "remedy"), [("r", "again with the same request ID"), ("", "List the analyses before")]
)
def test_the_remedy_for_an_upload_that_may_have_been_archived_depends_on_the_request_id(
    backend: Backend, rows: list[str], request_id: str, remedy: str
) -> None:
    backend.archive.errors = [OutcomeUnknown("The analysis may have been stored.", retry_after=10.0)]

    with pytest.raises(OutcomeUnknown, match=rf"may have been stored\. .*{remedy}") as error:
        send(backend, rows, request_id)
    assert error.value.retry_after == 10.0


def test_the_id_of_an_upload_that_was_not_archived_is_released_after_a_time(backend: Backend, rows: list[str]) -> None:
    backend.archive.errors = [OutcomeUnknown("The analysis may have been stored.")]
    with pytest.raises(OutcomeUnknown):
        send(backend, rows)
    with pytest.raises(Unavailable, match="in progress"):
        send(backend, rows)

    backend.now += JUDGING_SECONDS
    assert send(backend, rows).request.request_id == "r"


def test_an_upload_that_could_not_be_archived_binds_its_id_to_no_body(backend: Backend, rows: list[str]) -> None:
    backend.archive.errors = [Unavailable("the disk is full")]
    with pytest.raises(Unavailable):
        send(backend, rows)

    assert send(backend, rows[::-1]).request.request_id == "r"


def test_a_rejected_file_binds_its_id_to_nothing(backend: Backend, rows: list[str]) -> None:
    with pytest.raises(InvalidUpload):
        send(backend, rows[:3], min_coverage=0.99)

    assert send(backend, rows).request.request_id == "r"


def test_deleting_an_analysis_releases_its_id(backend: Backend, rows: list[str]) -> None:
    first = send(backend, rows)
    with pytest.raises(AlreadyExists):
        send(backend, rows[::-1])

    delete(backend.ports.stores, first.id)

    second = send(backend, rows[::-1])
    assert second.id != first.id
    with pytest.raises(AnalysisNotFound):
        delete(backend.ports.stores, first.id)


def test_deleting_an_analysis_releases_no_other_id(backend: Backend, rows: list[str]) -> None:
    first, nameless = send(backend, rows), send(backend, rows, request_id="")

    delete(backend.ports.stores, nameless.id)

    assert send(backend, rows) == first
    with pytest.raises(AlreadyExists):
        send(backend, rows[::-1])


@pytest.mark.parametrize("is_expired", [False, True], ids=["deleted", "expired"])
def test_a_deleted_or_expired_analysis_releases_no_id_of_a_newer_request(
    backend: Backend, rows: list[str], is_expired: bool
) -> None:
    old = send(backend, rows)
    backend.now += FINISHED_TTL
    backend.store.reserve("r", "body", "newer")

    if is_expired:
        assert delete_expired(backend.ports.stores, timedelta(days=1), set()) == 1
    else:
        delete(backend.ports.stores, old.id)

    assert backend.archive.get(old.id) is None
    assert backend.store.reserve("r", "body", "newest").analysis == "newer"


def test_two_repeats_of_an_abandoned_request_are_judged_once(backend: Backend) -> None:
    """Given an id reserved by a killed process, the second of two concurrent repeats waits for the first."""

    def repeat() -> Analysis | None:
        request, analysis_id = AnalysisRequest("demo", request_id="r"), new_id(backend.ports.stores.clock())
        return find_repeated_or_reserve(backend.ports, request, "digest", analysis_id, owner="")

    assert repeat() is None
    backend.now += JUDGING_SECONDS
    cancel = backend.store.release_ids

    def cancel_late(request_id: str, analysis_id: str, delivery: str) -> None:
        backend.store.release_ids = cancel
        assert repeat() is None  # the other repeat reserves the id
        cancel(request_id, analysis_id, delivery)

    backend.store.release_ids = cancel_late

    with pytest.raises(Unavailable, match="in progress"):
        repeat()


def test_a_repeat_waits_for_a_slow_upload_that_is_being_judged(
    backend: Backend, rows: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given an upload that arrives slowly, a repeat with the same id waits while it is judged."""
    compute_summary = use_case.compute_summary

    class SlowStream(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            backend.now += JUDGING_SECONDS
            return super().read(size)

    def repeat_meanwhile(*args: Any) -> Summary:
        monkeypatch.setattr(use_case, "compute_summary", compute_summary)
        with pytest.raises(Unavailable, match="in progress"):
            send(backend, rows)
        return compute_summary(*args)

    monkeypatch.setattr(use_case, "compute_summary", repeat_meanwhile)

    content = SlowStream(("file_name,top1\n" + "\n".join(rows) + "\n").encode())
    first = upload(backend.ports, AnalysisRequest("demo", request_id="r"), content)

    assert send(backend, rows) == first
    assert backend.archive.list() == [first]


@pytest.mark.parametrize("folder", ["", "n01440764/"])
def test_a_file_of_another_data_set_names_that_data_set(
    backend: Backend, rows: list[str], imagenet_real: Bundle, folder: str
) -> None:
    content = io.BytesIO("\n".join(["file_name,top1", *(folder + row for row in rows)]).encode())

    with pytest.raises(InvalidUpload, match="Use --dataset demo") as error:
        upload(backend.ports, AnalysisRequest(imagenet_real.dataset), content)

    assert f"None of the {len(rows)} file names is in data set 'imagenet-real'" in error.value.message


@pytest.mark.parametrize(("prefix", "others"), [("snow/5", []), ("snow/3", ["Use --dataset snow"])])
def test_a_file_with_other_folders_does_not_name_a_data_set_without_folders(
    tmp_path: Path, demo: Bundle, prefix: str, others: list[str]
) -> None:
    bundles = {"demo": [demo.path]}
    for dataset, folder in (("fog", "fog/3"), ("snow", "snow/3")):
        labels = tmp_path / f"{dataset}.csv"
        labels.write_text("file_name,labels\n" + "".join(f"{folder}/{name},7\n" for name in demo.image_names))
        bundles[dataset] = [build_evidence(dataset, Inputs(labels=labels), tmp_path / dataset).path]
    ports = Backend(EvidenceRepository(bundles, tmp_path)).ports
    rows = "".join(f"{prefix}/{name},7\n" for name in demo.image_names)

    with pytest.raises(InvalidUpload) as error:
        upload(ports, AnalysisRequest("fog"), io.BytesIO(f"file_name,top1\n{rows}".encode()))

    assert "None of the 20 file names is in data set 'fog'." in error.value.message
    assert re.findall(r"Use --dataset \w+", error.value.message) == others


def test_a_file_of_an_unknown_data_set_is_rejected_with_the_expected_file_names(backend: Backend, demo: Bundle) -> None:
    with pytest.raises(InvalidUpload) as error:
        send(backend, ["cat.jpg,7", "dog.jpg,7"])

    assert "None of the 2 file names is in data set 'demo'" in error.value.message
    assert demo.image_names[0] in error.value.message
