"""Slots of uploads, watches, downloads, and pages: occupied while they last, and shared fairly between tokens."""

import http.client
import io
import queue
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
import pytest
from errata import Client, error_of
from errata import v1 as pb
from errata.errors import AnalysisNotFound, DatasetNotFound, ErrataError, InvalidRequest, TooBusy, Unavailable
from errata.tokens import Scope, line_of, new_token
from errata.v1 import analysis_service_pb2_grpc, evidence_service_pb2_grpc
from running_service import MODEL, Running, Start, wait_for_metric

from service import paced_stream
from service.analyses import upload
from service.analyses.reanalyze_all import ReanalysisProgress
from service.api import analysis_service, downloads, evidence_service, interceptors, server
from service.api.server import SERVICES
from service.predictions.thumbnails import Thumbnails
from service.web import gates, pages, pictures

SOON = 30.0  # seconds; a timeout that no passing test reaches
HEADER = pb.UploadPredictionsRequest(header=pb.UploadHeader(analysis=pb.Analysis(dataset="demo")))


def chunk(content: bytes) -> pb.UploadPredictionsRequest:
    """Return a chunk message."""
    return pb.UploadPredictionsRequest(chunk=content)


@dataclass
class Work:
    """Replaces the start of an upload's thread: computes until the gate opens."""

    begun: threading.Event = field(default_factory=threading.Event)
    gate: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Iterator[Work]:
    """Block the threads of uploads until the test opens the gate."""
    computing, judge = Work(), upload.upload

    def compute(*arguments: Any) -> Any:
        computing.begun.set()
        assert computing.gate.wait(SOON), "a test left the gate shut"
        return judge(*arguments)

    monkeypatch.setattr(upload, "upload", compute)
    yield computing
    computing.gate.set()


@contextmanager
def start_upload(address: str, *parts: pb.UploadPredictionsRequest, token: str = "") -> Iterator[Any]:
    """Start an upload that sends only these messages; cancel it after the block."""
    ends: queue.SimpleQueue[None] = queue.SimpleQueue()

    def messages() -> Iterator[pb.UploadPredictionsRequest]:
        yield from parts
        ends.get()

    metadata = [("authorization", f"Bearer {token}")] if token else []
    with grpc.insecure_channel(address) as channel:
        stub = analysis_service_pb2_grpc.AnalysisServiceStub(channel)
        call = stub.UploadPredictions.future(messages(), timeout=SOON, metadata=metadata)
        try:
            yield call
        finally:
            call.cancel()
            ends.put(None)


def is_accepted(client: Client, content: bytes) -> bool:
    """Upload a file; return whether there was a free slot."""
    try:
        return client.upload(io.BytesIO(content), "demo").state == pb.Analysis.STATE_SUCCEEDED
    except TooBusy:
        return False


def wait_until_accepted(running: Running, content: bytes) -> None:
    """Retry an upload until it is accepted."""
    deadline = time.monotonic() + SOON
    with Client(running.addresses.grpc, attempts=1) as client:
        while not is_accepted(client, content):
            assert time.monotonic() < deadline, "timeout: the slot is still occupied"


def test_a_canceled_upload_occupies_its_slot_until_its_thread_ends(start: Start, work: Work, demo_csv: bytes) -> None:
    with start(max_uploads=1) as running, Client(running.addresses.grpc, attempts=1) as client:
        with start_upload(running.addresses.grpc, HEADER, chunk(demo_csv)) as call:
            assert work.begun.wait(SOON)
            call.cancel()
            with pytest.raises(grpc.FutureCancelledError):
                call.result()
        wait_for_metric(running, 'errata_rpc_handled_total{code="CANCELLED",method="UploadPredictions"} 1.0')
        assert [is_accepted(client, demo_csv) for _ in range(20)] == [False] * 20

        work.gate.set()

        wait_until_accepted(running, demo_csv)
        assert len(list(client.list())) == 1, "the cancelled upload left an analysis"


def test_a_complete_upload_occupies_its_slot_until_its_thread_ends(start: Start, work: Work, demo_csv: bytes) -> None:
    with start(max_uploads=1) as running, grpc.insecure_channel(running.addresses.grpc) as channel:
        call = analysis_service_pb2_grpc.AnalysisServiceStub(channel).UploadPredictions.future(
            iter([HEADER, chunk(demo_csv)])
        )
        assert work.begun.wait(SOON)
        time.sleep(0.2)  # the server has received all messages and waits for the thread
        call.cancel()
        wait_for_metric(running, 'errata_rpc_handled_total{code="CANCELLED",method="UploadPredictions"} 1.0')
        with Client(running.addresses.grpc, attempts=1) as client:
            assert [is_accepted(client, demo_csv) for _ in range(20)] == [False] * 20
            work.gate.set()
        wait_until_accepted(running, demo_csv)


@pytest.mark.parametrize("parts", [[HEADER], [HEADER, chunk(b"file_name,")]], ids=["header", "chunk"])
def test_an_upload_that_is_open_at_shutdown_is_unavailable(
    start: Start, parts: list[pb.UploadPredictionsRequest]
) -> None:
    with ExitStack() as stack:
        with start() as running:
            call = stack.enter_context(start_upload(running.addresses.grpc, *parts))
            wait_for_metric(running, 'errata_rpc_started_total{method="UploadPredictions"} 1.0')
        with pytest.raises(grpc.RpcError) as refused:
            call.result()

    error = error_of(refused.value, "")
    assert type(error) is Unavailable
    assert error.message == "The service is shutting down. Send the upload again."


def test_a_header_without_chunks_occupies_no_slot(start: Start, demo_csv: bytes) -> None:
    with (
        start(max_uploads=1) as running,
        start_upload(running.addresses.grpc, HEADER),
        Client(running.addresses.grpc, attempts=1) as client,
    ):
        assert [is_accepted(client, demo_csv) for _ in range(5)] == [True] * 5


@pytest.mark.parametrize("trickle", [b"", b"a"], ids=["empty chunks", "a byte now and then"])
def test_an_upload_without_progress_ends(
    start: Start, monkeypatch: pytest.MonkeyPatch, demo_csv: bytes, trickle: bytes
) -> None:
    monkeypatch.setattr(paced_stream, "MAX_WAIT_SECONDS", 0.5)
    stopped = threading.Event()

    def messages() -> Iterator[pb.UploadPredictionsRequest]:
        yield HEADER
        yield chunk(b"file_name,predicted_class\n")
        while not stopped.wait(0.05):
            yield chunk(trickle)

    with start(max_uploads=1) as running, grpc.insecure_channel(running.addresses.grpc) as channel:
        call = analysis_service_pb2_grpc.AnalysisServiceStub(channel).UploadPredictions.future(messages(), timeout=SOON)
        try:
            assert call.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert "bytes of the file a second" in call.details()
        finally:
            stopped.set()
        wait_until_accepted(running, demo_csv)


@pytest.fixture
def tokens(tmp_path: Path) -> dict[str, str]:
    """The tokens of two callers, whose digests are in the file `tokens`."""
    result = {"busy": new_token(), "other": new_token()}
    (tmp_path / "tokens").write_text("\n".join(line_of(name, Scope.WRITE, token) for name, token in result.items()))
    return result


def test_one_token_cannot_occupy_all_upload_slots(
    start: Start, work: Work, tokens: dict[str, str], tmp_path: Path, demo_csv: bytes
) -> None:
    with start(max_uploads=4, tokens=tmp_path / "tokens") as running, ExitStack() as stack:
        address = running.addresses.grpc
        for _ in range(2):
            work.begun.clear()
            stack.enter_context(start_upload(address, HEADER, chunk(demo_csv), token=tokens["busy"]))
            assert work.begun.wait(SOON)
        with Client(address, token=tokens["busy"], attempts=1) as busy:
            assert not is_accepted(busy, demo_csv)
        with Client(address, token=tokens["other"], attempts=1) as other:
            work.gate.set()
            assert is_accepted(other, demo_csv)


def test_one_token_cannot_occupy_all_watches(
    start: Start, tokens: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analysis_service, "MAX_WATCHES", 4)
    with (
        start(open_gate=False, tokens=tmp_path / "tokens") as running,
        Client(running.addresses.grpc, token=tokens["busy"], attempts=1) as busy,
        Client(running.addresses.grpc, token=tokens["other"], attempts=1) as other,
    ):
        name = busy.analyze(MODEL, "demo").name
        watches = [busy.watch(name), busy.watch(name), other.watch(name)]
        for watch in watches:
            next(watch)
        metadata = [("authorization", f"Bearer {tokens['busy']}")]
        with grpc.insecure_channel(running.addresses.grpc) as channel:
            stub = analysis_service_pb2_grpc.AnalysisServiceStub(channel)
            with pytest.raises(grpc.RpcError) as refused:
                list(stub.WatchAnalysis(pb.WatchAnalysisRequest(name=name), timeout=SOON, metadata=metadata))
        assert isinstance(error_of(refused.value, running.addresses.grpc), TooBusy)

        running.gate.set()

        assert [list(watch)[-1].state for watch in watches] == [pb.Analysis.STATE_SUCCEEDED] * 3


@contextmanager
def start_download(address: str, name: str, token: str = "") -> Iterator[Any]:
    """Start a download of a report that is larger than the buffers, and read its first chunk; cancel it at the end."""
    metadata = [("authorization", f"Bearer {token}")] if token else []
    small_buffers = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 1024)]
    with grpc.insecure_channel(address, [*small_buffers, ("grpc.use_local_subchannel_pool", 1)]) as channel:
        stub = analysis_service_pb2_grpc.AnalysisServiceStub(channel)
        stream = stub.RenderReport(pb.RenderReportRequest(analysis=name), timeout=SOON, metadata=metadata)
        next(stream)
        try:
            yield stream
        finally:
            stream.cancel()


def test_one_token_cannot_occupy_all_downloads(
    start: Start, tokens: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, demo_csv: bytes
) -> None:
    monkeypatch.setattr(downloads, "MAX_DOWNLOADS", 2)
    monkeypatch.setattr(downloads, "WAIT_SECONDS", 0.3)
    with (
        start(tokens=tmp_path / "tokens") as running,
        Client(running.addresses.grpc, token=tokens["busy"], attempts=1) as busy,
        Client(running.addresses.grpc, token=tokens["other"], attempts=1) as other,
    ):
        name = busy.upload(io.BytesIO(demo_csv), "demo").name
        with start_download(running.addresses.grpc, name, tokens["busy"]):
            with pytest.raises(TooBusy, match="Too many downloads: no slot became free within") as refused:
                busy.report(name)
            assert refused.value.retry_after == downloads.RETRY_SECONDS
            with pytest.raises(TooBusy, match="Too many downloads"):
                b"".join(busy.export(name))
            assert other.report(name)


def test_a_download_waits_for_a_slot(start: Start, monkeypatch: pytest.MonkeyPatch, demo_csv: bytes) -> None:
    monkeypatch.setattr(downloads, "MAX_DOWNLOADS", 1)
    with start() as running, ThreadPoolExecutor(1) as thread:
        name = running.client.upload(io.BytesIO(demo_csv), "demo").name
        with start_download(running.addresses.grpc, name):
            waiting = thread.submit(running.client.report, name)
            assert not wait([waiting], timeout=0.5).done
        assert waiting.result(SOON)


@pytest.mark.parametrize("own", [True, False])
def test_a_download_that_is_not_read_ends_if_another_waits(
    own: bool,
    start: Start,
    tokens: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    demo_csv: bytes,
) -> None:
    """Of the caller, if the caller has no further slot; of any caller, if no slot is free."""
    monkeypatch.setattr(downloads, "MAX_DOWNLOADS", 4 if own else 1)
    monkeypatch.setattr(downloads, "MAX_PAUSE_SECONDS", 0.2)
    with (
        start(tokens=tmp_path / "tokens") as running,
        Client(running.addresses.grpc, token=tokens["other"], attempts=1) as client,
        ExitStack() as stack,
    ):
        name = client.upload(io.BytesIO(demo_csv), "demo").name
        callers = ["busy", "other", "other"] if own else ["busy"]
        streams = [stack.enter_context(start_download(running.addresses.grpc, name, tokens[who])) for who in callers]

        assert client.report(name)

        ended = streams.pop(callers.index("other") if own else 0)
        with pytest.raises(grpc.RpcError) as error:
            list(ended)
        assert error_of(error.value, "").message.startswith("The client read too slowly while another download waited")
        assert all(b"".join(chunk.chunk for chunk in stream).rstrip().endswith(b"</html>") for stream in streams)


def test_files_that_are_being_computed_do_not_delay_other_calls(
    start: Start, monkeypatch: pytest.MonkeyPatch, demo_csv: bytes
) -> None:
    gate, started, num_files = threading.Event(), threading.Semaphore(0), 2 * server.NUM_THREADS

    def render(*_: object, **__: object) -> str:
        started.release()
        assert gate.wait(SOON)
        return "page"

    with start() as running, ThreadPoolExecutor(num_files) as threads:
        name = running.client.upload(io.BytesIO(demo_csv), "demo").name
        monkeypatch.setattr(analysis_service.report, "report", render)
        files = [threads.submit(running.client.report, name) for _ in range(num_files)]
        try:
            assert all(started.acquire(timeout=SOON) for _ in range(server.FILE_THREADS))
            assert running.client.get(name).name == name
            with pytest.raises(AnalysisNotFound):
                running.client.report("analyses/none")
            assert not any(file.done() for file in files)
        finally:
            gate.set()
        assert [file.result(SOON) for file in files] == [b"page"] * num_files


def test_a_download_that_waits_at_shutdown_is_unavailable(
    start: Start, monkeypatch: pytest.MonkeyPatch, demo_csv: bytes
) -> None:
    monkeypatch.setattr(downloads, "MAX_DOWNLOADS", 1)
    with ExitStack() as stack, ThreadPoolExecutor(1) as thread:
        with start() as running:
            name = running.client.upload(io.BytesIO(demo_csv), "demo").name
            stack.enter_context(start_download(running.addresses.grpc, name))
            client = stack.enter_context(Client(running.addresses.grpc, attempts=1))
            waiting = thread.submit(client.report, name)
            wait_for_metric(running, 'errata_rpc_started_total{method="RenderReport"} 2.0')
        with pytest.raises(Unavailable, match=r"The service is shutting down\. Start the download again\."):
            waiting.result(SOON)


def test_a_stream_of_progress_that_is_not_read_ends(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interceptors, "READ_SECONDS", 0.2)
    step = ReanalysisProgress(1, 1_000_000, "a" * 20, "b" * 20, False, "x" * 2000)
    monkeypatch.setattr(evidence_service, "reanalyze_all", lambda *_: repeat(step))
    small_buffers = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 1024)]
    with start() as running, grpc.insecure_channel(running.addresses.grpc, small_buffers) as channel:
        stub = evidence_service_pb2_grpc.EvidenceServiceStub(channel)
        stream = stub.ReanalyzeAnalyses(pb.ReanalyzeAnalysesRequest(dataset="demo"), timeout=SOON)
        next(stream)
        time.sleep(1)
        with pytest.raises(grpc.RpcError) as ended:
            list(stream)

    assert error_of(ended.value, "").message.startswith("The client read too slowly: no message for 0.2 seconds.")


def test_a_client_can_pause_a_download(start: Start, monkeypatch: pytest.MonkeyPatch, demo_csv: bytes) -> None:
    monkeypatch.setattr(downloads, "MAX_PAUSE_SECONDS", 0.1)
    monkeypatch.setattr(downloads, "MAX_DOWNLOADS", 2)
    with start() as running:
        name = running.client.upload(io.BytesIO(demo_csv), "demo").name
        with start_download(running.addresses.grpc, name) as stream:
            assert running.client.report(name)
            time.sleep(1.0)
            assert b"".join(chunk.chunk for chunk in stream).rstrip().endswith(b"</html>")


def test_each_stream_of_chunks_needs_a_slot(start: Start, monkeypatch: pytest.MonkeyPatch, demo_csv: bytes) -> None:
    monkeypatch.setattr(downloads, "MAX_DOWNLOADS", 0)
    monkeypatch.setattr(downloads, "WAIT_SECONDS", 0.0)
    calls: dict[str, Callable[[Client, str], object]] = {
        "ExportVerdicts": lambda client, name: list(client.export(name)),
        "RenderReport": lambda client, name: client.report(name),
        "ExportReviews": lambda client, _: list(client.export_reviews("demo")),
    }
    methods = [method for service in SERVICES for method in service.methods]
    assert {method.name for method in methods if method.output_type.name == "FileChunk"} == set(calls)
    with start() as running, Client(running.addresses.grpc, attempts=1) as client:
        name = client.upload(io.BytesIO(demo_csv), "demo").name
        for call in calls.values():
            with pytest.raises(TooBusy, match="Too many downloads"):
                call(client, name)


def test_a_request_that_cannot_succeed_neither_waits_nor_ends_a_download(
    start: Start, monkeypatch: pytest.MonkeyPatch, demo_csv: bytes
) -> None:
    monkeypatch.setattr(downloads, "MAX_DOWNLOADS", 1)
    monkeypatch.setattr(downloads, "MAX_PAUSE_SECONDS", 0.0)
    missing = "analyses/" + "0" * 21
    comparison = pb.CompareAnalysesRequest(a=missing, b=missing)
    calls: list[tuple[type[ErrataError], Callable[[Client], object]]] = [
        (InvalidRequest, lambda client: client._report(pb.RenderReportRequest())),
        (AnalysisNotFound, lambda client: client.report(missing)),
        (AnalysisNotFound, lambda client: client._report(pb.RenderReportRequest(comparison=comparison))),
        (AnalysisNotFound, lambda client: client._report(pb.RenderReportRequest(trend={"analyses": [missing]}))),
        (AnalysisNotFound, lambda client: list(client.export(missing))),
        (InvalidRequest, lambda client: list(client.export(name, target="zzz"))),
        (DatasetNotFound, lambda client: list(client.export_reviews("zzz"))),
        (InvalidRequest, lambda client: list(client.export_reviews("demo", "labels_csv", min_reviews=-1))),
    ]
    with start() as running, Client(running.addresses.grpc, attempts=1) as client:
        name = client.upload(io.BytesIO(demo_csv), "demo").name
        with start_download(running.addresses.grpc, name) as stream:
            for error, call in calls:
                with pytest.raises(error):
                    call(client)
            assert b"".join(chunk.chunk for chunk in stream).rstrip().endswith(b"</html>")


def test_few_reports_with_a_file_wait_for_a_slot(
    start: Start, monkeypatch: pytest.MonkeyPatch, demo_csv: bytes
) -> None:
    monkeypatch.setattr(downloads, "MAX_DOWNLOADS", 1)
    monkeypatch.setattr(analysis_service, "MAX_FILES", 1)
    trend = pb.ComputeTrendRequest(dataset="datasets/demo", reference=b"model,top1\n")
    with start() as running, Client(running.addresses.grpc, attempts=1) as client, ExitStack() as stack:
        name = client.upload(io.BytesIO(demo_csv), "demo").name
        stack.enter_context(start_download(running.addresses.grpc, name))
        channel = stack.enter_context(grpc.insecure_channel(running.addresses.grpc))
        stub = analysis_service_pb2_grpc.AnalysisServiceStub(channel)
        ended: queue.Queue[Any] = queue.Queue()
        for _ in range(2):
            stream = stub.RenderReport(pb.RenderReportRequest(trend=trend), timeout=SOON)
            stack.callback(stream.cancel)
            stream.add_done_callback(ended.put)

        refused = ended.get(timeout=SOON)

        assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert refused.details().startswith("Too many reports with a file: at most 1 at once.")
        assert ended.empty(), "the other one waits"


def test_a_canceled_download_is_no_fault_of_the_service(start: Start, demo_csv: bytes) -> None:
    with start() as running:
        name = running.client.upload(io.BytesIO(demo_csv), "demo").name
        for _ in range(20):  # a write fails in about half of the cancellations
            with start_download(running.addresses.grpc, name):
                time.sleep(0.02)
        assert running.client.report(name)
        with urllib.request.urlopen(f"http://{running.addresses.http}/metrics") as response:
            metrics = response.read().decode()

    assert 'errata_rpc_handled_total{code="INTERNAL",method="RenderReport"} 0.0' in metrics


@pytest.mark.parametrize(
    ("module", "blocked", "path", "status"),
    [
        (pages, (pages, "handle"), "/", 200),
        (gates, (gates, "find_newest"), "/v1/gates/prod/m/1", 404),
        (pictures, (Thumbnails, "load"), "/datasets/demo/thumbnails/i", 404),
    ],
    ids=["pages", "gates", "pictures"],
)
def test_one_token_cannot_occupy_all_requests_of_pages(
    start: Start,
    tokens: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    module: ModuleType,
    blocked: tuple[Any, str],
    path: str,
    status: int,
) -> None:
    begun, released, function = threading.Event(), threading.Event(), getattr(*blocked)

    def block_first(*arguments: Any) -> Any:
        if not begun.is_set():
            begun.set()
            assert released.wait(SOON)
        return function(*arguments)

    monkeypatch.setattr(*blocked, block_first)
    monkeypatch.setattr(module, "MAX_REQUESTS", 2)
    with start(tokens=tmp_path / "tokens") as running, ThreadPoolExecutor(1) as thread:

        def get(caller: str) -> tuple[int, str | None]:
            with closing(http.client.HTTPConnection(running.addresses.http, timeout=SOON)) as connection:
                connection.request("GET", path, headers={"Authorization": f"Bearer {tokens[caller]}"})
                response = connection.getresponse()
                return response.status, response.headers["Retry-After"]

        first = thread.submit(get, "busy")
        try:
            assert begun.wait(SOON)
            assert get("busy") == (503, "1")
            assert get("other") == (status, None)
        finally:
            released.set()
        assert first.result() == (status, None)
