"""The least recently used downloads are deleted beyond a limit, and a loaded model does not need its files."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save
from structlog.testing import capture_logs
from unit.predictions.hub_server import FakeHub, serving
from unit.predictions.models.test_hf_hub import CONFIG, connect

from service.predictions.model_policy import ModelPolicy
from service.predictions.models.torch_predictor import TorchPredictor
from service.predictions.models.weights_cache import RUNNING_SECONDS, delete_old_weights

REPOSITORIES = ("org/first", "org/second", "org/third")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: dict[str, torch.Tensor]) -> Iterator[Path]:
    """A hub with three models of the same size, and an empty cache."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "torch"))
    files = {"config.json": json.dumps(CONFIG).encode(), "model.safetensors": save(state)}
    (tmp_path / "images").mkdir()
    Image.new("RGB", (20, 20)).save(tmp_path / "images" / "a.png")
    with serving(FakeHub(repositories=dict.fromkeys(REPOSITORIES, files))) as running:
        connect(running.url, tmp_path / "hub", monkeypatch)
        yield tmp_path / "hub"


def predictor(cache: Path, limit: int = 0) -> TorchPredictor:
    policy = ModelPolicy(max_cache_bytes=limit)
    return TorchPredictor({"own": cache.parent / "images"}, policy, batch_size=1, threads=1, device="cpu")


def repositories(cache: Path) -> list[str]:
    return sorted(path.name.removeprefix("models--").replace("--", "/") for path in cache.glob("models--*"))


def set_access(folder: Path, time: float) -> None:
    for file in folder.rglob("*"):
        if file.is_file() and not file.is_symlink():
            os.utime(file, (time, time))


def test_the_least_recently_used_weights_are_deleted_first(cache: Path) -> None:
    for number, name in enumerate(REPOSITORIES):
        predictor(cache).load(f"hf-hub:{name}")
        set_access(cache / f"models--{name.replace('/', '--')}", 1000.0 * (1 + number))
    checkpoint = cache.parent / "torch" / "checkpoints" / "resnet.pth"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(bytes(5000))
    os.utime(checkpoint, (1500.0, 1500.0))  # after the first model, before the second one
    size = sum(file.stat().st_size for file in (cache / "models--org--third" / "blobs").iterdir())

    delete_old_weights(3 * size + 5000)
    assert (repositories(cache), checkpoint.exists()) == (["org/first", "org/second", "org/third"], True)
    delete_old_weights(3 * size + 4999)
    assert (repositories(cache), checkpoint.exists()) == (["org/second", "org/third"], True)
    delete_old_weights(2 * size)
    assert (repositories(cache), checkpoint.exists()) == (["org/second", "org/third"], False)
    with capture_logs() as logs:
        delete_old_weights(size)
    assert repositories(cache) == ["org/third"]
    assert [(log["event"], log["name"], log["size"]) for log in logs] == [
        ("downloaded weights deleted", "org/second", size)
    ]


def test_a_load_keeps_the_limit_and_the_model_still_predicts(cache: Path) -> None:
    limited = predictor(cache, limit=1)

    limited.load("hf-hub:org/first")

    assert repositories(cache) == []
    (predictions,) = limited.predict("hf-hub:org/first", "own", ["a.png"])
    assert predictions.top1[0] >= 0


def test_other_files_of_the_caches_do_not_stop_the_deletion(cache: Path) -> None:
    checkpoints = cache.parent / "torch" / "checkpoints"
    (checkpoints / "folder").mkdir(parents=True)
    (checkpoints / "dangling.pth").symlink_to("nowhere")
    predictor(cache).load("hf-hub:org/first")
    (cache / "datasets--org--data" / "snapshots" / ("b" * 40)).mkdir(parents=True)
    interrupted = cache / "models--org--second" / "blobs" / "abc.incomplete"
    interrupted.parent.mkdir(parents=True)
    interrupted.write_bytes(bytes(5000))
    os.utime(interrupted, (time.time(), time.time() - 2 * RUNNING_SECONDS))

    delete_old_weights(1)

    assert not interrupted.exists()
    assert "org/first" not in repositories(cache)
    assert (cache / "datasets--org--data").exists()


@pytest.mark.parametrize("is_first_file", [True, False])
def test_running_downloads_of_other_workers_are_not_deleted(cache: Path, is_first_file: bool) -> None:
    started = time.time() - 20 * 60
    predictor(cache).load("hf-hub:org/first")
    if not is_first_file:
        predictor(cache).load("hf-hub:org/second")
        set_access(cache / "models--org--second", started)
    running = [
        cache / "models--org--second" / "blobs" / "abc.0123.incomplete",
        cache.parent / "torch" / "checkpoints" / "resnet.pth.0123.partial",
    ]
    for file in running:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes(5000))
        os.utime(file, (started, time.time()))

    delete_old_weights(1)

    assert all(file.exists() for file in running)
    assert len([*(cache / "models--org--second" / "blobs").iterdir()]) == (1 if is_first_file else 3)
    assert not (cache / "models--org--first").exists()


def test_weights_that_were_downloaded_after_the_last_access_are_recent(cache: Path) -> None:
    for name, access, change in (("org/first", 1000.0, 4000.0), ("org/second", 2000.0, 3000.0)):
        predictor(cache).load(f"hf-hub:{name}")
        for file in (cache / f"models--{name.replace('/', '--')}" / "blobs").iterdir():
            os.utime(file, (access, change))
    size = sum(file.stat().st_size for file in (cache / "models--org--first" / "blobs").iterdir())

    delete_old_weights(size)

    assert repositories(cache) == ["org/first"]


def test_without_downloads_nothing_is_deleted(cache: Path) -> None:
    with capture_logs() as logs:
        delete_old_weights(1)
    assert logs == []
