"""Branches and aliases are pinned when an analysis is accepted, with a local fake hub."""

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
    ("model", "expected"),
    [
        ("hf-hub:timm/resnet50.a1_in1k", f"hf-hub:timm/resnet50.a1_in1k@{MAIN}"),
        ("hf-hub:timm/resnet50.a1_in1k@main", f"hf-hub:timm/resnet50.a1_in1k@{MAIN}"),
        ("hf-hub:timm/resnet50.a1_in1k@work/new", f"hf-hub:timm/resnet50.a1_in1k@{BRANCH}"),
    ],
)
def test_a_branch_is_pinned_to_its_commit(hub: FakeHub, model: str, expected: str) -> None:
    assert str(pin_model(parse_model_id(model), hub.url)) == expected


@pytest.mark.parametrize(
    "model",
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
def test_fixed_model_ids_are_returned_without_a_request(model: str) -> None:
    assert str(pin_model(parse_model_id(model), "http://127.0.0.1:1")) == model


@pytest.mark.parametrize("model", ["hf-hub:timm/nowhere", "hf-hub:timm/resnet50.a1_in1k@nowhere"])
def test_a_missing_repository_or_revision_is_not_found(hub: FakeHub, model: str) -> None:
    with pytest.raises(ModelNotFound, match="nowhere") as caught:
        pin_model(parse_model_id(model), hub.url)
    assert [violation.field for violation in caught.value.violations] == ["model"]


def test_an_unreachable_hub_raises_unavailable_with_a_retry_delay() -> None:
    with pytest.raises(Unavailable, match="Hub cannot be reached") as caught:
        pin_model(parse_model_id("hf-hub:timm/resnet50.a1_in1k"), "http://127.0.0.1:1")
    assert caught.value.retry_after == 15.0


def test_a_hub_that_does_not_respond_times_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        started = time.monotonic()
        with pytest.raises(Unavailable):
            pin_model(parse_model_id("hf-hub:timm/resnet50.a1_in1k"), address, seconds=0.2)
        assert time.monotonic() - started < 3


def test_a_response_that_is_not_a_commit_raises_unavailable(hub: FakeHub) -> None:
    hub.revisions["main"] = "../../etc"

    with pytest.raises(Unavailable, match="instead of a commit"):
        pin_model(parse_model_id("hf-hub:timm/resnet50.a1_in1k"), hub.url)


def test_without_the_hubs_client_the_error_names_the_extra_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)

    with pytest.raises(ModelRefused, match=r"errata-service\[hub\]"):
        pin_model(parse_model_id("hf-hub:timm/resnet50.a1_in1k"))
