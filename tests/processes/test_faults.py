"""Faults: processes are killed, stopped, and started with signals. Each accepted analysis ends exactly once."""

import contextlib
import json
import random
import re
import signal
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from errata import Client, errors, pb
from grpc_health.v1 import health_pb2, health_pb2_grpc

from service.analyses.judge import ARCHIVING_SECONDS
from service.predictions.fake import hashed_class

from .cluster import HEARTBEAT, SOON, Cluster, cluster, wait_for
from .lossy_proxy import LossyProxy

MODEL = "demo:efficientnet_lite0"
KILLER = "demo:efficientnet_lite2"  # slow_worker.py ends its process for this model
SUCCEEDED, FAILED, CANCELLED = pb.Analysis.STATE_SUCCEEDED, pb.Analysis.STATE_FAILED, pb.Analysis.STATE_CANCELLED


@pytest.fixture
def service_with_worker(data_dir: Path, tmp_path: Path) -> Iterator[Cluster]:
    """The service with one worker, which needs 2 s per analysis."""
    with cluster(data_dir, tmp_path) as running:
        yield running


@pytest.fixture
def service_with_workers(data_dir: Path, tmp_path: Path) -> Iterator[Cluster]:
    """The service with two workers, each of which would need 2 s per analysis."""
    with cluster(data_dir, tmp_path, workers=2) as running:
        yield running


def wait_for_end(client: Client, name: str, seconds: float = SOON) -> pb.Analysis:
    """Wait until an analysis ends."""
    deadline = time.monotonic() + seconds
    while True:
        analysis = client.get(name)
        if analysis.state in (SUCCEEDED, FAILED, CANCELLED):
            return analysis
        assert time.monotonic() < deadline, f"still {pb.Analysis.State.Name(analysis.state)}: {analysis.progress}"
        time.sleep(0.1)


def wait_until_running(client: Client, name: str) -> None:
    """Wait until some images of an analysis are predicted."""
    wait_for(lambda: client.get(name).progress.done > 0, f"{name} runs")


def check_result(client: Client, name: str) -> None:
    """Check that an analysis succeeds with the expected verdicts, which follow from the hashes."""
    assert wait_for_end(client, name).state == SUCCEEDED
    verdicts = list(client.verdicts(name))
    assert len(verdicts) == 20
    assert all(verdict.predicted == hashed_class(verdict.file_name) for verdict in verdicts)


def check_finished(service: Cluster, count: int) -> None:
    """Check how many analyses have finished, each once. The metric follows their states."""
    wait_for(lambda: service.metric("errata_analyses_total") >= count, f"{count} analyses in the metric")
    assert service.metric("errata_analyses_total") == count


def wait_until_nothing_is_open(service: Cluster) -> None:
    """Wait until the job store has no open analysis.

    If a judge is killed after it has archived the results, callers see them, but the analyses stay open until the
    message of the judge is delivered again.
    """
    wait_for(
        lambda: service.metric("errata_open_analyses") == 0, "nothing is open", ARCHIVING_SECONDS + HEARTBEAT + SOON
    )


def status(url: str) -> int:
    """Return the status of an HTTP response."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def memory(pid: int) -> float:
    """Return the resident memory of a process in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)[0]) / 1024


# workers


def test_a_killed_worker_loses_one_shard_and_is_counted(service_with_worker: Cluster) -> None:
    with service_with_worker.client() as client:
        name = client.analyze(MODEL, "demo", fresh=True).name
        wait_until_running(client, name)
        service_with_worker.workers[0].kill()
        service_with_worker.start_worker()

        check_result(client, name)
        assert sum(event["fence"] == 2 for event in service_with_worker.events("shard claimed")) == 1
        check_finished(service_with_worker, 1)
        wait_for(lambda: service_with_worker.metric("errata_crashes_total") == 1, "the crash is counted")
        wait_for(lambda: service_with_worker.metric("errata_open_shards") == 0, "nothing is open")


def test_a_model_that_kills_its_workers_fails_and_the_next_model_runs(data_dir: Path, tmp_path: Path) -> None:
    with (
        cluster(data_dir, tmp_path, ERRATA_SHARD_SIZE="20") as service_with_worker,
        service_with_worker.client() as client,
    ):
        killer = client.analyze(KILLER, "demo").name
        starts = 1

        while client.get(killer).state not in (FAILED, SUCCEEDED, CANCELLED):
            if service_with_worker.workers[-1].poll() is not None:
                service_with_worker.start_worker()
                starts += 1
            time.sleep(0.1)
            assert starts < 8

        failure = client.get(killer).failure
        assert failure.reason == "WORKER_LOST"
        assert "memory" in failure.message  # names a possible cause
        assert 3 <= starts <= 4  # three runs, and the worker that detects the limit
        if service_with_worker.workers[-1].poll() is not None:
            service_with_worker.start_worker()
        check_result(client, client.analyze(MODEL, "demo").name)


def test_a_dead_workers_shard_is_first_in_line_and_requeued_once(data_dir: Path, tmp_path: Path) -> None:
    """Given a backlog of 24 shards, the next free worker runs the shard of a dead worker before all others."""
    with cluster(data_dir, tmp_path, workers=2) as service, service.client() as client:
        names = [client.analyze(MODEL, "demo", fresh=True).name for _ in range(7)]
        wait_until_running(client, names[0])
        pid = service.workers[0].pid
        before = service.events("shard claimed")
        running = [event for event in before if event["fence"] == 1][-2:]
        service.workers[0].kill()
        wait_for(lambda: any(event["fence"] == 2 for event in service.events("shard claimed")), f"retry of {pid}")
        claimed = service.events("shard claimed")
        (again,) = (event for event in claimed if event["fence"] == 2)
        messages = [json.loads(content)["args"] for content in service.redis.client().hvals("errata:mq:models.msgs")]

        others = [event for event in claimed if event not in before and event["fence"] == 1]
        assert len(others) <= HEARTBEAT / 0.5, "within the heartbeat, the other worker runs one shard in 0.5 s"
        assert messages.count([again["job"], again["shard"]]) == 1
        assert (again["job"], again["shard"]) in {(event["job"], event["shard"]) for event in running}
        for name in names:
            check_result(client, name)
        assert service.events("lost message resent") == []
        assert service.metric("errata_crashes_total") == 1


def test_an_analysis_before_the_first_worker_waits_for_one_and_says_so(data_dir: Path, tmp_path: Path) -> None:
    settings = {"ERRATA_MODEL_SOURCES": '["demo:*"]'}
    with cluster(data_dir, tmp_path, workers=0, **settings) as service, service.client() as client:
        with pytest.raises(errors.InvalidModelId, match="ERRATA_MODEL_SOURCES"):
            client.analyze("timm:resnet18", "demo")
        name = client.analyze(MODEL, "demo").name
        first = next(iter(client.watch(name)))
        assert (first.state, first.progress.live_workers) == (pb.Analysis.STATE_QUEUED, 0)
        assert first.progress.waiting_reason == "No worker has been started yet. Start one with 'errata work'."

        service.start_worker(0.01)

        check_result(client, name)
        with pytest.raises(errors.ModelNotFound):  # now the models of the workers are known
            client.analyze("demo:efficientnet_lite9", "demo")


def test_sigterm_releases_a_long_shard_without_counting_a_crash(data_dir: Path, tmp_path: Path) -> None:
    with cluster(data_dir, tmp_path, seconds=0.5) as service, service.client() as client:
        name = client.analyze(MODEL, "demo").name
        wait_until_running(client, name)
        service.workers[0].send_signal(signal.SIGTERM)
        assert service.workers[0].wait(10) == 0
        assert service.events("shard stopped")
        wait_for(lambda: service.metric("errata_live_workers") == 0, "there is no live worker")
        assert client.get(name).progress.live_workers == 0  # visible to callers

        service.start_worker(0.01)
        check_result(client, name)

        assert service.redis.client().get("errata:crashes") is None
        shards = service.redis.client().keys("errata:shard:*")
        assert shards == []  # the shards of a succeeded job are deleted


def test_a_short_shard_ends_within_the_grace_period(data_dir: Path, tmp_path: Path) -> None:
    with cluster(data_dir, tmp_path, seconds=0.1, ERRATA_GRACE_SECONDS="10") as service, service.client() as client:
        name = client.analyze(MODEL, "demo").name
        wait_until_running(client, name)
        service.workers[0].send_signal(signal.SIGTERM)
        assert service.workers[0].wait(15) == 0

        assert client.get(name).progress.done in (5, 10, 15, 20)  # complete shards


def test_a_stopping_worker_is_not_ready_and_a_second_sigterm_ends_it_immediately(
    data_dir: Path, tmp_path: Path
) -> None:
    with cluster(data_dir, tmp_path, seconds=3, ERRATA_GRACE_SECONDS="60") as service, service.client() as client:
        client.analyze(MODEL, "demo")
        wait_for(lambda: any(event["event"] for event in service.events("worker ready")), "it works")
        address = service.events("worker ready")[0]["http"]
        wait_for(lambda: status(f"http://{address}/readyz") == 200, "it is ready")
        service.workers[0].send_signal(signal.SIGTERM)
        wait_for(lambda: status(f"http://{address}/readyz") == 503, "it isn't ready")
        assert status(f"http://{address}/livez") == 200
        service.workers[0].send_signal(signal.SIGTERM)

        assert service.workers[0].wait(SOON) == 1  # the shard would take 15 s, and then three more


def test_a_late_write_is_rejected_and_counted(service_with_worker: Cluster) -> None:
    with service_with_worker.client() as client:
        name = client.analyze(MODEL, "demo").name
        wait_until_running(client, name)
        service_with_worker.workers[0].send_signal(signal.SIGSTOP)
        service_with_worker.start_worker(0.05)
        check_result(client, name)
        before = client.get(name)

        service_with_worker.workers[0].send_signal(signal.SIGCONT)
        wait_for(lambda: service_with_worker.metric("errata_fenced_writes_total") > 0, "its write is rejected")

        assert client.get(name) == before
        check_finished(service_with_worker, 1)
        check_result(client, client.analyze(MODEL, "demo", fresh=True).name)  # the old worker continues


def test_twenty_random_kills_do_not_change_the_results(service_with_workers: Cluster) -> None:
    choose = random.Random(0)
    with service_with_workers.client() as client:
        names = [client.analyze(MODEL, "demo", fresh=True).name for _ in range(16)]
        for _ in range(20):
            time.sleep(choose.uniform(0.2, 1.2))
            place = choose.randrange(2)
            service_with_workers.workers[place].kill()
            service_with_workers.workers[place].wait(10)
            service_with_workers.workers[place] = service_with_workers.start_worker()
            service_with_workers.workers.pop()
        for name in names:
            analysis = wait_for_end(client, name, 180)
            assert analysis.state == SUCCEEDED, analysis.failure
            check_result(client, name)

    check_finished(service_with_workers, len(names))
    wait_until_nothing_is_open(service_with_workers)


def test_two_workers_share_one_analysis(data_dir: Path, tmp_path: Path) -> None:
    with cluster(data_dir, tmp_path, workers=2, seconds=0.2) as service, service.client() as client:
        check_result(client, client.analyze(MODEL, "demo").name)

        assert sum('"shard done"' in file.read_text() for file in service.folder.glob("*.log")) == 2


# Redis


def test_a_redis_crash_loses_no_accepted_analysis(service_with_worker: Cluster) -> None:
    with service_with_worker.client() as client:
        names = [client.analyze(MODEL, "demo", fresh=True).name for _ in range(3)]
        wait_until_running(client, names[0])
        service_with_worker.redis.kill()
        with pytest.raises(errors.Unavailable):
            client.analyze(MODEL, "demo", fresh=True)
        wait_for(lambda: not service_with_worker.ready(), "the service is not ready")
        time.sleep(1)
        service_with_worker.redis.start()

        for name in names:
            check_result(client, name)
        assert service_with_worker.workers[0].poll() is None
        wait_for(service_with_worker.ready, "it is ready again")
        check_finished(service_with_worker, 3)


def test_the_service_starts_without_redis_and_recovers(data_dir: Path, tmp_path: Path) -> None:
    service = Cluster(data_dir, tmp_path)
    try:
        service.start_api(wait=False)
        worker = service.start_worker()
        with service.client() as client:
            wait_for(lambda: service.events("listening"), "the API listens")
            assert not service.events("ready")
            assert not service.ready()
            with pytest.raises(errors.Unavailable):
                client.analyze(MODEL, "demo")

            service.redis.start()
            wait_for(service.ready, "the API is ready")
            wait_for(lambda: service.metric("errata_live_workers") == 1, "the worker is live")
            check_result(client, client.analyze(MODEL, "demo").name)
            assert worker.poll() is None
    finally:
        service.stop()


def test_finished_analyses_are_served_without_redis_and_with_an_empty_redis(service_with_worker: Cluster) -> None:
    with service_with_worker.client() as client:
        done = client.analyze(MODEL, "demo").name
        check_result(client, done)

        service_with_worker.redis.client().flushall()
        assert [item.name for item in client.list()] == [done]
        check_result(client, done)
        wait_for(lambda: client.models(), "the worker is known again")
        again = client.analyze(MODEL, "demo", fresh=True).name
        check_result(client, again)

        service_with_worker.redis.kill()
        assert {item.name for item in client.list()} == {done, again}
        check_result(client, done)
        assert client.report(done)
        with pytest.raises(errors.Unavailable):
            client.analyze(MODEL, "demo", fresh=True)


def test_a_frozen_redis_delays_only_calls_that_need_it(service_with_worker: Cluster) -> None:
    with service_with_worker.client() as client, grpc.insecure_channel(service_with_worker.grpc) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        health.Check(health_pb2.HealthCheckRequest(), timeout=5)
        service_with_worker.redis.signal(signal.SIGSTOP)

        def call() -> None:
            with pytest.raises(errors.Unavailable):
                client.analyze(MODEL, "demo", request_id="r1")

        refused = threading.Thread(target=call)
        refused.start()
        answers = 0
        while refused.is_alive():
            health.Check(health_pb2.HealthCheckRequest(), timeout=5)
            answers += 1
            time.sleep(0.02)
        service_with_worker.redis.signal(signal.SIGCONT)

        assert answers >= 20, "the event loop is not blocked while Redis is"

        def is_accepted() -> bool:
            with contextlib.suppress(errors.Unavailable):
                return bool(client.analyze(MODEL, "demo", request_id="r1"))
            return False

        wait_for(is_accepted, "calls are accepted again")
        first = client.analyze(MODEL, "demo", request_id="r1").name
        assert client.analyze(MODEL, "demo", request_id="r1").name == first
        check_result(client, first)


# messages


def test_a_lost_message_is_sent_again(service_with_worker: Cluster) -> None:
    redis = service_with_worker.redis.client()
    with service_with_worker.client() as client:
        service_with_worker.workers[0].kill()
        service_with_worker.workers[0].wait(10)
        name = client.analyze(MODEL, "demo").name
        assert redis.delete("errata:mq:models", "errata:mq:models.msgs") == 2

        service_with_worker.start_worker()

        check_result(client, name)
        assert service_with_worker.events("lost message resent")


def test_a_message_whose_fetch_response_was_lost_runs(service_with_worker: Cluster) -> None:
    """The fetch response is lost: Redis counts the message as delivered, but the worker does not have it."""
    service_with_worker.workers[0].kill()
    service_with_worker.workers[0].wait(10)
    proxy = LossyProxy(service_with_worker.redis.port, carries=b'"actor_name":"shard"')
    try:
        with service_with_worker.client() as client:
            service_with_worker.start_worker(ERRATA_REDIS_URL=f"redis://127.0.0.1:{proxy.port}/0")
            name = client.analyze(MODEL, "demo").name

            check_result(client, name)

            assert proxy.lost.is_set()
            assert service_with_worker.events("lost message resent")
            check_finished(service_with_worker, 1)
    finally:
        proxy.close()


def test_a_duplicate_message_runs_once(service_with_worker: Cluster) -> None:
    redis = service_with_worker.redis.client()
    with service_with_worker.client() as client:
        service_with_worker.workers[0].kill()
        service_with_worker.workers[0].wait(10)
        name = client.analyze(MODEL, "demo").name
        for message in redis.lrange("errata:mq:models", 0, -1):
            redis.rpush("errata:mq:models", message)

        service_with_worker.start_worker()

        check_result(client, name)
        check_finished(service_with_worker, 1)


# the API


def test_watches_and_analyses_survive_an_api_restart(service_with_worker: Cluster) -> None:
    with service_with_worker.client() as client:
        names = [client.analyze(MODEL, "demo", fresh=True).name for _ in range(2)]
        wait_until_running(client, names[0])
        assert service_with_worker.api is not None
        service_with_worker.api.kill()
        service_with_worker.api.wait(10)
        with pytest.raises(errors.Unavailable):
            client.get(names[0])
        service_with_worker.start_api()

        *_, last = client.watch(names[1])
        assert last.state == SUCCEEDED
        for name in names:
            check_result(client, name)
        assert {item.name for item in client.list()} == set(names)


# many


def test_of_200_concurrent_requests_50_are_accepted_and_the_others_get_a_retry_delay(
    data_dir: Path, tmp_path: Path
) -> None:
    with cluster(data_dir, tmp_path, workers=2, seconds=0.0, ERRATA_MAX_OPEN="50") as service:
        for worker in service.workers:
            worker.send_signal(signal.SIGSTOP)  # so that no analysis ends meanwhile

        def call(number: int) -> str | float | None:
            try:
                return client.analyze(MODEL, "demo", fresh=True, display_name=str(number)).name
            except errors.TooBusy as error:
                return error.retry_after

        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(service.client()) for _ in range(8)]
            with ThreadPoolExecutor(8) as pool:
                futures = []
                for number in range(200):
                    client = clients[number % 8]
                    futures.append(pool.submit(call, number))
                outcomes = [future.result() for future in futures]
            accepted = [item for item in outcomes if isinstance(item, str)]
            assert len(accepted) == 50
            assert all(item is not None and item > 0 for item in outcomes if not isinstance(item, str))
            for worker in service.workers:
                worker.send_signal(signal.SIGCONT)
            states = Counter(wait_for_end(clients[0], name, 120).state for name in accepted)

            assert states == {SUCCEEDED: 50}

            assert service.api is not None
            before = memory(service.api.pid)
            for _ in range(3):
                more = [clients[0].analyze(MODEL, "demo", fresh=True).name for _ in range(40)]
                assert {wait_for_end(clients[0], name, 120).state for name in more} == {SUCCEEDED}
            assert memory(service.api.pid) - before < 40  # MiB after 120 more analyses; finished analyses use no memory


def test_fifty_equal_requests_are_fifty_analyses_and_one_computation(service_with_worker: Cluster) -> None:
    with service_with_worker.client() as client, ThreadPoolExecutor(16) as pool:
        names = list(pool.map(lambda number: client.analyze(MODEL, "demo", labels={"n": str(number)}).name, range(50)))

        assert len(set(names)) == 50
        for name in names:
            check_result(client, name)
        assert {item.labels["n"] for item in client.list()} == {str(number) for number in range(50)}
        started = {(event["job"], event["shard"]) for event in service_with_worker.events("shard done")}
        assert len(started) == 4  # 20 images in shards of 5, each run once


# cancel


def test_cancellation_in_all_states_and_by_concurrent_callers(service_with_worker: Cluster) -> None:
    with service_with_worker.client() as client, service_with_worker.client() as other:
        first = client.analyze(MODEL, "demo", fresh=True).name
        queued = client.analyze(MODEL, "demo", fresh=True).name
        assert client.cancel(queued).state == CANCELLED
        assert client.cancel(queued).state == CANCELLED

        wait_until_running(client, first)
        with ThreadPoolExecutor(2) as pool:
            states = {item.state for item in pool.map(lambda item: item.cancel(first), (client, other))}
        assert states == {CANCELLED}
        wait_for(lambda: service_with_worker.events("shard stopped"), "the worker stops")

        finished = client.analyze(MODEL, "demo", fresh=True).name
        check_result(client, finished)
        assert client.cancel(finished).state == SUCCEEDED
        assert client.get(queued).state == CANCELLED


def test_canceling_one_of_two_equal_analyses_does_not_affect_the_other(service_with_worker: Cluster) -> None:
    with service_with_worker.client() as client:
        first = client.analyze(MODEL, "demo", labels={"n": "1"}).name
        second = client.analyze(MODEL, "demo", labels={"n": "2"}).name
        wait_until_running(client, first)

        assert client.cancel(first).state == CANCELLED

        check_result(client, second)
        assert client.get(first).state == CANCELLED


# all of it


def test_a_soak_of_kills_restarts_and_dropped_connections_ends_every_analysis_once(
    data_dir: Path, tmp_path: Path
) -> None:
    choose = random.Random(1)
    with cluster(data_dir, tmp_path, workers=2, seconds=0.02) as service, service.client() as client:
        names = [client.analyze(MODEL, "demo", fresh=True).name for _ in range(60)]

        def kill(place: int) -> None:
            service.workers[place].kill()
            service.workers[place].wait(10)
            service.workers[place] = service.start_worker(0.02)
            service.workers.pop()

        def freeze(place: int) -> None:
            service.workers[place].send_signal(signal.SIGSTOP)
            time.sleep(HEARTBEAT + 1)
            service.workers[place].send_signal(signal.SIGCONT)

        def restart(_: int) -> None:
            service.redis.kill()
            time.sleep(0.5)
            service.redis.start()

        def drop(_: int) -> None:
            service.redis.client().execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

        for event in [kill, drop, freeze, restart, kill, drop, restart, kill]:
            time.sleep(choose.uniform(0.3, 1.0))
            event(choose.randrange(2))
        wait_for(service.ready, "the API is ready")
        for name in names:
            check_result(client, name)

        assert len({item.name for item in client.list()}) == len(names)
        wait_until_nothing_is_open(service)
        assert service.metric("errata_open_shards") == 0
        check_finished(service, len(names))  # one final write per analysis
