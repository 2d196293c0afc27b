"""Branches and aliases are pinned when an analysis is accepted, with a local fake hub."""

import socket
import sys
from collections.abc import Iterator

import pytest
from errata.errors import ModelNotFound, ModelRefused, Unavailable, UnsupportedFormat
from unit.predictions.hub_server import FakeHub, serving

from service.predictions.model_id import parse_model_id
from service.predictions.model_policy import ModelPolicy
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
    assert str(pin_model(parse_model_id(model), ModelPolicy(), hub.url)) == expected


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
    assert str(pin_model(parse_model_id(model), ModelPolicy(), "http://127.0.0.1:1")) == model


TRANSFORMERS_CONFIG = b'{"architectures": ["ViTForImageClassification"], "model_type": "vit"}'


@pytest.mark.parametrize(
    ("files", "source"),
    [
        ({"config.json": b'{"architecture": "resnet18"}', "model.safetensors": b""}, "hf-hub"),
        ({"config.json": TRANSFORMERS_CONFIG, "model.safetensors": b"", "onnx/model.onnx": b""}, "transformers"),
        ({"config.json": TRANSFORMERS_CONFIG, "model.safetensors.index.json": b""}, "transformers"),
        ({"config.json": TRANSFORMERS_CONFIG, "onnx/model.onnx": b"", "pytorch_model.bin": b""}, "hf-onnx"),
        ({"model.onnx": b"", "model.onnx_data": b""}, "hf-onnx"),
    ],
)
@pytest.mark.parametrize("revision", ["", "@main", f"@{MAIN}"])
def test_hf_is_pinned_to_the_source_that_loads_the_repository(
    hub: FakeHub, files: dict[str, bytes], source: str, revision: str
) -> None:
    hub.repositories["org/small"] = files

    assert (
        str(pin_model(parse_model_id(f"hf:org/small{revision}"), ModelPolicy(), hub.url))
        == f"{source}:org/small@{MAIN}"
    )


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "Upload the weights as safetensors"),
        ({"pytorch_model.bin": b"", "config.json": TRANSFORMERS_CONFIG}, "pickles can run code"),
        ({"a/int8.onnx": b"", "a/fp16.onnx": b""}, r"hf-onnx:ORG/REPO#PATH: a/fp16\.onnx, a/int8\.onnx"),
    ],
)
def test_a_repository_without_safe_weights_is_refused_when_it_is_submitted(
    hub: FakeHub, files: dict[str, bytes], message: str
) -> None:
    hub.repositories["org/small"] = files

    with pytest.raises(UnsupportedFormat, match=message):
        pin_model(parse_model_id("hf:org/small"), ModelPolicy(), hub.url)


def test_the_path_of_a_graph_does_not_change(hub: FakeHub) -> None:
    hub.repositories["org/small"] = {}

    pinned = pin_model(parse_model_id("hf-onnx:org/small@work/new#onnx/fp16.onnx"), ModelPolicy(), hub.url)

    assert str(pinned) == f"hf-onnx:org/small@{BRANCH}#onnx/fp16.onnx"


@pytest.mark.parametrize(
    "model",
    ["hf:timm/nowhere", "transformers:timm/nowhere", "hf-hub:timm/nowhere", "hf-hub:timm/resnet50.a1_in1k@nowhere"],
)
def test_a_missing_repository_or_revision_is_not_found(hub: FakeHub, model: str) -> None:
    with pytest.raises(ModelNotFound, match="nowhere") as caught:
        pin_model(parse_model_id(model), ModelPolicy(), hub.url)
    assert [violation.field for violation in caught.value.violations] == ["model"]


def test_an_unreachable_hub_raises_unavailable_with_a_retry_delay() -> None:
    with pytest.raises(Unavailable, match="Hub cannot be reached") as caught:
        pin_model(parse_model_id("hf-hub:timm/resnet50.a1_in1k"), ModelPolicy(), "http://127.0.0.1:1")
    assert caught.value.retry_after == 15.0


def test_a_hub_that_does_not_respond_times_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(Unavailable):
            pin_model(parse_model_id("hf-hub:timm/resnet50.a1_in1k"), ModelPolicy(), address, seconds=0.2)


def test_a_response_that_is_not_a_commit_raises_unavailable(hub: FakeHub) -> None:
    hub.revisions["main"] = "../../etc"

    with pytest.raises(Unavailable, match="instead of a commit"):
        pin_model(parse_model_id("hf-hub:timm/resnet50.a1_in1k"), ModelPolicy(), hub.url)


def test_without_the_hubs_client_the_error_names_the_extra_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)

    with pytest.raises(ModelRefused, match=r"errata-service\[hub\]"):
        pin_model(parse_model_id("hf-hub:timm/resnet50.a1_in1k"), ModelPolicy())
