"""Hostile uploads are refused within limits while the service serves other callers."""

import io
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from redis_server import RedisServer
from security.attack import DATASET, Limits, Result, attack
from security.cases import CASES, Case, written
from security.process_tree import cpu_seconds
from security.service_process import Serve, ServiceProcess, running_service
from security.uploads import GoodUpload, send

from service.evidence.bundle import Bundle

MOST_MEMORY = 1_500_000_000  # bytes of the process tree, whatever is sent and however often
LIMITS = Limits(seconds=120, good_seconds=120, memory=4 << 30)  # against hangs, and to protect the machine
REFUSALS = {
    grpc.StatusCode.INVALID_ARGUMENT: {"INVALID_UPLOAD", "INVALID_ROW", "TRUNCATED_UPLOAD", "UNSUPPORTED_FORMAT"},
    grpc.StatusCode.RESOURCE_EXHAUSTED: {"TOO_LARGE", "TOO_BUSY"},
}
CANCEL_SECONDS = 3.0  # after which callers give up
HEAVY = pytest.mark.skipif(not os.environ.get("FUZZ_EXAMPLES"), reason="heavy: run by `make fuzz`")
PARAMETERS = [pytest.param(case, id=case.name, marks=[HEAVY] if case.heavy else []) for case in CASES]
CRASH, ENDLESS = (
    next(case for case in CASES if case.name.startswith(name))
    for name in ("Parquet, 20,000 nested", "Parquet, 50 row groups")
)


def assert_harmless(result: Result, service: ServiceProcess) -> None:
    """Assert that an attack was refused within its bounds, and that good uploads went on."""
    assert result.ended == ""
    assert service.ended() == ""
    for answer in result.answers:
        assert answer.reason in REFUSALS.get(answer.code, set()), f"{answer.text}: {answer.message}"
        assert answer.message
    assert any(answer.reason != "TOO_BUSY" for answer in result.answers), "no copy was read at all"
    assert result.during.failure == ""
    assert result.during.count > 0
    assert result.after.failure == ""
    assert result.peak <= MOST_MEMORY, f"{result.peak / 1e6:,.0f} MB"


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.mark.parametrize("copies", [1, 8])
@pytest.mark.parametrize("case", PARAMETERS)
def test_a_hostile_upload_is_rejected_within_bounds_while_good_uploads_succeed(
    serve: Serve, good: Sequence[GoodUpload], case: Case, copies: int
) -> None:
    service = serve()

    with written(case) as file:
        result = attack(service, file, copies, good, LIMITS)

    assert_harmless(result, service)


@pytest.mark.parametrize("case", [CRASH, ENDLESS], ids=lambda case: case.name)
def test_a_service_over_redis_rejects_a_hostile_upload_within_bounds(
    tmp_path: Path, data_dir: Path, imagenet_real: Bundle, good: Sequence[GoodUpload], redis: RedisServer, case: Case
) -> None:
    folder = tmp_path / "service"
    with (
        running_service(folder, data_dir, command=["serve"], ERRATA_REDIS_URL=redis.url) as service,
        written(case) as file,
    ):
        result = attack(service, file, 8, good, LIMITS)

        assert_harmless(result, service)


def is_idle(service: ServiceProcess) -> bool:
    """Return whether a service used less than 0.1 s of CPU time in 3 s.

    It uses 0.03 s when nobody calls; one busy thread gets 0.2 s even where 16 others share two cores.
    """
    before = cpu_seconds(service.pid)
    time.sleep(3)
    return cpu_seconds(service.pid) - before < 0.1


def test_cancelled_hostile_uploads_leave_no_work_behind(
    tmp_path: Path, data_dir: Path, imagenet_real: Bundle, good: Sequence[GoodUpload]
) -> None:
    with running_service(tmp_path, data_dir) as service, written(ENDLESS) as file:
        content = file.read_bytes()
        with ThreadPoolExecutor(8) as pool:
            calls = [pool.submit(send, service.grpc, io.BytesIO(content), DATASET, CANCEL_SECONDS) for _ in range(8)]
        assert all(call.result().code is not grpc.StatusCode.OK for call in calls)

        deadline = time.monotonic() + LIMITS.seconds
        while not is_idle(service):
            assert time.monotonic() < deadline, "the service still works for callers that have gone"
        for upload in good:
            upload.send(service.grpc, LIMITS.good_seconds)
