"""The response time of webhooks at 200 deliveries per second, with Redis. Needs redis-server.

The client has a fixed number of threads with one connection each, and a fixed rate. Each delivery is signed and names a
different version. The reference is the same client with requests to /livez.
"""

import base64
import hashlib
import hmac
import http.client
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from errata import Client, pb
from redis_server import RedisServer, free_port

from benchmarks.result import Figure
from benchmarks.serving import serving

RATE, SECONDS, THREADS = 200, 5, 16  # deliveries per second; seconds; connections
AIM_MS = 50.0
SECRET = "a secret of the benchmark's"
PATH = "/v1/hooks/mlflow/prod"


@dataclass(frozen=True)
class CallResult:
    """The result of one call."""

    status: int
    seconds: float


def measure() -> Iterator[Figure]:
    """Yield the figure."""
    if shutil.which("redis-server") is None or find_spec("mlflow") is None:
        return
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder)).start()
        try:
            yield _hooks(server.url, folder)
        finally:
            server.stop()


def _hooks(redis: str, folder: str) -> Figure:
    address = f"127.0.0.1:{free_port()}"
    rules = [{"event": "created", "dataset": "demo"}]
    registry = {"kind": "mlflow", "url": "http://127.0.0.1:9", "secrets": [SECRET], "rules": rules}
    settings = {
        "ERRATA_REDIS_URL": redis,
        "ERRATA_REGISTRIES": json.dumps({"prod": registry}),
        "ERRATA_MAX_OPEN": "100000",
        "ERRATA_LOG_LEVEL": "info",
    }
    with serving(["service", "work"], folder, "worker ready", ERRATA_WORKER_HTTP_ADDRESS="127.0.0.1:0", **settings):
        pass  # its offer stays in Redis; the stopped worker does not use CPU time
    with (
        serving(["service", "serve"], folder, ERRATA_HTTP_ADDRESS=address, **settings) as grpc,
        Client(grpc) as client,
    ):
        _call_at_rate(address, lambda connection, _: _call(connection, "GET", "/livez", b"", {}), 1)
        bare = _call_at_rate(address, lambda connection, _: _call(connection, "GET", "/livez", b"", {}), SECONDS)
        _call_at_rate(address, lambda connection, number: _deliver(connection, f"9{number:06}"), 1)
        calls = _call_at_rate(address, lambda connection, number: _deliver(connection, str(number)), SECONDS)
        analysis_filter = pb.AnalysisFilter(labels={"registry": "prod", "model": "resnet50"})
        queued = {item.labels["version"] for item in client.list(analysis_filter)}
    lost = {str(number) for number in range(RATE * SECONDS)} - queued
    value, reference = (
        1000 * float(np.quantile([call.seconds for call in results], 0.99)) for results in (calls, bare)
    )
    accepted = sum(call.status == 202 for call in calls)
    return Figure(
        f"hooks, {len(calls)} deliveries at {RATE}/s, {accepted} accepted, {len(lost)} lost: p99 to the 202",
        value=value,
        unit="ms",
        reference=reference,
        ratio=value / reference,
        aim=f"p99 under {AIM_MS:g} ms, all accepted, none lost",
        holds=value < AIM_MS and accepted == len(calls) == RATE * SECONDS and not lost,
    )


def _call_at_rate(
    address: str, call: Callable[[http.client.HTTPConnection, int], int], seconds: int
) -> list[CallResult]:
    """Make RATE calls per second at fixed times, from a fixed number of threads."""
    begin = time.perf_counter() + 0.2

    def run(thread: int) -> list[CallResult]:
        connection = http.client.HTTPConnection(address, timeout=30)
        result = []
        for number in range(thread, RATE * seconds, THREADS):
            due = begin + number / RATE
            time.sleep(max(0.0, due - time.perf_counter()))
            started = time.perf_counter()
            result.append(CallResult(call(connection, number), time.perf_counter() - started))
        connection.close()
        return result

    with ThreadPoolExecutor(THREADS) as pool:
        return [call for calls in pool.map(run, range(THREADS)) for call in calls]


def _deliver(connection: http.client.HTTPConnection, version: str) -> int:
    data = {"name": "resnet50", "version": version, "source": "models:/m-1", "run_id": None, "tags": {}}
    body = json.dumps({"entity": "model_version", "action": "created", "data": data}).encode()
    delivery, stamp = f"delivery-{version}", str(int(time.time()))
    message = b".".join([delivery.encode(), stamp.encode(), body])
    signature = base64.b64encode(hmac.new(SECRET.encode(), message, hashlib.sha256).digest()).decode()
    headers = {
        "Content-Type": "application/json",
        "X-MLflow-Delivery-Id": delivery,
        "X-MLflow-Timestamp": stamp,
        "X-MLflow-Signature": f"v1,{signature}",
    }
    return _call(connection, "POST", PATH, body, headers)


def _call(connection: http.client.HTTPConnection, method: str, path: str, body: bytes, headers: dict[str, str]) -> int:
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    answer.read()
    return answer.status
