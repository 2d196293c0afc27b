"""Limits of tokens through gRPC and HTTP: the status, the time of the next request, and what is not counted."""

import urllib.request
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from errata import Client, pb
from errata.errors import QuotaExceeded
from errata.tokens import Quota, Scope, line_of, new_token
from errata.v1 import analysis_service_pb2_grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from http_answer import Answer, send
from running_service import MODEL, Running, Start

TOKENS = {name: new_token() for name in ("ci", "free", "web", "gates", "default")}
QUOTAS = {"ci": Quota(3, 2), "free": Quota(0, 0), "web": Quota(2), "gates": Quota(1), "default": Quota()}


@pytest.fixture
def running(start: Start, tmp_path: Path) -> Iterator[Running]:
    lines = [line_of(name, Scope.WRITE, token, QUOTAS[name]) for name, token in TOKENS.items()]
    (tmp_path / "tokens").write_text("\n".join(lines))
    with start(tokens=tmp_path / "tokens", token_requests=4) as service:
        yield service


def get(running: Running, path: str, name: str) -> Answer:
    return send(running.addresses.http, "GET", path, headers={"Authorization": f"Bearer {TOKENS[name]}"})


def test_a_call_above_the_limit_is_refused_with_the_time_of_the_next_one(running: Running) -> None:
    with grpc.insecure_channel(running.addresses.grpc) as channel:
        stub = analysis_service_pb2_grpc.AnalysisServiceStub(channel)
        metadata = [("authorization", f"Bearer {TOKENS['ci']}")]
        for _ in range(3):
            stub.ListAnalyses(pb.ListAnalysesRequest(), metadata=metadata)
        with pytest.raises(grpc.RpcError) as refused:
            stub.ListAnalyses(pb.ListAnalysesRequest(), metadata=metadata)

    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    details = {detail.TypeName(): detail for detail in rpc_status.from_call(refused.value).details}
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    details["google.rpc.ErrorInfo"].Unpack(info)
    details["google.rpc.RetryInfo"].Unpack(retry)
    assert info.reason == "QUOTA_EXCEEDED"
    assert 15 < retry.retry_delay.ToMilliseconds() / 1000 <= 20


def test_the_client_has_the_error_and_other_tokens_are_not_affected(running: Running) -> None:
    with Client(running.addresses.grpc, TOKENS["ci"], attempts=1) as client:
        for _ in range(3):
            list(client.list())
        with pytest.raises(QuotaExceeded) as refused:
            list(client.list())
        assert 15 < (refused.value.retry_after or 0) <= 20
    with Client(running.addresses.grpc, TOKENS["free"]) as client:
        for _ in range(20):
            list(client.list())


def test_a_token_without_limits_has_those_of_the_settings(running: Running) -> None:
    with Client(running.addresses.grpc, TOKENS["default"], attempts=1) as client:
        for _ in range(4):
            list(client.list())
        with pytest.raises(QuotaExceeded):
            list(client.list())


def test_pages_and_gates_above_the_limit_have_the_status_429(running: Running) -> None:
    assert [get(running, "/", "web").status for _ in range(2)] == [200, 200]
    page = get(running, "/", "web")
    assert (page.status, page.headers["Retry-After"]) == (429, "30")

    assert get(running, "/v1/gates/r/m/1", "gates").status == 404
    gate = get(running, "/v1/gates/r/m/1", "gates")
    assert (gate.status, gate.headers["Retry-After"]) == (429, "60")
    assert gate.headers["Content-Type"] == "application/json"


def test_parts_of_pages_and_probes_are_not_counted(running: Running) -> None:
    for _ in range(5):
        assert get(running, "/static/none", "web").status == 404
        assert get(running, "/datasets/demo/thumbnails/none.jpg", "web").status == 404
        with urllib.request.urlopen(f"http://{running.addresses.http}/readyz", timeout=10) as response:
            assert response.status == 200
    assert get(running, "/", "web").status == 200


def test_open_analyses_above_the_limit_are_refused_until_one_ends(running: Running) -> None:
    running.gate.clear()
    try:
        with Client(running.addresses.grpc, TOKENS["ci"], attempts=1) as client:
            first = client.analyze(MODEL, "demo", fresh=True)
            client.analyze(MODEL, "demo", fresh=True)
            with pytest.raises(QuotaExceeded, match="'ci' has 2 of 2 permitted open analyses") as refused:
                client.analyze(MODEL, "demo", fresh=True)
            assert refused.value.retry_after == 15.0
        with Client(running.addresses.grpc, TOKENS["free"], attempts=1) as other:
            other.analyze(MODEL, "demo", fresh=True)
            other.cancel(first.name)
            with (
                pytest.raises(QuotaExceeded, match="requests per minute"),
                Client(running.addresses.grpc, TOKENS["ci"], attempts=1) as client,
            ):
                client.analyze(MODEL, "demo", fresh=True)  # both limits apply
    finally:
        running.gate.set()
