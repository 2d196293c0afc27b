"""The response time of webhooks at 200 deliveries per second, with Redis.

The client has a fixed number of threads with one connection each, and a fixed rate. Each delivery is signed and names a
different version. The reference is the same client with requests to /livez.
"""

import base64
import hashlib
import hmac
import http.client
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import numpy as np
from errata import Client, pb
from redis_server import free_port

from benchmarks.harness import Case, Result, at_most, medians
from benchmarks.processes import redis_server, serving

RATE, SECONDS, THREADS = 200, 1, 16  # deliveries per second; seconds of a round; connections
ROUNDS = 7
SECRET = "a secret of the benchmark's"
PATH = "/v1/hooks/mlflow/prod"
CASE = Case(
    "hooks",
    f"webhooks at {RATE} deliveries per second, p99 to the 202; all are accepted, none is lost",
    "GET /livez at the same rate",
    "ms",
    at_most(10),
)


def measure() -> Iterator[Result]:
    """Yield the result."""
    with redis_server() as (url, folder):
        yield _hooks(url, folder)


def _hooks(redis: str, folder: Path) -> Result:
    address = f"127.0.0.1:{free_port()}"
    rules = [{"event": "created", "dataset": "demo"}]
    registry = {"kind": "mlflow", "url": "http://127.0.0.1:9", "secrets": [SECRET], "rules": rules}
    settings = {
        "ERRATA_REDIS_URL": redis,
        "ERRATA_REGISTRIES": json.dumps({"prod": registry}),
        "ERRATA_MAX_OPEN": "100000",
        "ERRATA_LOG_LEVEL": "info",
        "ERRATA_WORKER_HTTP_ADDRESS": "127.0.0.1:0",
    }
    statuses: list[int] = []
    versions = count()

    def deliver(connection: http.client.HTTPConnection) -> None:
        statuses.append(_deliver(connection, str(next(versions))))

    with serving(("service", "work"), folder, "worker ready", **settings):
        pass  # its offer stays in Redis; the stopped worker does not use CPU time
    with serving(("service", "serve"), folder, **{**settings, "ERRATA_HTTP_ADDRESS": address}) as grpc:
        value, reference = medians(
            lambda: _p99(address, deliver),
            lambda: _p99(address, lambda connection: _call(connection, "GET", "/livez", b"", {})),
            times=ROUNDS,
            warm=1,
        )
        with Client(grpc) as client:
            analysis_filter = pb.AnalysisFilter(labels={"registry": "prod", "model": "resnet50"})
            queued = {item.labels["version"] for item in client.list(analysis_filter)}
    refused = sum(status != 202 for status in statuses)
    lost = {str(version) for version in range(len(statuses))} - queued
    problem = f"{refused} of {len(statuses)} refused, {len(lost)} lost" if refused or lost else ""
    return CASE.measured(value, reference, problem=problem)


def _p99(address: str, call: Callable[[http.client.HTTPConnection], object]) -> float:
    """Make RATE calls per second at fixed times, from a fixed number of threads; return the 99th percentile."""
    begin = time.perf_counter() + 0.2

    def run(thread: int) -> list[float]:
        connection = http.client.HTTPConnection(address, timeout=30)
        result = []
        for number in range(thread, RATE * SECONDS, THREADS):
            due = begin + number / RATE
            time.sleep(max(0.0, due - time.perf_counter()))
            started = time.perf_counter()
            call(connection)
            result.append(time.perf_counter() - started)
        connection.close()
        return result

    with ThreadPoolExecutor(THREADS) as pool:
        seconds = [second for part in pool.map(run, range(THREADS)) for second in part]
    return float(np.quantile(seconds, 0.99))


def _deliver(connection: http.client.HTTPConnection, version: str) -> int:
    data: dict[str, object] = {
        "name": "resnet50",
        "version": version,
        "source": "models:/m-1",
        "run_id": None,
        "tags": {},
    }
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
