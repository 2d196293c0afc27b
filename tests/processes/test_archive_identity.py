"""All API processes with the same Redis must have the same archive."""

import io
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from errata import Client
from errata.errors import Unavailable

from service.archive.archive import open_archive

from .cluster import Cluster, cluster, wait_for


@pytest.fixture
def service(data_dir: Path, tmp_path: Path) -> Iterator[Cluster]:
    """The API with Redis and without workers."""
    with cluster(data_dir, tmp_path, workers=0) as running:
        yield running


def second_api(service: Cluster, archive: Path) -> "subprocess.Popen[str]":
    """Start another API process on the same Redis."""
    settings = {
        "ERRATA_ARCHIVE": str(archive),
        "ERRATA_GRPC_ADDRESS": "127.0.0.1:0",
        "ERRATA_HTTP_ADDRESS": "127.0.0.1:0",
        "ERRATA_LOG_FORMAT": "text",
    }
    command = [sys.executable, "-m", "service", "serve"]
    return subprocess.Popen(command, env=service.settings | settings, stderr=subprocess.PIPE, text=True)


def bound_archive_id(service: Cluster) -> str:
    """Return the archive id in Redis."""
    return (service.redis.client().get("errata:archive") or b"").decode()


def test_an_api_with_another_archive_exits_with_the_remedy(service: Cluster, tmp_path: Path) -> None:
    first = (tmp_path / "archive" / "archive-id").read_text()
    second = open_archive(str(tmp_path / "other")).id()
    other = second_api(service, tmp_path / "other")
    _, stderr = other.communicate(timeout=60)

    assert other.returncode != 0
    message = " ".join(stderr.split())
    for part in (first, second, "ERRATA_ARCHIVE", "errata:archive"):
        assert part in message
    assert bound_archive_id(service) == first
    assert service.ready()


def test_an_api_with_an_empty_archive_exits_with_the_remedy_and_creates_nothing(
    service: Cluster, tmp_path: Path
) -> None:
    other = second_api(service, tmp_path / "other")
    _, stderr = other.communicate(timeout=60)

    assert other.returncode != 0
    message = " ".join(stderr.split())
    for part in ("no file archive-id", bound_archive_id(service), "ERRATA_ARCHIVE", "errata:archive"):
        assert part in message
    assert not (tmp_path / "other").exists()
    assert service.ready()


def test_a_replaced_redis_gets_the_archive_id_again(service: Cluster, tmp_path: Path) -> None:
    archive_id = (tmp_path / "archive" / "archive-id").read_text()
    assert bound_archive_id(service) == archive_id

    service.redis.client().flushall()

    wait_for(lambda: bound_archive_id(service) == archive_id, "Redis has the id again")
    assert service.ready()


def test_a_redis_of_another_archive_makes_a_running_api_unready(service: Cluster) -> None:
    service.redis.client().set("errata:archive", "0" * 32)
    wait_for(lambda: not service.ready(), "the API is not ready")
    (event,) = service.events("archive mismatch")
    assert event["level"] == "error"

    service.redis.client().delete("errata:archive")

    wait_for(service.ready, "the API is ready again")


def test_calls_fail_while_the_archive_is_unmounted_and_lose_nothing(
    service: Cluster, tmp_path: Path, demo_csv: bytes
) -> None:
    (tmp_path / "predictions.csv").write_bytes(demo_csv)
    image = demo_csv.decode().splitlines()[1].split(",")[0]
    archive, aside = tmp_path / "archive", tmp_path / "unmounted"
    with service.client() as client:
        name = client.upload(tmp_path / "predictions.csv", "demo").name
        archive.rename(aside)
        archive.mkdir()  # the mount point
        calls: list[Callable[[Client], object]] = [
            lambda client: client.upload(tmp_path / "predictions.csv", "demo"),
            lambda client: client.get("a" * 32),
            lambda client: client.delete(name),
            lambda client: client.create_review("demo", image, "ann", comment="lost"),
            lambda client: [*client.list_reviews("demo")],
            lambda client: [*client.audit_events()],
        ]
        for call in calls:
            with pytest.raises(Unavailable, match="Restore it, for example by mounting its volume again"):
                call(client)
        assert [*archive.iterdir()] == []
        archive.rmdir()
        aside.rename(archive)
        wait_for(service.ready, "the API is ready again")

        client.create_review("demo", image, "ann", comment="stored")

        assert [review.comment for review in client.list_reviews("demo")] == ["stored"]
        client.delete(name)
        assert len([*client.audit_events()]) == 3


def test_an_api_is_ready_once_it_has_reached_its_archive(data_dir: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    service = Cluster(data_dir, tmp_path, ERRATA_ARCHIVE=str(file / "archive"))
    try:
        service.redis.start()
        service.start_api(wait=False)
        wait_for(lambda: len(service.events("periodic task failed")) > 1, "the archive was not reached")
        assert not service.ready()
        assert not service.events("ready")

        file.unlink()

        wait_for(service.ready, "the API is ready")
    finally:
        service.stop()


@pytest.mark.parametrize("redis_data", ["bound", "empty"])
def test_an_archive_that_is_mounted_after_the_start_of_the_api_is_used(
    data_dir: Path, tmp_path: Path, demo_csv: bytes, redis_data: str
) -> None:
    """After a restart of the machine, the API can start before Redis, and before the volume is mounted."""
    image = demo_csv.decode().splitlines()[1].split(",")[0]
    archive, volume = tmp_path / "archive", tmp_path / "volume"
    service = Cluster(data_dir, tmp_path)
    try:
        service.redis.start()
        service.start_api()
        with service.client() as client:
            name = client.upload(io.BytesIO(demo_csv), "demo").name
            client.create_review("demo", image, "ann", comment="before")
        archive_id = bound_archive_id(service)
        if redis_data == "empty":
            service.redis.client().flushall()
        stop_api(service)
        service.redis.stop()
        archive.rename(volume)
        archive.mkdir()  # the mount point
        service.start_api(wait=False)
        wait_for(lambda: len(service.events("listening")) == 2, "the API listens")

        with service.client() as client:
            calls: list[Callable[[], object]] = [
                lambda: client.upload(io.BytesIO(demo_csv), "demo"),
                lambda: client.delete(name),
                lambda: client.create_review("demo", image, "ann", comment="lost"),
                lambda: [*client.list_reviews("demo")],
            ]
            for call in calls:
                with pytest.raises(Unavailable):
                    call()
        assert [*archive.iterdir()] == []
        archive.rmdir()
        volume.rename(archive)
        service.redis.start()
        wait_for(service.ready, "the API is ready")

        assert bound_archive_id(service) == archive_id
        with service.client() as client:
            assert client.get(name).name == name
            client.create_review("demo", image, "ann", comment="after")
            assert [review.comment for review in client.list_reviews("demo")] == ["after", "before"]
        stop_api(service)
        service.start_api()
    finally:
        service.stop()


def test_a_new_archive_is_created_once_redis_responds(data_dir: Path, tmp_path: Path, demo_csv: bytes) -> None:
    service = Cluster(data_dir, tmp_path)
    try:
        service.start_api(wait=False)
        wait_for(lambda: service.events("listening"), "the API listens")
        with service.client() as client, pytest.raises(Unavailable, match="once Redis has responded"):
            client.upload(io.BytesIO(demo_csv), "demo")
        assert not (tmp_path / "archive").exists()

        service.redis.start()

        wait_for(service.ready, "the API is ready")
        with service.client() as client:
            name = client.upload(io.BytesIO(demo_csv), "demo").name
            wait_for(lambda: [analysis.name for analysis in client.list()] == [name], "the analysis is listed")
    finally:
        service.stop()


def test_an_existing_archive_is_used_without_redis(data_dir: Path, tmp_path: Path, demo_csv: bytes) -> None:
    open_archive(str(tmp_path / "archive")).id()
    service = Cluster(data_dir, tmp_path)
    try:
        service.start_api(wait=False)
        wait_for(lambda: service.events("listening"), "the API listens")

        with service.client() as client:
            name = client.upload(io.BytesIO(demo_csv), "demo").name
            assert client.get(name).name == name
    finally:
        service.stop()


def stop_api(service: Cluster) -> None:
    """Stop the API gracefully."""
    assert service.api is not None
    service.api.terminate()
    service.api.wait(60)
