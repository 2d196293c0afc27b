"""The first page of a listing with 4,000 failed analyses in Redis, compared with 10."""

from collections.abc import Iterator
from itertools import islice

from errata import Client

from benchmarks.harness import Case, Result, at_most, medians, timed
from benchmarks.processes import redis_server, running
from service.domain import AnalysisRequest, Failure
from service.jobs import transitions
from service.jobs.store import JobStore
from service.jobs.transitions import AnalysisRecord, JobSpec
from service.key_value.redis_backend import RedisBackend, connect

FEW, MANY = 10, 4000
SHARDS = 4  # per failed job
TIMES = 10
CREATED = 1_700_000_000.0
CASE = Case(
    "listing",
    f"the first page after {MANY:,} failed analyses",
    f"after {FEW}",
    "ms",
    at_most(40),  # the store has at most 1,000, each of which takes about 20 µs
)


def measure() -> Iterator[Result]:
    """Yield the result. Two services with a Redis each hold the two numbers of analyses."""
    with (
        redis_server() as (few_url, few_folder),
        redis_server() as (many_url, many_folder),
        running(few_url, few_folder, 0) as few_address,
        running(many_url, many_folder, 0) as many_address,
        Client(few_address) as few,
        Client(many_address) as many,
    ):
        _fail(JobStore(RedisBackend(connect(few_url, 10.0))), FEW)
        _fail(JobStore(RedisBackend(connect(many_url, 10.0))), MANY)
        yield CASE.measured(*medians(timed(lambda: _page(many)), timed(lambda: _page(few)), times=TIMES))


def _page(client: Client) -> None:
    list(islice(client.list(), 1))


def _fail(store: JobStore, count: int) -> None:
    """Create failed analyses, each with its own job."""
    for number in range(count):
        request = AnalysisRequest("demo", f"demo:model{number}", display_name=f"analysis {number}")
        record = AnalysisRecord(f"a{number:08}", request, "d" * 64, "e" * 64, CREATED + number)
        spec = JobSpec(request.model, "demo", "e" * 64, "i" * 64, 20 * SHARDS, 20)
        job = store.submit(record, spec, limit=10).job
        fencing_token = store.change_shard(transitions.claim, job, 0, "benchmark", 20.0).fencing_token
        store.change_shard(
            transitions.fail, job, 0, fencing_token, Failure("MODEL_REFUSED", "the model has 10 outputs")
        )
