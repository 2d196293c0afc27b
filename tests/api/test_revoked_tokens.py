"""A stream ends soon after its token is removed or downgraded; streams with other or replaced tokens continue."""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from errata import Client
from errata import v1 as pb
from errata.tokens import Scope, line_of, new_token
from errata.v1 import analysis_service_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from running_service import MODEL, Running, Start

from service.api import downloads, interceptors

SOON = 30.0  # seconds; a timeout that no passing test reaches
Stub = analysis_service_pb2_grpc.AnalysisServiceStub


class TokenFile:
    """The token file of a service with two callers."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tokens = {"revoked": new_token(), "other": new_token()}
        self.write(self.tokens)

    def write(self, tokens: dict[str, str], scope: Scope = Scope.WRITE) -> None:
        """Replace the file atomically."""
        fresh = self.path.with_suffix(".new")
        fresh.write_text("\n".join(line_of(name, scope, token) for name, token in tokens.items()))
        fresh.replace(self.path)

    def revoke(self) -> None:
        """Remove the line of one caller."""
        self.write({"other": self.tokens["other"]})

    def metadata(self, name: str = "revoked") -> list[tuple[str, str]]:
        """Return the metadata of a caller."""
        return [("authorization", f"Bearer {self.tokens[name]}")]


@pytest.fixture
def token_file(tmp_path: Path) -> TokenFile:
    return TokenFile(tmp_path / "tokens")


@pytest.fixture
def service(start: Start, token_file: TokenFile) -> Iterator[Running]:
    """A service whose models are blocked, so that watches stay open."""
    with start(open_gate=False, tokens=token_file.path) as running:
        yield running
        running.gate.set()


@pytest.fixture
def stub(service: Running) -> Iterator[Stub]:
    with grpc.insecure_channel(service.addresses.grpc) as channel:
        yield Stub(channel)


def code_of(call: Any) -> grpc.StatusCode:
    """Read a stream to its end; return its status code."""
    try:
        for _ in call:
            pass
    except grpc.RpcError:
        pass
    code: grpc.StatusCode = call.code()
    return code


def test_a_watch_with_a_revoked_token_ends_and_others_continue(
    service: Running, stub: Stub, token_file: TokenFile
) -> None:
    with Client(service.addresses.grpc, token=token_file.tokens["other"]) as other:
        name = other.analyze(MODEL, "demo").name
        other_watch = other.watch(name)
        next(other_watch)
        watch = stub.WatchAnalysis(pb.WatchAnalysisRequest(name=name), timeout=SOON, metadata=token_file.metadata())
        next(watch)

        token_file.revoke()

        assert code_of(watch) is grpc.StatusCode.UNAUTHENTICATED
        service.gate.set()
        assert list(other_watch)[-1].state == pb.Analysis.STATE_SUCCEEDED


def test_a_watch_continues_while_its_token_is_valid(service: Running, stub: Stub, token_file: TokenFile) -> None:
    with Client(service.addresses.grpc, token=token_file.tokens["other"]) as other:
        name = other.analyze(MODEL, "demo").name
        watch = stub.WatchAnalysis(pb.WatchAnalysisRequest(name=name), timeout=SOON, metadata=token_file.metadata())
        next(watch)
        token_file.write(token_file.tokens, Scope.READ)  # sufficient for a watch
        for _ in range(3):  # one message per 2 s, the interval of the authorization check
            assert next(watch).state != pb.Analysis.STATE_SUCCEEDED
        service.gate.set()

        assert code_of(watch) is grpc.StatusCode.OK


def test_a_watch_ends_when_its_token_may_no_longer_see_the_analysis(start: Start, token_file: TokenFile) -> None:
    token_file.write(token_file.tokens, Scope.ADMIN)
    with start(open_gate=False, tokens=token_file.path, isolate_owners=True) as running:
        with (
            Client(running.addresses.grpc, token=token_file.tokens["other"]) as other,
            grpc.insecure_channel(running.addresses.grpc) as channel,
        ):
            request = pb.WatchAnalysisRequest(name=other.analyze(MODEL, "demo").name)
            watch = Stub(channel).WatchAnalysis(request, timeout=SOON, metadata=token_file.metadata())
            next(watch)

            token_file.write(token_file.tokens, Scope.READ)

            assert code_of(watch) is grpc.StatusCode.PERMISSION_DENIED
        running.gate.set()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (TokenFile.revoke, grpc.StatusCode.UNAUTHENTICATED),
        (lambda file: file.write(file.tokens, Scope.READ), grpc.StatusCode.PERMISSION_DENIED),
    ],
    ids=["removed", "may only read now"],
)
def test_an_upload_with_a_revoked_token_ends(
    service: Running, stub: Stub, token_file: TokenFile, change: Callable[[TokenFile], None], code: grpc.StatusCode
) -> None:
    begun: threading.Event = threading.Event()
    ends: queue.SimpleQueue[None] = queue.SimpleQueue()

    def messages() -> Iterator[pb.UploadPredictionsRequest]:
        yield pb.UploadPredictionsRequest(header=pb.UploadHeader(analysis=pb.Analysis(dataset="demo")))
        yield pb.UploadPredictionsRequest(chunk=b"file_name,predicted_class\n")
        begun.set()
        ends.get()

    call = stub.UploadPredictions.future(messages(), timeout=SOON, metadata=token_file.metadata())
    assert begun.wait(SOON)

    change(token_file)

    assert call.code() is code
    ends.put(None)


def upload(stub: Stub, token_file: TokenFile, content: bytes) -> str:
    """Upload predictions as the caller `revoked`, and return the name of the analysis."""
    header = pb.UploadHeader(analysis=pb.Analysis(dataset="demo"))
    parts = [pb.UploadPredictionsRequest(header=header), pb.UploadPredictionsRequest(chunk=content)]
    return str(stub.UploadPredictions(iter(parts), timeout=SOON, metadata=token_file.metadata()).name)


def test_a_slow_export_with_a_revoked_token_ends(
    service: Running, stub: Stub, token_file: TokenFile, demo_csv: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller reads one message, and the next one after the token was removed; the service waits in between."""
    monkeypatch.setattr(downloads, "CHUNK_BYTES", 1)
    monkeypatch.setattr(interceptors, "RECHECK_SECONDS", 0.1)
    name = upload(stub, token_file, demo_csv)
    export = stub.RenderReport(pb.RenderReportRequest(analysis=name), timeout=SOON, metadata=token_file.metadata())
    next(export)

    token_file.revoke()
    time.sleep(1)

    assert code_of(export) is grpc.StatusCode.UNAUTHENTICATED


def test_a_download_whose_token_is_revoked_while_it_waits_ends(
    service: Running, stub: Stub, token_file: TokenFile, demo_csv: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "CHUNK_BYTES", 1)  # the first download occupies its slot until it is read
    name = upload(stub, token_file, demo_csv)
    request = pb.RenderReportRequest(analysis=name)
    others = [
        stub.RenderReport(request, timeout=SOON, metadata=token_file.metadata())
        for _ in range(downloads.MAX_DOWNLOADS // 2)
    ]
    for running in others:
        next(running)
    waiting = stub.RenderReport(request, timeout=SOON, metadata=token_file.metadata())
    time.sleep(1)

    token_file.revoke()

    assert code_of(waiting) is grpc.StatusCode.UNAUTHENTICATED
    for running in others:
        running.cancel()


def test_a_reflection_stream_with_a_revoked_token_ends(service: Running, token_file: TokenFile) -> None:
    requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
    requests.put(reflection_pb2.ServerReflectionRequest(list_services=""))
    with grpc.insecure_channel(service.addresses.grpc) as channel:
        stream = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(
            iter(requests.get, None), timeout=SOON, metadata=token_file.metadata()
        )
        next(stream)

        token_file.revoke()

        assert code_of(stream) is grpc.StatusCode.UNAUTHENTICATED
        requests.put(None)
