"""Isolation of owners: every RPC and page, by table, hides the analyses of other owners, as if they did not exist.

A new RPC or page needs a row here. Each row also runs with an administrator's token, which must find the analysis, so
that a row cannot pass because it asks for nothing.
"""

import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from errata import Client, pb
from errata.errors import AlreadyExists, AnalysisNotFound, NotFound, PermissionDenied
from errata.tokens import Scope, line_of, new_token
from errata.v1 import (
    analysis_service_pb2_grpc,
    catalog_service_pb2_grpc,
    evidence_service_pb2_grpc,
    review_service_pb2_grpc,
)
from google.protobuf.message import Message
from http_answer import send
from running_service import MODEL, Running, start_service

from service.authorization import PERMISSIONS
from service.evidence.bundle import Bundle
from service.web.judging_runs import JudgingRun, JudgingRuns

SECRET = "alices-secret-net"
YEAR_2000 = datetime(2000, 1, 1, tzinfo=UTC)
NAMES = {"alice": Scope.WRITE, "bob": Scope.WRITE, "root": Scope.ADMIN}
TOKENS = {name: new_token() for name in NAMES}
POLICY = "version: 1\nname: p\nbounds:\n  - {name: b, measure: severe_error_rate, max_increase: 0}\n"
STUBS = {
    "AnalysisService": analysis_service_pb2_grpc.AnalysisServiceStub,
    "CatalogService": catalog_service_pb2_grpc.CatalogServiceStub,
    "ReviewService": review_service_pb2_grpc.ReviewServiceStub,
    "EvidenceService": evidence_service_pb2_grpc.EvidenceServiceStub,
}


@dataclass(frozen=True)
class Case:
    """A service with one analysis of alice and one of bob, on the same data set."""

    running: Running
    alice: str  # names: analyses/ID
    bob: str
    image: str
    evidence: str

    @property
    def alice_id(self) -> str:
        return self.alice.removeprefix("analyses/")

    @property
    def bob_id(self) -> str:
        return self.bob.removeprefix("analyses/")

    def client(self, name: str) -> Client:
        return Client(self.running.addresses.grpc, TOKENS[name])


def csv(demo: Bundle, shift: int) -> io.BytesIO:
    predicted = (demo.evidence.targets.astype(int) + shift) % 1000
    rows = [f"{name},{index}" for name, index in zip(demo.judged_names, predicted, strict=True)]
    return io.BytesIO("\n".join(["file_name,predicted_class", *rows]).encode())


@pytest.fixture(scope="module")
def case(data_dir: Path, demo: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    file = tmp_path_factory.mktemp("secrets") / "tokens"
    file.write_text("\n".join(line_of(name, scope, TOKENS[name]) for name, scope in NAMES.items()))
    archive = tmp_path_factory.mktemp("archive")
    with start_service(data_dir, archive, tokens=file, isolate_owners=True) as running:
        names = {}
        for name, title, shift in (("alice", SECRET, 7), ("bob", "bobs-net", 3)):
            with Client(running.addresses.grpc, TOKENS[name]) as client:
                labels = {"team": title}
                names[name] = client.upload(csv(demo, shift), "demo", display_name=title, labels=labels).name
        yield Case(running, names["alice"], names["bob"], demo.judged_names[0], f"datasets/demo/evidence/{demo.digest}")


Make = Callable[[Case], Any]


@dataclass(frozen=True)
class Hidden:
    """A request for alice's analysis: NOT_FOUND for bob."""

    make: Make


@dataclass(frozen=True)
class Omits:
    """A request whose response has alice's analysis for an administrator, and not for bob."""

    make: Make


@dataclass(frozen=True)
class Shared:
    """A request about what all owners share; the response never has an analysis."""

    make: Make


class Admin:
    """A call that needs the scope admin, which sees all analyses."""


def gated(case: Case) -> dict[str, str]:
    """Return the fields of an analysis whose baseline is alice's."""
    return {"dataset": "datasets/demo", "gate_policy": POLICY, "gate_baseline": case.alice}


def upload(analysis: pb.Analysis) -> Iterator[pb.UploadPredictionsRequest]:
    yield pb.UploadPredictionsRequest(header=pb.UploadHeader(analysis=analysis))
    yield pb.UploadPredictionsRequest(chunk=b"file_name,predicted_class\n")


def verdict(case: Case) -> str:
    return f"{case.alice}/verdicts/{case.image}"


RPCS: dict[str, Hidden | Omits | Shared | Admin] = {
    "AnalysisService/CreateAnalysis": Hidden(
        lambda case: pb.CreateAnalysisRequest(analysis=pb.Analysis(model=MODEL, **gated(case)))
    ),
    "AnalysisService/UploadPredictions": Hidden(lambda case: upload(pb.Analysis(**gated(case)))),
    "AnalysisService/DeleteAnalysis": Hidden(lambda case: pb.DeleteAnalysisRequest(name=case.alice)),
    "AnalysisService/CancelAnalysis": Hidden(lambda case: pb.CancelAnalysisRequest(name=case.alice)),
    "AnalysisService/RetryAnalysis": Hidden(lambda case: pb.RetryAnalysisRequest(name=case.alice)),
    "AnalysisService/ReanalyzeAnalysis": Hidden(lambda case: pb.ReanalyzeAnalysisRequest(name=case.alice)),
    "AnalysisService/GetAnalysis": Hidden(lambda case: pb.GetAnalysisRequest(name=case.alice)),
    "AnalysisService/ListAnalyses": Omits(lambda case: pb.ListAnalysesRequest()),
    "AnalysisService/WatchAnalysis": Hidden(lambda case: pb.WatchAnalysisRequest(name=case.alice)),
    "AnalysisService/GetVerdict": Hidden(lambda case: pb.GetVerdictRequest(name=verdict(case))),
    "AnalysisService/ListVerdicts": Hidden(lambda case: pb.ListVerdictsRequest(parent=case.alice)),
    "AnalysisService/ListImages": Hidden(lambda case: pb.ListImagesRequest(parent=case.alice)),
    "AnalysisService/ExportVerdicts": Hidden(lambda case: pb.ExportVerdictsRequest(parent=case.alice)),
    "AnalysisService/ExplainVerdict": Hidden(lambda case: pb.ExplainVerdictRequest(name=verdict(case))),
    "AnalysisService/ExplainPrediction": Shared(
        lambda case: pb.ExplainPredictionRequest(name=case.evidence, file_name=case.image, predicted_class="0")
    ),
    "AnalysisService/ComputeBreakdown": Hidden(lambda case: pb.ComputeBreakdownRequest(name=case.alice)),
    "AnalysisService/ComputeSlices": Hidden(lambda case: pb.ComputeSlicesRequest(name=case.alice)),
    "AnalysisService/CompareAnalyses": Hidden(lambda case: pb.CompareAnalysesRequest(a=case.bob, b=case.alice)),
    "AnalysisService/EvaluateGate": Hidden(
        lambda case: pb.EvaluateGateRequest(name=case.bob, policy=POLICY, baseline=case.alice)
    ),
    "AnalysisService/ComputeTrend": Omits(lambda case: pb.ComputeTrendRequest(dataset="datasets/demo")),
    "AnalysisService/RenderReport": Hidden(lambda case: pb.RenderReportRequest(analysis=case.alice)),
    "CatalogService/GetDataset": Shared(lambda case: pb.GetDatasetRequest(name="datasets/demo")),
    "CatalogService/ListDatasets": Shared(lambda case: pb.ListDatasetsRequest()),
    "CatalogService/GetEvidence": Shared(lambda case: pb.GetEvidenceRequest(name=case.evidence)),
    "CatalogService/ListEvidence": Shared(lambda case: pb.ListEvidenceRequest(parent="datasets/demo")),
    "CatalogService/GetClass": Shared(lambda case: pb.GetClassRequest(name=f"{case.evidence}/classes/0")),
    "CatalogService/ListClasses": Shared(lambda case: pb.ListClassesRequest(parent=case.evidence)),
    "CatalogService/GetModel": Shared(lambda case: pb.GetModelRequest(name=f"models/{MODEL}")),
    "CatalogService/ListModels": Shared(lambda case: pb.ListModelsRequest()),
    "CatalogService/ListErrorTypes": Shared(lambda case: pb.ListErrorTypesRequest()),
    "ReviewService/ListReviewQueue": Hidden(
        lambda case: pb.ListReviewQueueRequest(parent="datasets/demo", analysis=case.alice)
    ),
    "ReviewService/CreateReview": Admin(),  # and the scope review, with which one sees only one's own analyses
    "ReviewService/GetReview": Hidden(
        lambda case: pb.GetReviewRequest(name=f"datasets/demo/images/{case.image}/reviews/{'0' * 32}")
    ),
    "ReviewService/ListReviews": Shared(lambda case: pb.ListReviewsRequest(parent="datasets/demo")),
    "ReviewService/ExportReviews": Shared(lambda case: pb.ExportReviewsRequest(parent="datasets/demo")),
    "ReviewService/ImportReviews": Admin(),
    "EvidenceService/BuildEvidence": Admin(),
    "EvidenceService/UploadLabels": Admin(),
    "EvidenceService/UploadEvidence": Admin(),
    "EvidenceService/PublishEvidence": Admin(),
    "EvidenceService/SetDefaultEvidence": Admin(),
    "EvidenceService/ReanalyzeAnalyses": Admin(),
    "EvidenceService/ListAuditEvents": Admin(),
}
# What an administrator gets instead of OK, as the request is not complete: the analysis exists, though.
ADMIN_CODES = {
    "AnalysisService/UploadPredictions": "INVALID_ARGUMENT",
    "AnalysisService/RetryAnalysis": "FAILED_PRECONDITION",
    "AnalysisService/ComputeSlices": None,  # the data set has no attributes
    "AnalysisService/DeleteAnalysis": None,  # would delete it
    "ReviewService/GetReview": None,  # there is no review
}
PAGES: dict[str, Hidden | Omits | Shared | Admin] = {
    "/": Omits(lambda case: "/"),
    "/analyses/{id}": Hidden(lambda case: f"/{case.alice}"),
    "/analyses/{id}/report.html": Hidden(lambda case: f"/{case.alice}/report.html"),
    "/analyses/{id}/delete": Hidden(lambda case: f"/{case.alice}/delete"),
    "/analyses/{id}/errors/{image:path}": Hidden(lambda case: f"/{case.alice}/errors/{case.image}"),
    "/analyses/{id}/images/{image:path}": Hidden(lambda case: f"/{case.alice}/images/{case.image}"),
    "/analyses/{id}/images": Hidden(lambda case: f"/{case.alice}/images"),
    "/analyses/{id}/map": Hidden(lambda case: f"/{case.alice}/map"),
    "/datasets/{dataset}/images/{image:path}": Omits(lambda case: f"/datasets/demo/images/{case.image}"),
    "/static/{name}": Shared(lambda case: "/static/none"),
    "/datasets/{dataset}/thumbnails/{image:path}": Shared(lambda case: f"/datasets/demo/thumbnails/{case.image}"),
    "/datasets/{dataset}/pictures/{image:path}": Shared(lambda case: f"/datasets/demo/pictures/{case.image}"),
    "/compare": Hidden(lambda case: f"/compare?a={case.bob_id}&b={case.alice_id}"),
    "/compare/{a}/{b}": Shared(lambda case: f"/compare/{case.bob_id}/{case.bob_id}"),  # redirects to /compare
    "/compare/{a}/{b}/report.html": Hidden(lambda case: f"/compare/{case.bob_id}/{case.alice_id}/report.html"),
    "/trend": Omits(lambda case: "/trend?dataset=demo"),
    "/upload": Shared(lambda case: "/upload"),
    "/datasets/{dataset}/evidence": Shared(lambda case: "/datasets/demo/evidence"),
    "/datasets/{dataset}/evidence/{digest}": Shared(lambda case: f"/{case.evidence}"),
    "/datasets/{dataset}/evidence/build": Admin(),
    "/datasets/{dataset}/evidence/labels": Admin(),
    "/datasets/{dataset}/evidence/{digest}/default": Admin(),
    "/datasets/{dataset}/evidence/{digest}/judge": Admin(),
    "/review": Hidden(lambda case: f"/review?dataset=demo&analysis={case.alice_id}"),
    "/review/{dataset}/{image:path}": Omits(lambda case: f"/review/demo/{case.image}?analysis={case.alice_id}"),
    "/reviews": Admin(),  # and the scope review; it stores a review, which all owners share
    "/v1/gates/{registry_id}/{model:path}/{version}": Hidden(lambda case: f"/v1/gates/main/{SECRET}/1"),
}
UNAUTHENTICATED = {"/v1/hooks/{kind}/{registry_id}", "/livez", "/readyz", "/metrics"}


def call(case: Case, rpc: str, request: Any, name: str) -> tuple[str, str]:
    """Return the status code and the text of all responses of a call."""
    service, method = rpc.split("/")
    with grpc.insecure_channel(case.running.addresses.grpc) as channel:
        stub: Any = STUBS[service](channel)
        try:
            reply = getattr(stub, method)(request, metadata=[("authorization", f"Bearer {TOKENS[name]}")], timeout=60)
            messages = [reply] if isinstance(reply, Message) else [*reply]
        except grpc.RpcError as error:
            return error.code().name, str(error.details())
    return "OK", "".join(str(message) for message in messages)


def page(case: Case, path: str, name: str) -> tuple[int, str]:
    headers = {"Authorization": f"Bearer {TOKENS[name]}"}
    answer = send(case.running.addresses.http, "GET", path, headers=headers)
    return answer.status, answer.body.decode(errors="replace")


def finds_alice(case: Case, text: str) -> bool:
    return case.alice_id in text or SECRET in text


def test_every_rpc_and_page_has_a_row() -> None:
    rpcs = {path.removeprefix("/errata.v1.") for path in PERMISSIONS if path.startswith("/errata.v1.")}
    pages = {path for path in PERMISSIONS if not path.startswith(("/errata.v1.", "/grpc."))}

    assert rpcs == set(RPCS)
    assert pages == set(PAGES) | UNAUTHENTICATED


@pytest.mark.parametrize("rpc", RPCS)
def test_no_rpc_finds_the_analysis_of_another_owner(case: Case, rpc: str) -> None:
    row = RPCS[rpc]
    if isinstance(row, Admin):
        assert Scope.WRITE is not PERMISSIONS[f"/errata.v1.{rpc}"] is not Scope.READ
        return
    code, text = call(case, rpc, row.make(case), "bob")
    assert code == ("NOT_FOUND" if isinstance(row, Hidden) else "OK")
    assert SECRET not in text
    assert isinstance(row, Hidden) or case.alice_id not in text  # the message quotes the request

    expected = ADMIN_CODES.get(rpc, "OK")
    if expected is not None:
        code, text = call(case, rpc, row.make(case), "root")
        assert code == expected
        assert not isinstance(row, Omits) or finds_alice(case, text)


@pytest.mark.parametrize("path", PAGES)
def test_no_page_finds_the_analysis_of_another_owner(case: Case, path: str) -> None:
    row = PAGES[path]
    if isinstance(row, Admin):
        assert PERMISSIONS[path] in (Scope.ADMIN, Scope.REVIEW)
        return
    url = row.make(case)
    # An administrator first, so that a cached page would be found.
    seen, admin_text = page(case, url, "root")
    status, text = page(case, url, "bob")
    if isinstance(row, Hidden):
        assert status == 404
        assert SECRET not in text or SECRET in url  # the message of a gate quotes the request
        assert path.startswith("/v1/gates") or path.endswith("/map") or seen in (200, 308)
    else:
        assert status == seen
        assert not finds_alice(case, text)
        assert not isinstance(row, Omits) or finds_alice(case, admin_text)


def test_only_administrators_see_judging_runs(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run names and counts the analyses of all owners."""
    digest = case.evidence.rpartition("/")[2]
    run = JudgingRun(num_done=7654, num_total=7654, skipped=((case.alice_id, f"{SECRET} has no predictions"),))
    monkeypatch.setattr(JudgingRuns, "of_dataset", lambda runs, dataset: {digest: run})

    texts = {name: page(case, "/datasets/demo/evidence", name)[1] for name in ("root", "bob")}

    assert case.alice_id in texts["root"] and "7654" in texts["root"].replace(",", "")
    assert not finds_alice(case, texts["bob"]) and "7654" not in texts["bob"].replace(",", "")


def test_not_found_is_the_same_for_hidden_and_for_missing_analyses(case: Case) -> None:
    hidden = call(case, "AnalysisService/GetAnalysis", pb.GetAnalysisRequest(name=case.alice), "bob")
    missing_name = "analyses/" + "0" * len(case.alice_id)
    missing = call(case, "AnalysisService/GetAnalysis", pb.GetAnalysisRequest(name=missing_name), "bob")

    assert hidden[0] == missing[0] == "NOT_FOUND"
    assert hidden[1].replace(case.alice_id, "X") == missing[1].replace("0" * len(case.alice_id), "X")


def test_a_hidden_analysis_is_neither_deleted_nor_canceled(case: Case) -> None:
    with case.client("bob") as bob, case.client("alice") as alice:
        for change in (bob.delete, bob.cancel):
            with pytest.raises(AnalysisNotFound):
                change(case.alice)
        assert alice.get(case.alice).owner == "alice"


def test_an_open_analysis_is_hidden_too(case: Case) -> None:
    case.running.gate.clear()
    try:
        with case.client("bob") as bob, case.client("alice") as alice:
            name = alice.analyze(MODEL, "demo", display_name=SECRET).name
            with pytest.raises(AnalysisNotFound):
                bob.get(name)
            with pytest.raises(AnalysisNotFound):
                bob.cancel(name)
            assert name not in [analysis.name for analysis in bob.list()]
            assert name in [analysis.name for analysis in alice.list()]
            alice.cancel(name)
    finally:
        case.running.gate.set()


def test_a_filter_of_another_owner_finds_nothing(case: Case) -> None:
    with case.client("bob") as bob, case.client("root") as root:
        assert [*bob.list(owner="alice")] == []
        assert [*bob.trend(dataset="demo", owner="alice").models] == []
        assert case.alice in [model.analysis for model in root.trend(dataset="demo", owner="alice").models]
        for analyses in (bob.list(), bob.list(evidence=case.evidence), bob.list(created_after=YEAR_2000)):
            assert {analysis.owner for analysis in analyses} == {"bob"}
        assert case.alice in [analysis.name for analysis in root.list(owner="alice")]


def test_the_number_of_models_of_an_image_counts_only_visible_analyses(case: Case) -> None:
    def models(name: str) -> int:
        code, text = call(case, "AnalysisService/ListImages", pb.ListImagesRequest(parent=case.bob), name)
        assert code == "OK"
        return sum(int(number) for number in re.findall(r"^num_models: (\d+)", text, re.M))

    assert models("root") >= 1
    assert models("bob") == 0


def test_a_request_id_of_another_owner_names_no_analysis(case: Case, demo: Bundle) -> None:
    with case.client("alice") as alice, case.client("bob") as bob:
        name = alice.upload(csv(demo, 11), "demo", request_id="shared").name
        with pytest.raises((AlreadyExists, NotFound)) as refused:
            bob.analyze(MODEL, "demo", request_id="shared")
        assert name.removeprefix("analyses/") not in str(refused.value)
        assert [analysis.name for analysis in alice.list(request_id="shared")] == [name]
        assert [*bob.list(request_id="shared")] == []


def test_a_repeated_upload_of_another_owner_keeps_its_request_id(case: Case, demo: Bundle) -> None:
    """Otherwise the same file and ID would seem to be in progress, and then take the ID from the other owner."""
    with case.client("alice") as alice, case.client("bob") as bob:
        name = alice.upload(csv(demo, 13), "demo", request_id="same file").name
        with pytest.raises(AlreadyExists) as refused:
            bob.upload(csv(demo, 13), "demo", request_id="same file")
        assert name.removeprefix("analyses/") not in str(refused.value)
        assert alice.upload(csv(demo, 13), "demo", request_id="same file").name == name


def test_only_administrators_read_the_audit_log(case: Case) -> None:
    with case.client("bob") as bob, pytest.raises(PermissionDenied):
        next(bob.audit_events())
    with case.client("root") as root:
        events = [*root.audit_events(action="create", analysis=case.alice)]
    assert [(event.actor, event.analysis) for event in events] == [("alice", case.alice)]
