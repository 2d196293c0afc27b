"""An older Redis is restored: analyses that were archived since then stay finished."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from errata import pb

from .cluster import Cluster, cluster, wait_for

MODEL = "demo:efficientnet_lite0"


@pytest.fixture
def service(data_dir: Path, tmp_path: Path) -> Iterator[Cluster]:
    """The service with one worker, which needs 2 s per analysis."""
    with cluster(data_dir, tmp_path) as running:
        yield running


def content(folder: Path) -> Mapping[str, tuple[int, bytes]]:
    """Return the files of an archive with their modification times, without the audit log."""
    return {file.name: (file.stat().st_mtime_ns, file.read_bytes()) for file in folder.iterdir() if file.is_file()}


@pytest.mark.parametrize("restarts_api", [False, True])
def test_archived_analyses_survive_a_rollback_of_redis(service: Cluster, tmp_path: Path, restarts_api: bool) -> None:
    with service.client() as client:
        name = client.analyze(MODEL, "demo", fresh=True).name
        wait_for(lambda: client.get(name).progress.done > 0, "it runs")
        snapshot = service.redis.save()
        wait_for(lambda: client.get(name).state == pb.Analysis.STATE_SUCCEEDED, "it succeeds")
        finished, archived = client.get(name), content(tmp_path / "archive")
        wait_for(lambda: service.metric("errata_open_analyses") == 0, "the store has removed it")

        service.redis.restore(snapshot)
        assert service.redis.client().zcard("errata:open:analyses") == 1, "the restored store has it as open"
        if restarts_api:
            assert service.api is not None
            service.api.kill()
            service.api.wait(10)
            service.start_api()
        wait_for(service.ready, "the API is ready")

        assert client.get(name) == finished
        assert [(item.name, item.state) for item in client.list()] == [(name, pb.Analysis.STATE_SUCCEEDED)]
        assert [item.state for item in client.watch(name)] == [pb.Analysis.STATE_SUCCEEDED]
        assert client.cancel(name) == finished
        wait_for(lambda: len(service.events("analysis judged")) == 2, "its job has run again", seconds=120)
        wait_for(lambda: service.redis.client().zcard("errata:analyses") == 0, "the store has removed it again")
        assert client.get(name) == finished
        assert content(tmp_path / "archive") == archived
        assert len(list(client.verdicts(name))) == 20
