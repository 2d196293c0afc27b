"""An S3 server for the tests of archives, and both job stores with a clock that tests advance."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import s3fs
from job_store_calls import make_store
from manual_clock import Clock
from moto.server import ThreadedMotoServer
from redis_job_store import RedisJobStore
from redis_server import RedisServer, free_port

from service.jobs.store import JobStore


@pytest.fixture(scope="package")
def bucket() -> Iterator[str]:
    """Return a bucket in an S3 server on this machine, whose address is in the environment.

    One for all: s3fs remembers the first server that it was given, and moto's servers share their buckets.
    """
    port = free_port()
    server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        s3fs.S3FileSystem(skip_instance_cache=True).mkdir("archive")
        yield "s3://archive"
    server.stop()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    running = RedisServer(tmp_path_factory.mktemp("redis")).start()
    yield running
    running.stop()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest, clock: Clock) -> Iterator[JobStore]:
    new_store = make_store(request, request.param, clock)
    yield new_store
    if isinstance(new_store, RedisJobStore):
        new_store.client.connection_pool.disconnect()  # pytest reports open sockets as errors


@pytest.fixture
def change_before_commit(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[[], object]], list[bool]]:
    """Return a function that runs a change before the next commit, and returns a list.

    The list gets whether the change was committed, and then whether each later commit was.
    """
    commit = store._backend.commit

    def install(change: Callable[[], object]) -> list[bool]:
        changes, outcomes = [change], list[bool]()

        def commit_after_change(*arguments: Any) -> bool:
            while changes:
                changes.pop()()
            outcomes.append(commit(*arguments))
            return outcomes[-1]

        monkeypatch.setattr(store._backend, "commit", commit_after_change)
        return outcomes

    return install
