"""Spans of calls and of HTTP requests: their names, their status, and what they do not contain."""

import io
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from errata import errors
from running_service import MODEL, Running
from trace_collector import TraceCollector, trace_collector

from service import tracing

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UPLOAD = "errata.v1.AnalysisService/UploadPredictions"


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[TraceCollector]:
    with trace_collector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        tracing.start_tracing("errata-api")
        yield collector
        tracing.stop_tracing()


def get(running: Running, path: str, **headers: str) -> int:
    request = urllib.request.Request(f"http://{running.addresses.http}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_an_invalid_upload_is_no_error_of_the_service(running: Running, collector: TraceCollector) -> None:
    with pytest.raises(errors.InvalidUpload):
        running.client.upload(io.BytesIO(b"file_name,top1\nsecret-image.jpg,1\n"), "demo")
    collector.wait_for(UPLOAD)

    served, parse = collector.only(UPLOAD), collector.only("parse")
    assert (served.status, served.attributes["rpc.response.status_code"]) == ("UNSET", "INVALID_ARGUMENT")
    assert (parse.parent, parse.status, parse.attributes) == (served.id, "ERROR", {"error.type": "InvalidRow"})
    assert "secret-image" not in repr(collector.spans())


def test_an_internal_error_marks_its_call(
    running: Running, collector: TraceCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyError("secret")

    monkeypatch.setattr("service.analyses.upload.parse_upload", fail)
    with pytest.raises(errors.ErrataError):
        running.client.upload(io.BytesIO(b""), "demo")
    collector.wait_for(UPLOAD)

    served = collector.only(UPLOAD)
    assert (served.status, served.attributes["error.type"]) == ("ERROR", "INTERNAL")
    assert "secret" not in repr(collector.spans())


def test_streams_and_calls_have_a_span_each(running: Running, collector: TraceCollector, demo_csv: bytes) -> None:
    analysis = running.client.upload(io.BytesIO(demo_csv), "demo", accept_implausible=True)
    assert running.client.report(analysis)
    collector.wait_for("render", "errata.v1.AnalysisService/RenderReport")

    upload, render = collector.only(UPLOAD), collector.only("render")
    assert upload.attributes["errata.analysis"] == analysis.name.removeprefix("analyses/")
    report = collector.only("errata.v1.AnalysisService/RenderReport")
    assert (report.kind, report.attributes["rpc.response.status_code"], render.parent) == ("SERVER", "OK", report.id)
    assert report.trace != upload.trace


def test_a_page_has_its_route_and_the_parent_of_its_headers(running: Running, collector: TraceCollector) -> None:
    assert get(running, "/analyses/secret-id?query=secret", traceparent=PARENT) == 404
    assert get(running, "/secret-path") == 404
    assert get(running, "/readyz") == 200
    collector.wait_for("GET /analyses/{id}", "GET other")

    page, other = collector.spans()
    assert (page.name, page.attributes["http.route"]) == ("GET /analyses/{id}", "/analyses/{id}")
    assert (page.trace, page.parent) == tuple(PARENT.split("-")[1:3])
    assert (page.kind, page.status) == ("SERVER", "UNSET")
    assert page.attributes["http.request.method"] == "GET"
    assert page.attributes["http.response.status_code"] == 404
    assert other.name == "GET other"
    assert "secret" not in repr(collector.spans())


def test_an_analysis_of_a_model_is_one_trace(running: Running, collector: TraceCollector) -> None:
    analysis = running.client.wait(running.client.analyze(MODEL, "demo", fresh=True))
    collector.wait_for("submit", "judging")

    submit = collector.only("submit")
    assert submit.attributes["errata.analysis"] == analysis.name.removeprefix("analyses/")
    (shard, *_) = collector.spans("shard")
    assert (shard.trace, shard.parent) == (submit.trace, submit.id)
    assert collector.only("judging").trace == submit.trace


def test_each_method_of_the_client_has_its_name(running: Running) -> None:
    names = running.client._method_names

    assert names[running.client._analyses.GetAnalysis] == "errata.v1.AnalysisService/GetAnalysis"
    assert names[running.client._evidence.BuildEvidence] == "errata.v1.EvidenceService/BuildEvidence"
