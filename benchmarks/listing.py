"""The first page of a listing with 4,000 failed analyses in Redis, compared with 10. Needs redis-server."""

import shutil
from collections.abc import Iterator
from itertools import islice

from errata import Client

from benchmarks.redis import redis_server
from benchmarks.result import Figure, median_seconds
from benchmarks.serving import running
from service.domain import AnalysisRequest, Failure
from service.jobs.redis_store import RedisJobStore, connect
from service.jobs.transitions import AnalysisRecord, JobSpec

FEW, MANY = 10, 4000
SHARDS = 4  # per failed job
TIMES = 10
AIM = 40.0  # times a listing of 10; the store keeps at most 1,000, each of which takes about 20 µs
CREATED = 1_700_000_000.0


def measure() -> Iterator[Figure]:
    """Yield the figure."""
    if shutil.which("redis-server") is None:
        return
    with (
        redis_server() as (url, folder),
        running(url, folder, workers=0) as service,
        Client(service.grpc) as client,
    ):
        store = RedisJobStore(connect(url, 10.0))
        _fail(store, 0, FEW)
        few = median_seconds(lambda: list(islice(client.list(), 1)), TIMES)
        _fail(store, FEW, MANY)
        many = median_seconds(lambda: list(islice(client.list(), 1)), TIMES)
    yield Figure(
        f"listing, the first page after {MANY:,} failed analyses (reference: after {FEW})",
        value=1000 * many,
        unit="ms",
        reference=1000 * few,
        ratio=many / few,
        aim=f"at most {AIM:g} times the page with 10",
        holds=many <= AIM * few,
    )


def _fail(store: RedisJobStore, first: int, last: int) -> None:
    """Create failed analyses with these numbers, each with its own job."""
    for number in range(first, last):
        request = AnalysisRequest("demo", f"demo:model{number}", display_name=f"analysis {number}")
        record = AnalysisRecord(f"a{number:08}", request, "d" * 64, "e" * 64, CREATED + number)
        spec = JobSpec(request.model, "demo", "e" * 64, "i" * 64, 20 * SHARDS, 20)
        job = store.submit(record, spec, fresh=False, limit=10).job
        fencing_token = store.claim_shard(job, 0, "benchmark", 20.0).fencing_token
        store.fail_job(job, 0, fencing_token, Failure("MODEL_REFUSED", "the model has 10 outputs"))
