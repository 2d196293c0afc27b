"""EvidenceService: evidence from reviews, uploads, defaults, analyses that are judged again, and audit events."""

import io
import tarfile
from collections.abc import Iterator
from datetime import UTC
from pathlib import Path

import pytest
from errata import Client, pb
from errata.errors import EvidenceNotFound, InvalidEvidence, InvalidRequest
from errata.tokens import Scope, line_of, new_token
from errata.v1 import evidence_service_pb2_grpc
from running_service import Running, Start, start_service

from service.evidence.bundle import Bundle

ADMIN = new_token()


@pytest.fixture
def running(start: Start, tmp_path: Path) -> Iterator[Running]:
    (tmp_path / "tokens").write_text(line_of("root", Scope.ADMIN, ADMIN))
    with start(tokens=tmp_path / "tokens") as service:
        yield service


@pytest.fixture
def client(running: Running) -> Iterator[Client]:
    with Client(running.addresses.grpc, ADMIN) as client:
        yield client


def tar_of(bundle: Bundle) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for path in sorted(bundle.path.iterdir()):
            archive.add(path, path.name)
    return file.getvalue()


def review(client: Client, demo: Bundle) -> None:
    """Add a class to the first image."""
    client.create_review("demo", demo.judged_names[0], added=["tabby"], rejected=["tench"])


def test_all_analyses_are_judged_again_on_reviewed_labels(client: Client, demo: Bundle, demo_csv: bytes) -> None:
    before = client.upload(io.BytesIO(demo_csv), "demo")
    review(client, demo)
    evidence = client.build_evidence("demo", min_reviews=1)
    outcomes = [*client.reanalyze_all("demo", evidence.name)]

    assert [(outcome.num_done, outcome.num_total, outcome.before) for outcome in outcomes] == [(1, 1, before.name)]
    assert outcomes[0].created
    assert client.get(outcomes[0].after).evidence == evidence.name
    again = [*client.reanalyze_all("demo", evidence.digest)]
    assert [(outcome.created, outcome.after) for outcome in again] == [(False, outcomes[0].after)]
    assert client.build_evidence("demo") == evidence


def test_a_bundle_of_the_api_survives_a_restart_as_the_default(
    client: Client, demo: Bundle, running: Running, data_dir: Path, tmp_path: Path
) -> None:
    review(client, demo)
    evidence = client.build_evidence("demo", demo.digest[:12])
    client.set_default_evidence("demo", evidence.name)

    with start_service(data_dir, tmp_path / "archive") as other:
        assert other.client.dataset("demo").default_evidence == evidence.name


def test_uploaded_labels_become_evidence(client: Client, demo: Bundle) -> None:
    rows = [f"{name},tench;tabby" for name in demo.judged_names]
    evidence = client.upload_labels(io.BytesIO("\n".join(["file_name,labels", *rows]).encode()), "demo")

    assert evidence.digest != demo.digest
    assert evidence.counts["judged"] == len(rows)
    with pytest.raises(InvalidEvidence, match="unknown class") as error:
        client.upload_labels(io.BytesIO(b"file_name,labels\na.jpg,nonsense\n"), "demo")
    assert error.value.violations[0].line == 2


def test_an_uploaded_bundle_is_published(client: Client, demo: Bundle) -> None:
    content = tar_of(demo)
    assert client.upload_evidence(io.BytesIO(content)).digest == demo.digest
    for broken in (b"", b"x" * 2000, content[: len(content) // 2], content.replace(b'"demo"', b'"evil"', 1)):
        with pytest.raises(InvalidEvidence):
            client.upload_evidence(io.BytesIO(broken))


def test_each_change_is_one_audit_event(client: Client, demo: Bundle) -> None:
    client.publish_evidence("demo", demo.digest)
    review(client, demo)
    evidence = client.build_evidence("demo")
    client.set_default_evidence("demo", evidence.digest)
    events = [*client.audit_events("demo")]

    names = [pb.AuditEvent.Action.Name(event.action) for event in events]
    assert names == ["ACTION_SET_DEFAULT", "ACTION_BUILD", "ACTION_REVIEW", "ACTION_PUBLISH"]
    assert {event.actor for event in events} == {"root"}
    assert [event.evidence for event in events[:2]] == [evidence.name] * 2
    assert events[1].details["num_reviews"] == "1"
    assert [*client.audit_events(action="publish")] == events[3:]
    assert [*client.audit_events("other")] == []
    assert [*client.audit_events(actor="nobody")] == []
    assert [*client.audit_events(end=events[1].create_time.ToDatetime(UTC))] == events[2:]

    stub = evidence_service_pb2_grpc.EvidenceServiceStub(client._channel)
    call = {"metadata": (("authorization", f"Bearer {ADMIN}"),)}
    first = stub.ListAuditEvents(pb.ListAuditEventsRequest(page_size=3), **call)
    second = stub.ListAuditEvents(pb.ListAuditEventsRequest(page_size=3, page_token=first.next_page_token), **call)
    assert [*first.audit_events, *second.audit_events] == events
    assert second.next_page_token == ""


def test_invalid_requests_are_refused_with_the_reason(client: Client, demo: Bundle) -> None:
    with pytest.raises(InvalidEvidence, match="change no label"):
        client.build_evidence("demo")
    with pytest.raises(InvalidEvidence, match="min_reviews"):
        client.build_evidence("demo", min_reviews=-1)
    with pytest.raises(EvidenceNotFound):
        client.set_default_evidence("demo", "f" * 64)
    with pytest.raises(EvidenceNotFound):
        list(client.reanalyze_all("demo", "f" * 64))
    with pytest.raises(InvalidRequest, match="not of the data set"):
        client.build_evidence("demo", "datasets/other/evidence/abc")
    with pytest.raises(InvalidRequest, match="data set is missing"):
        client._call(client._evidence.BuildEvidence, pb.BuildEvidenceRequest())
    with pytest.raises(InvalidRequest, match="Unknown Action 99"):
        list(client.audit_events(action=99))
