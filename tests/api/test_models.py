"""Model analyses with the fake predictor: accepted, watched, canceled, shared, and refused."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from errata import AsyncClient, Client, errors, pb
from errata.connection import ConnectionFailed
from errata.v1 import analysis_service_pb2_grpc

from service.analyses import submit as submit_module
from service.analyses.lifecycle import BeingArchived
from service.analyses.ports import Ports
from service.archive.archive import FileArchive
from service.domain import Analysis, AnalysisRequest
from service.evidence.bundle import Bundle
from service.predictions.fake import hashed_class

MODEL = "demo:efficientnet_lite0"


def wait_for_end(client: Client, name: str) -> pb.Analysis:
    return [*client.watch(name)][-1]


def until(holds: Callable[[], bool], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.02)
    return False


def test_a_model_is_queued_then_runs_then_succeeds(start, demo: Bundle) -> None:
    with start(open_gate=False) as service:
        queued = service.client.analyze(MODEL, "demo", labels={"team": "vision"}, fresh=True)
        assert until(lambda: service.client.get(queued.name).state == pb.Analysis.STATE_RUNNING)
        service.gate.set()

        final = wait_for_end(service.client, queued.name)

    right = sum(hashed_class(name) == target for name, target in zip(demo.judged_names, demo.all_targets, strict=True))
    assert queued.state in (pb.Analysis.STATE_QUEUED, pb.Analysis.STATE_RUNNING)
    assert final.state == pb.Analysis.STATE_SUCCEEDED
    assert final.summary.groups["all"].counts["correct"] == right
    assert (final.progress.done, final.progress.total) == (20, 20)
    assert final.model_info.model == MODEL
    assert dict(final.labels) == {"team": "vision"}


def test_every_prediction_belongs_to_its_image(client: Client) -> None:
    final = wait_for_end(client, client.analyze(MODEL, "demo").name)

    verdicts = [*client.verdicts(final.name)]

    assert len(verdicts) == 20
    assert all(verdict.predicted == hashed_class(verdict.file_name) for verdict in verdicts)


def test_several_shards_give_the_same_verdicts_as_one(start) -> None:
    with start(shard_size=3) as many, start(shard_size=100) as one:
        first = wait_for_end(many.client, many.client.analyze(MODEL, "demo").name)
        second = wait_for_end(one.client, one.client.analyze(MODEL, "demo").name)

        assert first.predictions_digest == second.predictions_digest


def test_a_name_without_a_source_is_a_timm_model(start) -> None:
    with start() as service:
        final = wait_for_end(service.client, service.client.analyze("resnet50", "demo").name)

        assert final.state == pb.Analysis.STATE_FAILED  # the fake predictor has no timm model
        assert final.failure.reason == "MODEL_NOT_FOUND"


@pytest.mark.parametrize(
    ("model", "error"),
    [
        ("", errors.InvalidRequest),
        ("demo:", errors.InvalidModelId),
        ("demo:../../etc/passwd", errors.InvalidModelId),
        ("file:/etc/passwd", errors.InvalidModelId),
        ("file:../x.pth#resnet18", errors.InvalidModelId),
        ("ftp:resnet", errors.InvalidModelId),
        ("x" * 1000, errors.InvalidModelId),
        ("demo:efficientnet_lite9", errors.ModelNotFound),
        ("file:weights.pth#resnet18", errors.ModelNotFound),  # files are not allowed
    ],
)
def test_an_invalid_model_is_rejected_immediately(client: Client, model: str, error: type) -> None:
    with pytest.raises(error):
        client.analyze(model, "demo")


def test_a_forbidden_model_is_rejected_immediately(start) -> None:
    with start(model_sources=["demo:efficientnet_lite1"]) as service:
        with pytest.raises(errors.InvalidModelId, match="ERRATA_MODEL_SOURCES"):
            service.client.analyze(MODEL, "demo")

        assert wait_for_end(service.client, service.client.analyze("demo:efficientnet_lite1", "demo").name).HasField(
            "summary"
        )


def test_an_unknown_dataset_is_rejected_with_the_available_ones(client: Client) -> None:
    with pytest.raises(errors.DatasetNotFound, match="demo, imagenet-real"):
        client.analyze(MODEL, "imagenet")


def test_a_dataset_without_images_is_rejected(client: Client) -> None:
    with pytest.raises(errors.InvalidRequest, match="ERRATA_IMAGES"):
        client.analyze(MODEL, "imagenet-real")


def test_a_canceled_queued_model_never_runs(start) -> None:
    with start(open_gate=False) as service:
        running = service.client.analyze(MODEL, "demo")
        queued = service.client.analyze("demo:efficientnet_lite1", "demo")

        assert service.client.cancel(queued.name).state == pb.Analysis.STATE_CANCELLED
        service.gate.set()

        assert wait_for_end(service.client, running.name).state == pb.Analysis.STATE_SUCCEEDED
        assert service.client.get(queued.name).state == pb.Analysis.STATE_CANCELLED


def test_a_running_model_stops_when_it_is_canceled(start) -> None:
    with start(open_gate=False, batch_size=1) as service:
        name = service.client.analyze(MODEL, "demo").name
        assert until(lambda: service.client.get(name).state == pb.Analysis.STATE_RUNNING)

        cancelled = service.client.cancel(name)
        service.gate.set()

        assert cancelled.state == pb.Analysis.STATE_CANCELLED
        assert (
            wait_for_end(service.client, service.client.analyze(MODEL, "demo").name).state
            == pb.Analysis.STATE_SUCCEEDED
        )
        assert service.client.get(name).state == pb.Analysis.STATE_CANCELLED


def test_canceling_a_finished_analysis_has_no_effect(client: Client) -> None:
    final = wait_for_end(client, client.analyze(MODEL, "demo").name)

    assert client.cancel(final.name) == final


def test_a_cancellation_waits_for_a_result_that_is_archived(start, monkeypatch: pytest.MonkeyPatch) -> None:
    put, is_writing, end_write = FileArchive.put, threading.Event(), threading.Event()

    def put_later(archive: FileArchive, *args: Any, **kwargs: Any) -> object:
        is_writing.set()
        assert end_write.wait(10)
        return put(archive, *args, **kwargs)

    monkeypatch.setattr(FileArchive, "put", put_later)
    refusals = []
    monkeypatch.setattr(BeingArchived, "__init__", lambda *args, **options: refusals.append(options))
    with start() as service, ThreadPoolExecutor() as pool:
        name = service.client.analyze(MODEL, "demo").name
        assert is_writing.wait(10)
        cancellation = pool.submit(service.client.cancel, name)
        assert until(lambda: len(refusals) > 1)
        end_write.set()

        assert cancellation.result() == wait_for_end(service.client, name)
        assert cancellation.result().state == pb.Analysis.STATE_SUCCEEDED


def test_equal_requests_share_one_computation_and_are_two_analyses(start) -> None:
    with start(open_gate=False) as service:
        first = service.client.analyze(MODEL, "demo", labels={"n": "1"})
        second = service.client.analyze(MODEL, "demo", labels={"n": "2"})
        assert service.client.cancel(first.name).state == pb.Analysis.STATE_CANCELLED
        service.gate.set()

        final = wait_for_end(service.client, second.name)

        assert first.name != second.name
        assert (final.state, dict(final.labels)) == (pb.Analysis.STATE_SUCCEEDED, {"n": "2"})


def test_a_request_id_gives_the_same_analysis_while_it_is_open_and_after(start) -> None:
    with start(open_gate=False) as service:
        first = service.client.analyze(MODEL, "demo", request_id="once")
        assert service.client.analyze(MODEL, "demo", request_id="once").name == first.name
        with pytest.raises(errors.AlreadyExists):
            service.client.analyze("demo:efficientnet_lite1", "demo", request_id="once")
        service.gate.set()
        wait_for_end(service.client, first.name)

        assert service.client.analyze(MODEL, "demo", request_id="once").name == first.name
        with pytest.raises(errors.AlreadyExists):
            service.client.analyze("demo:efficientnet_lite1", "demo", request_id="once")


def test_more_open_models_than_allowed_are_rejected_with_a_delay(start) -> None:
    with start(open_gate=False, max_open=2) as service:
        service.client.analyze(MODEL, "demo")
        service.client.analyze(MODEL, "demo", fresh=True)

        with pytest.raises(errors.TooBusy) as caught:
            service.client.analyze(MODEL, "demo", fresh=True)

        service.gate.set()
        assert caught.value.retry_after == 15.0


def test_a_watch_reports_the_queue_position_and_the_progress(start) -> None:
    with start(open_gate=False, batch_size=5) as service:
        service.client.analyze(MODEL, "demo")
        waiting = service.client.analyze("demo:efficientnet_lite1", "demo")
        stream = service.client.watch(waiting.name)
        first = next(stream)
        service.gate.set()
        last = [*stream][-1]

        assert first.progress.queue_position == 1
        assert first.progress.live_workers == 1
        assert last.state == pb.Analysis.STATE_SUCCEEDED


def test_a_watch_reports_cancellation_when_the_server_stops(start) -> None:
    updates: list[pb.Analysis] = []
    with start(open_gate=False) as service:
        watcher = Client(service.addresses.grpc)  # stays open after the service stops
        name = service.client.analyze(MODEL, "demo").name
        listener = threading.Thread(target=lambda: updates.extend(watcher.watch(name)))
        listener.start()
        assert until(lambda: bool(updates))
        threading.Timer(0.2, service.gate.set).start()  # the current batch ends while the server stops
    listener.join(10)
    watcher.close()

    assert updates[-1].state == pb.Analysis.STATE_CANCELLED


def test_several_models_are_queued_in_their_order(client: Client) -> None:
    models = ["demo:efficientnet_lite1", MODEL]

    queued = client.analyze_all(models, "demo", labels={"team": "vision"})

    finals = [wait_for_end(client, analysis.name) for analysis in queued]
    assert [analysis.display_name for analysis in queued] == models
    assert {final.state for final in finals} == {pb.Analysis.STATE_SUCCEEDED}
    assert all(dict(final.labels) == {"team": "vision"} for final in finals)


def test_one_model_can_be_passed_as_text(client: Client) -> None:
    (analysis,) = client.analyze_all(MODEL, "demo")
    assert analysis.display_name == MODEL


def test_a_repeated_call_returns_the_same_analyses(client: Client) -> None:
    models = [MODEL, "demo:efficientnet_lite1"]

    first, second = (client.analyze_all(models, "demo", request_id="once") for _ in range(2))

    assert [analysis.name for analysis in first] == [analysis.name for analysis in second]


def test_a_refused_model_cancels_those_before_it(start) -> None:
    with start() as service:
        with pytest.raises(errors.ModelNotFound):
            service.client.analyze_all([MODEL, "demo:efficientnet_lite9"], "demo", fresh=True)

        states = {analysis.state for analysis in service.client.list()}
        assert states <= {pb.Analysis.STATE_CANCELLED, pb.Analysis.STATE_SUCCEEDED}


@pytest.mark.parametrize("error", [KeyboardInterrupt(), errors.Unavailable("The service did not respond in time.")])
def test_an_analysis_whose_response_is_lost_is_cancelled_with_those_before_it(
    start, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    with start(open_gate=False) as service:
        stub: Any = service.client._analyses
        create, lost = stub.CreateAnalysis, [error]

        def create_and_lose(request: pb.CreateAnalysisRequest, **options: Any) -> pb.Analysis:
            analysis = create(request, **options)
            if request.analysis.model != MODEL and lost:
                raise lost.pop()
            return analysis

        monkeypatch.setattr(stub, "CreateAnalysis", create_and_lose)
        with pytest.raises(type(error)):
            service.client.analyze_all([MODEL, "demo:efficientnet_lite1"], "demo", fresh=True)

        assert [analysis.state for analysis in service.client.list()] == [pb.Analysis.STATE_CANCELLED] * 2
        service.gate.set()


class Unresponsive(analysis_service_pb2_grpc.AnalysisServiceServicer):
    """A service that queues one analysis and then none; it records each call with its time limit in seconds."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, float]] = []

    def CreateAnalysis(self, request: pb.CreateAnalysisRequest, context: grpc.ServicerContext) -> pb.Analysis:
        self.calls.append((request.analysis.model, context.time_remaining()))
        if len(self.calls) > 1:
            context.abort(grpc.StatusCode.UNAVAILABLE, "Cancelling all calls")
        return pb.Analysis(name="analyses/first")

    def CancelAnalysis(self, request: pb.CancelAnalysisRequest, context: grpc.ServicerContext) -> pb.Analysis:
        self.calls.append((request.name, context.time_remaining()))
        return pb.Analysis(name=request.name)


@contextmanager
def client_of(service: analysis_service_pb2_grpc.AnalysisServiceServicer) -> Iterator[Client]:
    """Serve one call at a time, and yield a client that makes each call once."""
    server = grpc.server(ThreadPoolExecutor(1))
    analysis_service_pb2_grpc.add_AnalysisServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with Client(f"127.0.0.1:{port}", attempts=1) as client:
            yield client
    finally:
        server.stop(None)


def test_an_unresponsive_service_delays_the_end_of_analyze_all_by_a_few_seconds_at_most() -> None:
    service = Unresponsive()

    with client_of(service) as client, pytest.raises(errors.Unavailable):
        client.analyze_all(["demo:a", "demo:b", "demo:c"], "demo")

    names, limits = zip(*service.calls, strict=True)
    assert names == ("demo:a", "demo:b", "analyses/first", "demo:b")
    assert min(limits[:2]) > 10 > max(limits[2:])


class SlowAgain(Unresponsive):
    """A service that responds to the repeated request after two seconds."""

    def CreateAnalysis(self, request: pb.CreateAnalysisRequest, context: grpc.ServicerContext) -> pb.Analysis:
        if len(self.calls) < 3:
            return super().CreateAnalysis(request, context)
        time.sleep(2)
        self.calls.append((request.analysis.model, context.time_remaining()))
        return pb.Analysis(name="analyses/second")


def test_the_cancellation_of_the_last_analysis_has_its_own_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("errata._sync.client.CLEANUP_SECONDS", 60.0)
    service = SlowAgain()

    with client_of(service) as client, pytest.raises(errors.Unavailable):
        client.analyze_all(["demo:a", "demo:b"], "demo")

    (name, rest), (canceled, limit) = service.calls[-2:]
    assert (name, canceled) == ("demo:b", "analyses/second")
    assert limit > rest, "it does not have the rest of the time of the request"


MODELS_OF_SLOW = list("abcdefg")


class Slow(analysis_service_pb2_grpc.AnalysisServiceServicer):
    """A service that refuses the seventh analysis, and takes half a second for each cancellation."""

    def __init__(self) -> None:
        self.canceled: list[str] = []

    def CreateAnalysis(self, request: pb.CreateAnalysisRequest, context: grpc.ServicerContext) -> pb.Analysis:
        if request.analysis.model == MODELS_OF_SLOW[-1]:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "Unknown model.")
        return pb.Analysis(name=f"analyses/{request.analysis.model}")

    def CancelAnalysis(self, request: pb.CancelAnalysisRequest, context: grpc.ServicerContext) -> pb.Analysis:
        time.sleep(0.5)
        self.canceled.append(request.name)
        return pb.Analysis(name=request.name)


def test_analyze_all_cancels_all_analyses_of_a_slow_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("errata._sync.client.CLEANUP_SECONDS", 2.0)
    service = Slow()

    with client_of(service) as client, pytest.raises(errors.ErrataError, match="Unknown model"):
        client.analyze_all(MODELS_OF_SLOW, "demo")

    assert service.canceled == [f"analyses/{model}" for model in MODELS_OF_SLOW[:-1]]


def test_analyze_all_does_not_repeat_a_call_that_no_service_received(monkeypatch: pytest.MonkeyPatch) -> None:
    called = []

    def create(request: pb.CreateAnalysisRequest, **_: Any) -> pb.Analysis:
        called.append(request.analysis.model)
        raise ConnectionFailed("No service.")

    with Client("127.0.0.1:1") as client:
        monkeypatch.setattr(client._analyses, "CreateAnalysis", create)
        with pytest.raises(ConnectionFailed):
            client.analyze_all([MODEL, "demo:efficientnet_lite1"], "demo")

    assert called == [MODEL]


async def test_a_cancellation_cancels_the_analysis_that_the_service_is_queueing(
    start, monkeypatch: pytest.MonkeyPatch
) -> None:
    def submit_slowly(ports: Ports, request: AnalysisRequest, *arguments: str) -> Analysis:
        if request.model != MODEL:
            is_queueing.set()
            is_cancelled.wait(10)
        return submit(ports, request, *arguments)

    submit, is_queueing, is_cancelled = submit_module.submit, threading.Event(), threading.Event()
    with start(open_gate=False) as service:
        monkeypatch.setattr(submit_module, "submit", submit_slowly)
        async with AsyncClient(service.addresses.grpc) as client:
            call = asyncio.create_task(client.analyze_all([MODEL, "demo:efficientnet_lite1"], "demo", fresh=True))
            assert await asyncio.to_thread(is_queueing.wait, 10)
            call.cancel()
            asyncio.get_running_loop().call_later(0.1, is_cancelled.set)  # the client cancels the call meanwhile
            with pytest.raises(asyncio.CancelledError):
                await call

            assert [analysis.state async for analysis in client.list()] == [pb.Analysis.STATE_CANCELLED] * 2
        service.gate.set()
