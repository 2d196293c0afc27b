"""The index of the archive: several API processes, killed builds, and a deleted index."""

import io
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from analyses_strategy import make_analysis
from errata import Client, errors, pb
from redis_server import free_port

from service.archive.document import encode_document

from .cluster import Cluster, cluster, wait_for
from .conftest import serving

MANY = 4000  # archived analyses, which take seconds to index
NOTICE_SECONDS = 3.0  # less than the interval of comparisons


@pytest.fixture
def two_apis(data_dir: Path, tmp_path: Path) -> Iterator[tuple[Cluster, Client, Client]]:
    """Two API processes with one data folder, one archive, and one Redis."""
    with cluster(data_dir, tmp_path, workers=0) as service:
        grpc, http = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        second = service._start(["-m", "service", "serve"], ERRATA_GRPC_ADDRESS=grpc, ERRATA_HTTP_ADDRESS=http)
        try:
            wait_for(lambda: len(service.events("ready")) == 2, "both APIs are ready")
            with service.client() as a, Client(grpc, attempts=1) as b:
                yield service, a, b
        finally:
            second.kill()
            second.wait(10)


def names(client: Client) -> list[str]:
    return [analysis.name for analysis in client.list()]


def test_api_processes_see_each_others_analyses(two_apis: tuple[Cluster, Client, Client], demo_csv: bytes) -> None:
    _, a, b = two_apis
    first = a.upload(io.BytesIO(demo_csv), "demo", request_id="r1").name
    wait_for(lambda: names(b) == [first], "b lists the analysis of a", NOTICE_SECONDS)
    second = b.upload(io.BytesIO(demo_csv), "demo").name
    wait_for(lambda: names(a) == [second, first], "a lists the analysis of b", NOTICE_SECONDS)
    assert b.upload(io.BytesIO(demo_csv), "demo", request_id="r1").name == first

    b.get(first)
    a.delete(first)
    wait_for(lambda: names(b) == [second], "b no longer lists the deleted analysis", NOTICE_SECONDS)
    with pytest.raises(errors.AnalysisNotFound):
        b.get(first)


def test_notices_that_are_lost_while_redis_is_unavailable_are_made_up_for(
    two_apis: tuple[Cluster, Client, Client], demo_csv: bytes
) -> None:
    service, a, b = two_apis
    service.redis.kill()
    name = a.upload(io.BytesIO(demo_csv), "demo").name
    wait_for(lambda: names(b) == [name], "a comparison of b finds the analysis of a", 20)

    service.redis.start()
    wait_for(service.ready, "the API is ready again")
    time.sleep(2)  # the subscriptions are renewed
    other = a.upload(io.BytesIO(demo_csv), "demo").name

    wait_for(lambda: names(b) == [other, name], "b receives notices again", NOTICE_SECONDS)


def fill(archive: Path) -> set[str]:
    """Archive many analyses, without their predictions; return their names."""
    archive.mkdir()
    ids = [f"a{number:06}" for number in range(MANY)]
    for number, analysis_id in enumerate(ids):
        (archive / f"{analysis_id}.json").write_bytes(encode_document(make_analysis(analysis_id, number)))
    return {f"analyses/{analysis_id}" for analysis_id in ids}


def is_incomplete(client: Client) -> bool:
    return client._analyses.ListAnalyses(pb.ListAnalysesRequest(page_size=1)).index_incomplete


def num_indexed(data_dir: Path) -> int:
    with sqlite3.connect(f"file:{data_dir / 'index' / '0.sqlite'}?mode=ro", uri=True) as connection:
        count = connection.execute("SELECT count(*) FROM analyses").fetchone()[0]
    connection.close()
    return int(count)


def test_a_killed_build_continues_and_a_deleted_index_is_built_again(tmp_path: Path) -> None:
    expected, data_dir = fill(tmp_path / "archive"), tmp_path / "data"
    with serving(data_dir, tmp_path / "archive") as service, Client(service.grpc) as client:
        assert is_incomplete(client), "the start does not wait for the build, and partial results are marked"
        wait_for(lambda: next(client.list(), None) is not None, "the first analyses are indexed")
        newest = next(client.list())
        assert newest.name == max(expected), "the newest analyses are indexed first"
        assert client.get(min(expected)).name == min(expected), "an analysis with a known name is available"
        service.process.kill()
        service.process.wait(10)
    partial = num_indexed(data_dir)
    assert 0 < partial < MANY

    with serving(data_dir, tmp_path / "archive") as service, Client(service.grpc) as client:
        assert num_indexed(data_dir) >= partial, "the build continues"
        wait_for(lambda: not is_incomplete(client), "the index is complete")
        assert {analysis.name for analysis in client.list()} == expected

    shutil.rmtree(data_dir / "index")
    with serving(data_dir, tmp_path / "archive") as service, Client(service.grpc) as client:
        wait_for(lambda: not is_incomplete(client), "the index is complete again")
        assert {analysis.name for analysis in client.list()} == expected
