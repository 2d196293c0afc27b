"""Failures of a real service: messages for callers have no internal addresses, paths, or scripts; the log has them."""

import io
import json
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from errata import Client, pb
from errata.errors import ErrataError, EvidenceDamaged, Unavailable

from service.evidence.bundle import Bundle
from service.evidence.bundle_arrays import CHECK_SECONDS

from .cluster import Cluster, wait_for
from .conftest import Serving, serving

INTERNAL = re.compile(r"127\.0\.0\.1|localhost|\[?::1|:\d{4,5}\b|script|\.lua|Traceback|\.py\b|(?<![\w:/])/\w+", re.I)
MODEL = "demo:efficientnet_lite0"


def assert_public(text: str, *secrets: object) -> None:
    """Check that a message has none of the secrets, and no address, path, or script."""
    assert text
    assert not INTERNAL.search(text), text
    for secret in secrets:
        assert str(secret) not in text


def page(address: str, path: str) -> tuple[int, str]:
    """Return the status of a page and its text without markup."""
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=30) as answer:
            status, content = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, content = error.code, error.read()
    main = re.search(r"<main.*?</main>", content.decode(), re.S)
    assert main, content[:200]
    return status, re.sub(r"<[^>]*>", " ", main[0])


@pytest.fixture(scope="module")
def cluster(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    running = Cluster(data_dir, tmp_path_factory.mktemp("cluster"), ERRATA_LOG_FORMAT="json")
    try:
        running.redis.start()
        running.start_api()
        running.start_worker(seconds=0.0)
        wait_for(lambda: running.metric("errata_live_workers") == 1, "the worker is live")
        yield running
    finally:
        running.stop()


def is_logged(cluster: Cluster, word: str) -> bool:
    return any(word in json.dumps(event) for event in cluster.events("call refused"))


def test_the_message_of_a_failed_redis_script_is_public(cluster: Cluster) -> None:
    with cluster.redis.client() as redis, cluster.client() as client:
        saved = redis.dump("errata:analyses")
        redis.set("errata:analyses", "another kind of value")
        try:
            with pytest.raises(Unavailable) as error:
                client.analyze(MODEL, "demo", fresh=True)
        finally:
            redis.delete("errata:analyses")
            if saved:
                redis.restore("errata:analyses", 0, saved)

    assert_public(error.value.message, cluster.redis.port)
    assert is_logged(cluster, "WRONGTYPE"), "the log has the reason"


def test_the_message_of_a_full_redis_is_public(cluster: Cluster) -> None:
    with cluster.redis.client() as redis, cluster.client() as client:
        redis.config_set("maxmemory", "1")
        try:
            with pytest.raises(Unavailable) as error:
                client.analyze(MODEL, "demo", fresh=True)
        finally:
            redis.config_set("maxmemory", "0")

    assert_public(error.value.message, cluster.redis.port)
    assert is_logged(cluster, "maxmemory")


def test_the_message_of_a_wrong_redis_password_is_public(cluster: Cluster) -> None:
    with cluster.redis.client() as redis, cluster.client() as client:
        redis.config_set("requirepass", "another-password")
        redis.client_kill_filter(_type="normal", skipme=True)
        try:
            with pytest.raises(Unavailable) as error:
                client.analyze(MODEL, "demo", fresh=True)
        finally:
            redis.config_set("requirepass", "")

    assert "ERRATA_REDIS_URL" in error.value.message
    assert_public(error.value.message, cluster.redis.port, "another-password")


def test_the_message_of_an_unreachable_redis_is_public(cluster: Cluster) -> None:
    cluster.redis.kill()
    try:
        with cluster.client() as client:

            def is_refused_with_a_logged_address() -> bool:  # the first error can be that of an open connection
                with pytest.raises(Unavailable) as error:
                    client.analyze(MODEL, "demo", fresh=True)
                assert_public(error.value.message, cluster.redis.port)
                return is_logged(cluster, str(cluster.redis.port))

            wait_for(is_refused_with_a_logged_address, "the address of Redis in the log")
        status, text = page(cluster.http, "/analyses/1m8g5z8h2tyzk0d0t7skx")
    finally:
        cluster.redis.start()

    assert status == 503
    assert_public(text, cluster.redis.port)


@pytest.fixture
def service(demo: Bundle, tmp_path: Path) -> Iterator[Serving]:
    shutil.copytree(demo.path.parent, tmp_path / "data" / "evidence" / "demo")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "broken.onnx").write_bytes(b"no graph")
    np.savez(tmp_path / "models" / "broken.safetensors", a=np.zeros(3))
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.jpg").write_bytes(b"no picture")
    settings = {"ERRATA_MODELS": str(tmp_path / "models"), "ERRATA_LOG_FORMAT": "json"}
    settings["ERRATA_IMAGES"] = json.dumps({"demo": str(tmp_path / "images")})
    with serving(tmp_path / "data", tmp_path / "archive", **settings) as running:
        yield running


def failure_message(client: Client, model: str) -> str:
    """Return the message of the failure, or of the refusal, of an analysis."""
    try:
        name = client.analyze(model, "demo").name
    except ErrataError as error:
        return error.message
    *_, last = client.watch(name)
    assert last.state == pb.Analysis.STATE_FAILED
    return str(last.failure.message)


def test_the_messages_of_unreadable_models_and_images_are_public(service: Serving, tmp_path: Path) -> None:
    models = ["file:missing.safetensors#resnet18", "file:broken.safetensors#resnet18"]
    if find_spec("onnxruntime"):
        models += ["onnx:missing.onnx", "onnx:broken.onnx"]
    with Client(service.grpc, attempts=1) as client:
        messages = [failure_message(client, model) for model in models]
        shutil.rmtree(tmp_path / "images")
        messages.append(failure_message(client, MODEL))

    for message in messages:
        assert_public(message, tmp_path)
    assert "ERRATA_IMAGES" in messages[-1]


def test_the_messages_of_a_damaged_archive_and_bundle_are_public(
    service: Serving, demo_csv: bytes, tmp_path: Path
) -> None:
    with Client(service.grpc, attempts=1) as client:
        name = client.upload(io.BytesIO(demo_csv), "demo").name
        (predictions,) = (tmp_path / "archive").glob("*.predictions.npz")
        content = predictions.read_bytes()
        predictions.write_bytes(b"no arrays")
        with pytest.raises(Unavailable) as damaged:
            client.report(name)
        predictions.unlink()
        predictions.mkdir()  # even root can't open a folder as a file
        with pytest.raises(Unavailable) as unreadable:
            client.report(name)
        predictions.rmdir()
        predictions.write_bytes(content)
        shutil.move(tmp_path / "archive", tmp_path / "moved")
        (tmp_path / "archive").touch()
        with pytest.raises(Unavailable) as unwritable:
            client.upload(io.BytesIO(demo_csv), "demo")
        (tmp_path / "archive").unlink()
        shutil.move(tmp_path / "moved", tmp_path / "archive")
        for table in (tmp_path / "data" / "evidence" / "demo").glob("*/verdicts.npy"):
            table.write_bytes(b"")
        time.sleep(CHECK_SECONDS)
        with pytest.raises(EvidenceDamaged) as evidence:
            client.report(name)
        status, text = page(service.http, f"/{name}")

    for error in (damaged, unreadable, unwritable, evidence):
        assert_public(error.value.message, tmp_path)
    assert status == 409
    assert_public(text, tmp_path)


def test_the_message_of_an_unreachable_registry_is_public(tmp_path: Path, data_dir: Path) -> None:
    url = "http://127.0.0.1:9"
    registries = {"prod": {"kind": "mlflow", "url": url, "secrets": ["s" * 32], "rules": []}}
    settings = {"ERRATA_REGISTRIES": json.dumps(registries), "ERRATA_LOG_FORMAT": "json"}
    with (
        serving(data_dir, tmp_path / "archive", **settings) as running,
        Client(running.grpc, attempts=1) as client,
        pytest.raises(Unavailable) as error,
    ):
        client.analyze("mlflow:models://prod/resnet@champion", "demo")

    assert_public(error.value.message, url)
