"""Limits on concurrent messages, threads, watches, and health calls; other callers are still served."""

import asyncio
import io
import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import grpc
import pytest
from errata import AsyncClient, Client, error_of, pb
from errata._sync import client as client_module
from errata.errors import AnalysisNotFound, ErrataError, TooBusy, TooLarge, Unavailable
from errata.tokens import Scope, line_of, new_token
from errata.v1 import analysis_service_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from running_service import MODEL, Running, Start

from service import wire
from service.api import analysis_service, interceptors
from service.api.server import MAX_CALLS, NUM_THREADS, max_connections
from service.bounded_executor import BoundedExecutor
from service.caller import CALLER, Caller
from service.concurrency import ConcurrencyLimit
from service.web.connection import MAX_CONNECTIONS as MOST_HTTP

SOON = 30.0  # seconds; a timeout that no passing test reaches
POLICY = "version: 1\nname: p\nmin_samples: 1\nbounds: [{name: exact, measure: top1_accuracy, min: 1}]\n"
CHECK = "/grpc.health.v1.Health/Check"


def make_executor() -> BoundedExecutor:
    """Return an executor with the threads and the limit of the gRPC server."""
    return BoundedExecutor(NUM_THREADS, "test", ConcurrencyLimit(MAX_CALLS, "calls", retry_after=1.0))


def wait_without_messages(ends: "queue.SimpleQueue[None]") -> Iterator[bytes]:
    """A stream that never yields a message."""
    ends.get()
    yield from ()


def start_call(channel: grpc.Channel, path: str, ends: "queue.SimpleQueue[None]") -> Any:
    """Start a call without sending a message."""
    return channel.stream_stream(path)(wait_without_messages(ends), timeout=SOON)


@pytest.mark.parametrize("method", ["GetAnalysis", "UploadPredictions", "WatchAnalysis", "DeleteAnalysis"])
def test_a_call_without_a_token_is_rejected_before_its_message_is_received(
    start: Start, tmp_path: Path, method: str
) -> None:
    (tmp_path / "tokens").write_text(line_of("ci", Scope.WRITE, new_token()))
    ends: queue.SimpleQueue[None] = queue.SimpleQueue()
    with start(tokens=tmp_path / "tokens") as running, grpc.insecure_channel(running.addresses.grpc) as channel:
        call = start_call(channel, f"/errata.v1.AnalysisService/{method}", ends)
        with pytest.raises(grpc.RpcError) as refused:
            next(call)
        ends.put(None)

    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_incomplete_health_calls_are_evicted_by_new_calls(start: Start) -> None:
    ends: queue.SimpleQueue[None] = queue.SimpleQueue()
    limit = interceptors.MAX_HEALTH_REQUESTS
    with start() as running, grpc.insecure_channel(running.addresses.grpc) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        calls = [start_call(channel, CHECK, ends) for _ in range(limit + 5)]
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=SOON)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
            with pytest.raises(grpc.RpcError) as ended:
                next(calls[0])
            assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
        finally:
            for call in calls:
                call.cancel()
                ends.put(None)
        for wrong, code in (
            ("x" * 300, grpc.StatusCode.INVALID_ARGUMENT),
            ("nobody", grpc.StatusCode.NOT_FOUND),
        ):
            with pytest.raises(grpc.RpcError) as refused:
                stub.Check(health_pb2.HealthCheckRequest(service=wrong), timeout=SOON)
            assert refused.value.code() is code


def test_a_health_watch_ends_at_shutdown(start: Start) -> None:
    statuses: list[int] = []
    codes: list[grpc.StatusCode] = []

    def watch(address: str) -> None:
        with grpc.insecure_channel(address) as channel:
            try:
                for item in health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=SOON):
                    statuses.append(item.status)
            except grpc.RpcError as error:
                codes.append(error.code())

    with start() as running:
        thread = threading.Thread(target=watch, args=(running.addresses.grpc,))
        thread.start()
        while not statuses:
            thread.join(0.01)
    thread.join(SOON)

    assert statuses == [health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING]
    assert codes == [grpc.StatusCode.UNAVAILABLE]


def test_a_reflection_stream_ends_at_shutdown(start: Start) -> None:
    requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
    requests.put(reflection_pb2.ServerReflectionRequest(list_services=""))
    with start() as running:
        channel = grpc.insecure_channel(running.addresses.grpc)
        stream = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(
            iter(requests.get, None), timeout=SOON
        )
        next(stream)
    with channel, pytest.raises(grpc.RpcError) as ended:
        next(stream)
    requests.put(None)

    assert ended.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED, "it does not count as a fault of the service"
    assert "the service is shutting down" in ended.value.details()


@pytest.mark.parametrize(("files", "connections"), [(1024, 384), (65_536, 2000), (256, 1)])
def test_the_connection_limit_reserves_file_descriptors(
    monkeypatch: pytest.MonkeyPatch, files: int, connections: int
) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (files, files))

    assert max_connections() == connections
    assert connections == 1 or connections + MOST_HTTP < files


def test_connections_above_the_limit_are_closed_and_earlier_ones_are_served(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.api.server.MAX_CONNECTIONS", 3)
    with start() as running:
        assert running.client.error_types()  # opens the connection
        opened = [
            grpc.insecure_channel(running.addresses.grpc, options=[("grpc.use_local_subchannel_pool", 1)])
            for _ in range(5)
        ]
        served: list[grpc.StatusCode] = []
        for channel in opened:
            try:
                health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=SOON)
                served.append(grpc.StatusCode.OK)
            except grpc.RpcError as error:
                served.append(error.code())
        assert served == [grpc.StatusCode.OK] * 2 + [grpc.StatusCode.UNAVAILABLE] * 3
        assert running.client.error_types()
        for channel in opened:
            channel.close()


def test_the_number_of_watches_is_limited(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analysis_service, "MAX_WATCHES", 2)
    with start(open_gate=False) as running:
        analysis = running.client.analyze(MODEL, "demo")
        watches = [running.client.watch(analysis.name) for _ in range(2)]
        for watch in watches:
            next(watch)
        request = pb.WatchAnalysisRequest(name=analysis.name)
        with grpc.insecure_channel(running.addresses.grpc) as channel:
            stub = analysis_service_pb2_grpc.AnalysisServiceStub(channel)
            with pytest.raises(grpc.RpcError) as refused:
                list(stub.WatchAnalysis(request, timeout=SOON))
        error = error_of(refused.value, running.addresses.grpc)
        assert isinstance(error, TooBusy)
        assert error.retry_after == analysis_service.HEARTBEAT_SECONDS
        running.gate.set()
        assert [list(watch)[-1].state for watch in watches] == [pb.Analysis.STATE_SUCCEEDED] * 2
        assert list(running.client.watch(analysis.name))[-1].state == pb.Analysis.STATE_SUCCEEDED


@pytest.mark.parametrize(("exists", "error"), [(True, None), (False, AnalysisNotFound)])
def test_a_watch_of_an_analysis_that_does_not_run_needs_no_slot(
    start: Start, monkeypatch: pytest.MonkeyPatch, demo_csv: bytes, exists: bool, error: type[ErrataError] | None
) -> None:
    monkeypatch.setattr(analysis_service, "MAX_WATCHES", 0)
    with start() as running, grpc.insecure_channel(running.addresses.grpc) as channel:
        name = running.client.upload(io.BytesIO(demo_csv), "demo").name if exists else "analyses/" + "0" * 21
        stub = analysis_service_pb2_grpc.AnalysisServiceStub(channel)
        watch = stub.WatchAnalysis(pb.WatchAnalysisRequest(name=name), timeout=SOON)
        if error is None:
            assert [analysis.state for analysis in watch] == [pb.Analysis.STATE_SUCCEEDED]
        else:
            with pytest.raises(grpc.RpcError) as refused:
                next(watch)
            assert type(error_of(refused.value, "")) is error


async def test_an_abandoned_watch_of_the_async_client_ends(start: Start) -> None:
    with start(open_gate=False) as running:
        name = running.client.analyze(MODEL, "demo").name
        async with AsyncClient(running.addresses.grpc) as client:
            for _ in range(3):
                async for _ in client.watch(name):
                    break

            async with asyncio.timeout(SOON):
                while len(asyncio.all_tasks()) > 1:  # gRPC has a task for each call
                    await asyncio.sleep(0.01)


def test_a_refused_watch_starts_when_a_slot_is_free(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time limit for an unavailable service does not apply."""
    monkeypatch.setattr(analysis_service, "MAX_WATCHES", 1)
    monkeypatch.setattr(client_module, "RESUME_SECONDS", -1.0)
    delays: list[float] = []
    with start(open_gate=False) as running:
        analysis = running.client.analyze(MODEL, "demo")
        watch = running.client.watch(analysis.name)
        next(watch)

        def sleep(seconds: float) -> None:
            delays.append(seconds)
            if len(delays) == 3:
                running.gate.set()
                list(watch)

        monkeypatch.setattr(client_module, "sleep", sleep)

        assert list(running.client.watch(analysis.name))[-1].state == pb.Analysis.STATE_SUCCEEDED

    assert delays == [analysis_service.HEARTBEAT_SECONDS] * 3


def test_a_refused_watch_ends_at_the_timeout_of_its_caller(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analysis_service, "MAX_WATCHES", 1)
    with start(open_gate=False) as running:
        analysis = running.client.analyze(MODEL, "demo")
        watch = running.client.watch(analysis.name)
        next(watch)

        assert list(running.client.watch(analysis.name, timeout=0.2)) == []

        running.gate.set()
        list(watch)


async def test_calls_above_the_limit_are_rejected_with_a_retry_delay() -> None:
    executor, gate = make_executor(), threading.Event()
    running = [asyncio.create_task(executor.call(gate.wait, SOON)) for _ in range(MAX_CALLS)]
    await asyncio.sleep(0)
    with pytest.raises(TooBusy) as refused:
        await executor.call(int)
    assert refused.value.retry_after
    going_on = asyncio.create_task(executor.call_admitted(int))  # on behalf of an admitted call

    gate.set()
    assert all(await asyncio.gather(*running))
    assert await going_on == 0
    assert await executor.call(int) == 0


@pytest.mark.parametrize(
    ("converter", "call"),
    [
        ("query_key", lambda client, _: [*client.list()]),
        ("to_analysis", lambda client, _: [*client.list()]),
        ("to_breakdown", lambda client, name: client.breakdown(name)),
        ("to_gate_result", lambda client, name: client.gate(name, policy=POLICY)),
        ("to_trend", lambda client, name: client.trend(analyses=[name])),
        ("to_queue_item", lambda client, _: [*client.review_queue("demo")]),
        ("to_audit_event", lambda client, _: [*client.audit_events()]),
    ],
)
def test_messages_of_variable_size_are_converted_in_threads(
    running: Running, monkeypatch: pytest.MonkeyPatch, demo_csv: bytes, converter: str, call: Callable[..., object]
) -> None:
    name = running.client.upload(io.BytesIO(demo_csv), "demo").name
    convert, threads = getattr(wire, converter), set()

    def convert_and_record(*arguments: Any) -> Any:
        threads.add(threading.current_thread().name.partition("_")[0])
        return convert(*arguments)

    monkeypatch.setattr(wire, converter, convert_and_record)
    call(running.client, name)

    assert threads == {"call"}


async def test_one_token_cannot_occupy_all_call_slots() -> None:
    executor, gate = make_executor(), threading.Event()

    async def call(caller: str) -> bool:
        CALLER.set(Caller(caller))
        return bool(await executor.call(gate.wait, SOON))

    busy = [asyncio.create_task(call("busy")) for _ in range(MAX_CALLS // 2)]
    await asyncio.sleep(0)
    with pytest.raises(TooBusy):
        await asyncio.create_task(call("busy"))
    other = asyncio.create_task(call("other"))
    await asyncio.sleep(0)
    assert not other.done()

    gate.set()
    assert all(await asyncio.gather(*busy, other))
    assert NUM_THREADS < MAX_CALLS // 2


async def test_one_token_leaves_a_thread_to_others() -> None:
    executor, gate = make_executor(), threading.Event()

    async def call(caller: str, function: Callable[..., Any], *arguments: Any) -> Any:
        CALLER.set(Caller(caller))
        return await executor.call(function, *arguments)

    busy = [asyncio.create_task(call("busy", gate.wait, SOON)) for _ in range(2 * NUM_THREADS)]
    await asyncio.sleep(0.1)  # the threads have started
    for task in busy[: NUM_THREADS - 1]:
        task.cancel()  # the threads continue
    try:
        async with asyncio.timeout(SOON / 2):
            assert [await asyncio.create_task(call("other", int)) for _ in range(NUM_THREADS)] == [0] * NUM_THREADS
        assert not any(task.done() for task in busy[NUM_THREADS - 1 :])
    finally:
        gate.set()

    assert all(await asyncio.gather(*busy[NUM_THREADS - 1 :]))
    assert await asyncio.create_task(call("busy", int)) == 0


async def test_a_call_whose_thread_cannot_start_leaves_it_to_later_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    executor = make_executor()
    CALLER.set(Caller("busy"))
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", Mock(side_effect=RuntimeError("can't start new thread")))
        for _ in range(NUM_THREADS):
            with pytest.raises(RuntimeError, match="can't start new thread"):
                await executor.call(int)
    async with asyncio.timeout(SOON):
        assert await executor.call(int) == 0


def test_a_request_is_bounded_unless_it_has_a_file(running: Running) -> None:
    size = interceptors.MAX_REQUEST
    with grpc.insecure_channel(running.addresses.grpc) as channel:
        stub = analysis_service_pb2_grpc.AnalysisServiceStub(channel)
        trend = pb.ComputeTrendRequest(reference=b"a" * size)
        calls: list[Callable[[], object]] = [
            lambda: stub.CreateAnalysis(pb.CreateAnalysisRequest(analysis=pb.Analysis(display_name="a" * size))),
            lambda: stub.ComputeTrend(trend),
            lambda: list(stub.RenderReport(pb.RenderReportRequest(trend=trend))),
        ]
        errors = []
        for call in calls:
            with pytest.raises(grpc.RpcError) as refused:
                call()
            errors.append(error_of(refused.value, ""))

    assert [isinstance(error, TooLarge) for error in errors] == [True, False, False]
    assert "Send at most 1,048,576 bytes." in errors[0].message


def test_a_client_receives_the_reason_of_a_refusal(start: Start) -> None:
    """A policy with thousands of values would take seconds to parse, so parsing stops early."""
    with start() as running:
        analysis = running.client.analyze(MODEL, "demo")
        list(running.client.watch(analysis.name))
        with pytest.raises(ErrataError, match="more than 5000 values"):
            running.client.gate(analysis.name, policy="version: 1\nbounds: [" + "{}," * 20_000 + "]\n")
        assert not isinstance(running.client.get(analysis.name), Unavailable)
        with Client(running.addresses.grpc) as other:
            assert other.is_serving()
