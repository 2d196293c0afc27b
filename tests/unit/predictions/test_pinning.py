"""References that move are pinned when an analysis is accepted, against a hub on this machine."""

import socket
import sys
import time
from collections.abc import Iterator

import pytest
from errata.errors import ModelNotFound, ModelRefused, Unavailable
from unit.predictions.hub_server import FakeHub, serving

from service.predictions.model_id import parse_model_id
from service.predictions.pinning import pin_model

MAIN, BRANCH = "0123456789abcdef0123456789abcdef01234567", "f" * 40


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    revisions = {"main": MAIN, "work/new": BRANCH}
    with serving(FakeHub(repositories={"timm/resnet50.a1_in1k": {}}, revisions=revisions)) as running:
        yield running


@pytest.mark.parametrize(
    ("asked", "becomes"),
    [
        ("hf-hub:timm/resnet50.a1_in1k", f"hf-hub:timm/resnet50.a1_in1k@{MAIN}"),
        ("hf-hub:timm/resnet50.a1_in1k@main", f"hf-hub:timm/resnet50.a1_in1k@{MAIN}"),
        ("hf-hub:timm/resnet50.a1_in1k@work/new", f"hf-hub:timm/resnet50.a1_in1k@{BRANCH}"),
    ],
)
def test_a_branch_is_pinned_to_its_commit(hub: FakeHub, asked: str, becomes: str) -> None:
    assert str(pin_model(parse_model_id(asked), hub.url)) == becomes


@pytest.mark.parametrize(
    "asked",
    [
        f"hf-hub:timm/resnet50.a1_in1k@{MAIN}",
        "timm:resnet50",
        "timm:resnet50.a1_in1k",
        "torchvision:resnet50",
        "file:a.safetensors#resnet50",
        "onnx:a.onnx",
        "demo:efficientnet_lite0",
    ],
)
def test_what_doesnt_move_is_left_as_it_is_and_nobody_is_asked(asked: str) -> None:
    assert str(pin_model(parse_model_id(asked), "http://127.0.0.1:1")) == asked


@pytest.mark.parametrize("asked", ["hf-hub:timm/nowhere", "hf-hub:timm/resnet50.a1_in1k@nowhere"])
def test_a_repository_or_revision_that_isnt_there_is_not_found(hub: FakeHub, asked: str) -> None:
    with pytest.raises(ModelNotFound, match="nowhere") as caught:
        pin_model(parse_model_id(asked), hub.url)
    assert [violation.field for violation in caught.value.violations] == ["model"]


def test_a_hub_that_cant_be_reached_is_unavailable_and_says_when_to_come_back() -> None:
    with pytest.raises(Unavailable, match="Hub cannot be reached") as caught:
        pin_model(parse_model_id("hf-hub:timm/resnet50.a1_in1k"), "http://127.0.0.1:1")
    assert caught.value.retry_after == 15.0


def test_a_hub_that_is_silent_isnt_waited_for_long() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        started = time.monotonic()
        with pytest.raises(Unavailable):
            pin_model(parse_model_id("hf-hub:timm/resnet50.a1_in1k"), address, seconds=0.2)
        assert time.monotonic() - started < 3


def test_an_answer_that_is_no_commit_is_not_believed(hub: FakeHub) -> None:
    hub.revisions["main"] = "../../etc"

    with pytest.raises(Unavailable, match="instead of a commit"):
        pin_model(parse_model_id("hf-hub:timm/resnet50.a1_in1k"), hub.url)


def test_without_the_hubs_client_it_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)

    with pytest.raises(ModelRefused, match=r"errata-service\[hub\]"):
        pin_model(parse_model_id("hf-hub:timm/resnet50.a1_in1k"))
